/** Where signals to this process can be listened to; `process` in production. */
export interface SignalSource {
  on(signal: NodeJS.Signals, listener: (signal: NodeJS.Signals) => void): unknown;
  off(signal: NodeJS.Signals, listener: (signal: NodeJS.Signals) => void): unknown;
}

const PASSED: readonly NodeJS.Signals[] = [
  'SIGINT',
  'SIGTERM',
  'SIGHUP',
  'SIGQUIT',
  'SIGUSR1',
  'SIGUSR2',
  'SIGWINCH',
  'SIGCONT',
];
/** The terminal sends these to every process of its foreground group itself: passed on, they would arrive twice. */
const FROM_TERMINAL: ReadonlySet<NodeJS.Signals> = new Set(['SIGINT', 'SIGQUIT', 'SIGWINCH']);

/** Calls `deliver` for every signal that concerns a command this process stands for. Returns how to stop. */
export function passSignals(
  source: SignalSource,
  inForeground: () => boolean,
  deliver: (signal: NodeJS.Signals, fromTerminal: boolean) => void,
): () => void {
  const listener = (signal: NodeJS.Signals): void => deliver(signal, FROM_TERMINAL.has(signal) && inForeground());
  for (const signal of PASSED) source.on(signal, listener);
  return () => {
    for (const signal of PASSED) source.off(signal, listener);
  };
}

/** Whether the process whose `/proc/<pid>/stat` this is belongs to the foreground group of its terminal. */
export function isInForeground(stat: string): boolean {
  // After the name in parentheses: state, ppid, pgrp, session, tty_nr, tpgid.
  const [, , group, , terminal, foreground] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return terminal !== '0' && group !== undefined && group === foreground;
}

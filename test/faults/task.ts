import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { History } from './history.ts';
import { signal } from './program.ts';

/** A task that runs; what it says goes into the history. */
export interface Task {
  kill(): void;
  /** The dataset it got, if any, and its exit status. */
  readonly ended: Promise<{
    readonly dataset: string | undefined;
    readonly status: number | null;
    readonly said: string;
  }>;
}

/** Starts a task by its command line, `name` for people. */
export function startTask(command: readonly [string, ...string[]], name: string, history: History): Task {
  const [file, ...args] = command;
  const child = spawn(file, args, { stdio: ['ignore', 'pipe', 'pipe'], detached: true });
  const found = new Map<number, string>();
  let dataset: string | undefined;
  let writtenBefore = 0;
  let said = '';
  child.stderr.on('data', (chunk: Buffer) => {
    said = `${said}${chunk.toString()}`.slice(-2_000);
  });
  const lines = createInterface({ input: child.stdout });
  lines.on('line', (line) => {
    const [kind, first = '', sum = ''] = line.split(' ');
    if (kind === 'dataset') {
      dataset = first;
      writtenBefore = history.lastWritten(first);
    }
    if (kind === 'found') found.set(Number(first), sum);
    if (dataset === undefined) return;
    if (kind === 'read') history.found(dataset, found, writtenBefore);
    if (kind === 'wrote') history.wrote(dataset, Number(first), sum);
  });
  const closed = new Promise<void>((resolve) => {
    lines.once('close', resolve);
  });
  const ended = new Promise<number | null>((resolve) => {
    child.once('error', () => resolve(null));
    child.once('exit', (status) => resolve(status));
  }).then(async (status) => {
    // An orphan may keep the pipe open; it ends by itself.
    await closed;
    if (said.includes('does not follow')) history.violated(`${name}: ${said}`);
    if (status !== 0 && status !== null) history.taskFailed(said);
    return { dataset, status, said };
  });
  return { kill: () => signal(-(child.pid ?? 0), 'SIGKILL'), ended };
}

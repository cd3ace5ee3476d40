import { type ChildProcess, spawn } from 'node:child_process';
import { type FileHandle, open, readFile } from 'node:fs/promises';
import { type BackoffPolicy, backoffMs } from '../../kit/backoff.ts';
import type { Clock } from '../../kit/clock.ts';

/** Waits before a daemon that died is started again; one that lived for a while is started again at once. */
const RESTART: BackoffPolicy = { firstMs: 100, factor: 2, longestMs: 5_000 };
const LIVED_MS = 5_000;
/** A daemon that does not stop when asked is killed after this long. */
const STOP_TIMEOUT_MS = 20_000;

export interface DaemonProcessOptions {
  readonly name: string;
  /** Program and arguments. */
  readonly command: readonly [string, ...string[]];
  readonly logPath: string;
  readonly clock: Clock;
  readonly random: () => number;
  /** Called whenever there is a new process. */
  readonly onStart: () => void;
  /** Called whenever a process says that it is ready. */
  readonly onReady?: () => void;
}

/** A daemon as a child process: started again when it dies, until it is stopped. It ends when this process does. */
export class DaemonProcess {
  readonly #options: DaemonProcessOptions;
  #child: ChildProcess | undefined;
  #log: FileHandle | undefined;
  /** Whether it is to run: then it is started again when it ends. */
  #wanted = false;
  #attempt = 0;
  #cancelRestart: () => void = () => undefined;

  constructor(options: DaemonProcessOptions) {
    this.#options = options;
  }

  /** The pid of the present process, or undefined while there is none. */
  get pid(): number | undefined {
    return this.#child?.pid;
  }

  /** Starts it and resolves when it says that it is ready. Rejects, with its log's name, when it ends before that. */
  async start(): Promise<void> {
    const { name, logPath } = this.#options;
    this.#log ??= await open(logPath, 'a', 0o600);
    const child = this.#spawn();
    const end = await new Promise<string | undefined>((resolve, reject) => {
      child.once('message', () => resolve(undefined));
      child.once('error', reject);
      child.once('exit', (code, signal) => resolve(signal ?? `exit status ${code}`));
    });
    if (end !== undefined) throw new Error(`${name} did not start (${end}): ${await lastWords(logPath)}`);
    this.#wanted = true;
  }

  /**
   * Starts it and lets it become ready when it will, as one of several that take turns; it is started again also when it ends before.
   * `onReady` is called whenever a process of it says that it is ready.
   */
  async launch(): Promise<void> {
    this.#log ??= await open(this.#options.logPath, 'a', 0o600);
    this.#wanted = true;
    this.#spawn();
  }

  /** Kills it and leaves it dead until it is started or launched again, or stopped. */
  async halt(): Promise<void> {
    await this.#end('SIGKILL');
  }

  /** Asks it to stop and waits until it did; kills it when it takes too long. */
  async stop(by: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    await this.#end(by);
    await this.#log?.close();
    this.#log = undefined;
  }

  async #end(by: NodeJS.Signals): Promise<void> {
    this.#wanted = false;
    this.#cancelRestart();
    const child = this.#child;
    if (child !== undefined && child.exitCode === null && child.signalCode === null) {
      const ended = new Promise<void>((resolve) => {
        child.once('exit', () => resolve());
      });
      const cancelKill = this.#options.clock.timer(STOP_TIMEOUT_MS, () => child.kill('SIGKILL'));
      child.kill(by);
      await ended;
      cancelKill();
    }
  }

  #spawn(): ChildProcess {
    const { clock, command, onStart, random } = this.#options;
    const [program, ...args] = command;
    const log = this.#log?.fd ?? 'ignore';
    const startedMs = clock.monotonicMs();
    // The IPC channel carries `ready`, and its end tells the daemon that this process is gone, however it went.
    // A session of its own keeps the terminal's Ctrl-C from it: it is stopped in order.
    const child = spawn(program, args, { stdio: ['ignore', log, log, 'ipc'], detached: true });
    this.#child = child;
    child.once('message', () => this.#options.onReady?.());
    child.on('exit', () => {
      if (!this.#wanted) return;
      if (clock.monotonicMs() - startedMs > LIVED_MS) this.#attempt = 0;
      const delayMs = this.#attempt === 0 ? 0 : backoffMs(RESTART, this.#attempt - 1, random);
      this.#attempt += 1;
      this.#cancelRestart = clock.timer(delayMs, () => {
        this.#spawn();
        onStart();
      });
    });
    return child;
  }
}

/** What a daemon said last to people; where to look when it said nothing. */
async function lastWords(logPath: string): Promise<string> {
  const lines = (await readFile(logPath, 'utf8')).trimEnd().split('\n');
  const last = lines.at(-1) ?? '';
  return last === '' || last.startsWith('{') ? `see ${logPath}` : `${last} (log: ${logPath})`;
}

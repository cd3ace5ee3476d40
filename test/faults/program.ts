import { execFile, spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { promisify } from 'node:util';

const runFile = promisify(execFile);

/** A daemon that can be killed and started again; it writes to a log. */
export interface Running {
  readonly pid: number;
  readonly ended: Promise<number | NodeJS.Signals | null>;
}

/** Standard output of a program that has to end well. */
export async function sh(file: string, ...args: readonly string[]): Promise<string> {
  const { stdout } = await runFile(file, [...args], { timeout: 60_000, maxBuffer: 1 << 24 });
  return stdout;
}

/** Starts a daemon with an environment. Rejects when there is no such program. */
export function startLogged(
  env: NodeJS.ProcessEnv,
  log: string,
  file: string,
  ...args: readonly string[]
): Promise<Running> {
  const descriptor = openSync(log, 'a');
  const child = spawn(file, args, { env, stdio: ['ignore', descriptor, descriptor] });
  closeSync(descriptor);
  const ended = new Promise<number | NodeJS.Signals | null>((resolve) => {
    child.once('exit', (code, signal) => resolve(signal ?? code));
  });
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('spawn', () => resolve({ pid: child.pid ?? -1, ended }));
  });
}

/** Sends a signal to a process that may be gone. */
export function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch {
    // It has ended.
  }
}

import { type ChildProcess, spawn } from 'node:child_process';
import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { errorCode } from '../../kit/coded-error.ts';
import { orAbort } from '../../kit/deadline.ts';
import type { Kernel } from './kernel.ts';
import { SYSTEM_ENVIRONMENT } from './run-program.ts';

/** `_IOWR('X', 120, int)` (`<linux/fs.h>`). */
const FITHAW = 0xc004_5878;

/**
 * Freezes, says so, and thaws when its input ends or after so many seconds. The kernel does not thaw what a process that
 * ended had frozen, and whoever writes to it then hangs for ever. So the one who thaws is a process of its own, in a session
 * of its own, that outlives this one: its input ends with this process, however that ends.
 */
const GUARD = `
trap '' TERM INT HUP
fsfreeze --freeze "$1" || exit 1
echo frozen
timeout "$2" cat >/dev/null
fsfreeze --unfreeze "$1" || exit 2
`;

export interface Freeze {
  readonly mountPoint: string;
  /** An open file with a flock(2) on it, which the guard holds on to: who gets the lock knows that there is no guard. */
  readonly guardFile: FileHandle;
  /** Tasks that write wait for as long. */
  readonly longestMs: number;
  readonly signal: AbortSignal;
}

/**
 * Runs `work` while a filesystem is frozen: all that was written is on its device, and nothing is written. Thaws it whatever
 * happens, after `longestMs` at the latest, also when this process is killed; `work` must not go on then, and gets a signal
 * for that.
 */
export async function whileFrozen<T>(
  kernel: Kernel,
  { mountPoint, guardFile, longestMs, signal }: Freeze,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  signal.throwIfAborted();
  const parameters = ['-c', GUARD, 'sh', mountPoint, String(Math.ceil(longestMs / 1000))];
  const guard = spawn('sh', parameters, {
    stdio: ['pipe', 'pipe', 'pipe', guardFile.fd],
    env: SYSTEM_ENVIRONMENT,
    detached: true,
  });
  const ended = new Promise<number | null>((resolve, reject) => {
    guard.once('error', reject);
    guard.once('close', resolve);
  });
  // It is awaited below; until then a failure to start must not count as nobody's.
  ended.catch(() => undefined);
  guard.stdin?.on('error', () => undefined);
  let mayBeFrozen = true;
  // Exit code 1: it was not frozen by this guard.
  ended.then((code) => (mayBeFrozen &&= code !== 1)).catch(() => undefined);
  const over = new AbortController();
  const onAbort = (): void => over.abort(signal.reason);
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    await orAbort(frozen(guard, ended, mountPoint), over.signal);
    void ended.catch(() => null).then((code) => over.abort(new Error(whyOver(code, mountPoint, longestMs))));
    const result = await work(over.signal);
    // The guard's time was over in the middle of the work: what it saw is no single instant.
    over.signal.throwIfAborted();
    return result;
  } finally {
    signal.removeEventListener('abort', onAbort);
    guard.stdin?.end();
    await ended.catch(() => undefined);
    // The guard may have been killed. What somebody else froze is not ours to thaw.
    if (mayBeFrozen) await thaw(kernel, mountPoint);
  }
}

function whyOver(guardEndedWith: number | null, mountPoint: string, longestMs: number): string {
  if (guardEndedWith === null) return `${mountPoint} is no longer frozen: who kept it so was killed`;
  return `${mountPoint} was frozen for ${longestMs / 1000} s, and no longer is allowed`;
}

/** Thaws a filesystem; fine when it is not frozen. */
export async function thaw(kernel: Kernel, mountPoint: string): Promise<void> {
  const directory = await open(mountPoint, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    await kernel.ioctl(directory.fd, FITHAW, Buffer.alloc(4));
  } catch (error) {
    // EINVAL: it is not frozen. EOPNOTSUPP: it cannot be.
    if (errorCode(error) !== 'EINVAL' && errorCode(error) !== 'EOPNOTSUPP') throw error;
  } finally {
    await directory.close();
  }
}

/** Resolves when the guard says that it froze; fails with what it said instead. */
async function frozen(guard: ChildProcess, ended: Promise<number | null>, mountPoint: string): Promise<void> {
  let said = '';
  guard.stderr?.setEncoding('utf8').on('data', (text: string) => {
    said += text.slice(0, 500);
  });
  const told = new Promise<true>((resolve) => {
    guard.stdout?.once('data', () => resolve(true));
  });
  const first = await Promise.race([told, ended]);
  if (first !== true)
    throw new Error(`${mountPoint} cannot be frozen: ${said.trim() || `the guard ended with ${first}`}`);
}

import { errno, type KoffiFunc, load } from 'koffi';
import { Gate } from './gate.ts';
import { SystemCallError } from './system-call-error.ts';

/** The system calls that Node lacks. All run off the main thread and fail with a {@link SystemCallError}. */
export interface Kernel {
  /** mount(2). `flags` as in {@link MountFlag}. */
  mount(call: MountCall): Promise<void>;
  /** umount2(2) of the topmost mount at `target`; fails with `EBUSY` while it is in use, never detaches lazily. */
  unmount(target: string): Promise<void>;
  /** The same, but lazily (MNT_DETACH): only for a filesystem that is dead, so that it cannot be written to any more. */
  abandon(target: string): Promise<void>;
  /** ioctl(2) on an open file; the kernel reads and writes `argument`. Returns what the call returned. */
  ioctl(fd: number, request: number, argument: Buffer | null): Promise<number>;
  /** fsetxattr(2) on an open file. */
  setAttribute(fd: number, name: string, value: string): Promise<void>;
  /** flock(2), exclusive and without waiting. False when another open file description holds a lock. */
  lock(fd: number): Promise<boolean>;
}

interface MountCall {
  readonly source: string | null;
  readonly target: string;
  readonly type: string | null;
  readonly flags: number;
  readonly options: string | null;
}

/** Flags of mount(2), from `<linux/mount.h>`. */
export const MountFlag = { remount: 32, noatime: 1024, bind: 0x1000, private: 1 << 18, shared: 1 << 20 } as const;

/** UMOUNT_NOFOLLOW: a symlink put in place of the mount point must not lead the call elsewhere. */
const UMOUNT_NOFOLLOW = 8;
const MNT_DETACH = 2;
/** LOCK_EX | LOCK_NB. */
const LOCK_EXCLUSIVE_NOW = 2 | 4;

/**
 * mount and umount can block for as long as a disk does. They run on libuv's pool, which has four threads unless
 * configured otherwise: with all of them blocked the process could no longer read a file.
 */
const BLOCKING_CALLS_AT_ONCE = 3;
/** koffi refuses more than 256 asynchronous calls at once. */
const SHORT_CALLS_AT_ONCE = 64;

/** Binds the C library that Node itself runs on. Fails when it lacks one of the calls. */
export function loadKernel(): Kernel {
  const libc = load(null);
  const mount = libc.func(
    'int mount(const char *, const char *, const char *, unsigned long, const char *)',
  ) as KoffiFunc<
    (source: string | null, target: string, type: string | null, flags: number, options: string | null) => number
  >;
  const umount = libc.func('int umount2(const char *, int)') as KoffiFunc<(target: string, flags: number) => number>;
  const ioctl = libc.func('int ioctl(int, unsigned long, void *)') as KoffiFunc<
    (fd: number, request: number, argument: Buffer | null) => number
  >;
  const flock = libc.func('int flock(int, int)') as KoffiFunc<(fd: number, operation: number) => number>;
  const fsetxattr = libc.func('int fsetxattr(int, const char *, const char *, size_t, int)') as KoffiFunc<
    (fd: number, name: string, value: string, valueBytes: number, flags: number) => number
  >;
  const blocking = new Gate(BLOCKING_CALLS_AT_ONCE);
  const short = new Gate(SHORT_CALLS_AT_ONCE);

  return {
    mount: async ({ source, target, type, flags, options }) => {
      const text = `mount(${source ?? 'none'}, ${target})`;
      await blocking.run(() => invoke(text, (done) => mount.async(source, target, type, flags, options, done)));
    },
    unmount: async (target) => {
      await blocking.run(() => invoke(`umount2(${target})`, (done) => umount.async(target, UMOUNT_NOFOLLOW, done)));
    },
    abandon: async (target) => {
      const flags = UMOUNT_NOFOLLOW | MNT_DETACH;
      await blocking.run(() => invoke(`umount2(${target}, MNT_DETACH)`, (done) => umount.async(target, flags, done)));
    },
    ioctl: (fd, request, argument) =>
      short.run(() => invoke(`ioctl(0x${request.toString(16)})`, (done) => ioctl.async(fd, request, argument, done))),
    setAttribute: async (fd, name, value) => {
      const bytes = Buffer.byteLength(value);
      await short.run(() => invoke(`fsetxattr(${name})`, (done) => fsetxattr.async(fd, name, value, bytes, 0, done)));
    },
    lock: async (fd) => {
      try {
        await short.run(() => invoke('flock', (done) => flock.async(fd, LOCK_EXCLUSIVE_NOW, done)));
        return true;
      } catch (error) {
        if (error instanceof SystemCallError && error.code === 'EAGAIN') return false;
        throw error;
      }
    },
  };
}

/** Runs a system call on a worker thread; fails with a {@link SystemCallError} that names it when it returns less than 0. */
export function invoke(
  call: string,
  start: (done: (failure: unknown, result: number) => void) => void,
): Promise<number> {
  return new Promise((resolve, reject) => {
    start((failure, result) => {
      // koffi restores the errno of the worker thread only until this callback returns.
      const reason = errno();
      if (failure instanceof Error) reject(failure);
      else if (result < 0) reject(new SystemCallError(call, reason));
      else resolve(result);
    });
  });
}

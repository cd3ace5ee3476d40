import { close } from 'node:fs';
import { promisify } from 'node:util';
import { type KoffiFunc, load } from 'koffi';
import { invoke } from './kernel.ts';

const closeDescriptor = promisify(close);

/** Numbers of system calls, the same on all machines (`<asm-generic/unistd.h>`). */
const FSOPEN = 430;
const FSCONFIG = 431;
const FSMOUNT = 432;
/** `<linux/mount.h>`. */
const SET_STRING = 1;
const CREATE = 6;
const CLOSE_ON_EXEC = 1;
const NO_SUID_DEV_EXEC = 2 | 4 | 8;

/** A filesystem that is mounted for this process alone. */
export interface DetachedMount {
  /** Its root, for as long as it is mounted. */
  readonly path: string;
  close(): Promise<void>;
}

type Call<Parameters extends readonly unknown[]> = KoffiFunc<(...parameters: [...Parameters]) => number>;

/**
 * Mounts a filesystem in no mount namespace at all, so that nobody finds it and none can keep it: it ends with `close`, or with the process
 * (fsopen(2), fsmount(2)). Needs CAP_SYS_ADMIN and Linux 5.2.
 */
export async function mountDetached(type: string, options: Readonly<Record<string, string>>): Promise<DetachedMount> {
  const libc = load(null);
  const fsopen: Call<[number, string, number]> = libc.func('long syscall(long, const char *, unsigned int)');
  const fsconfig: Call<[number, number, number, string | null, string | null, number]> = libc.func(
    'long syscall(long, int, unsigned int, const char *, const char *, int)',
  );
  const fsmount: Call<[number, number, number, number]> = libc.func(
    'long syscall(long, int, unsigned int, unsigned int)',
  );
  const context = await invoke(`fsopen(${type})`, (done) => fsopen.async(FSOPEN, type, CLOSE_ON_EXEC, done));
  try {
    for (const [key, value] of Object.entries(options)) {
      await invoke(`fsconfig(${key})`, (done) => fsconfig.async(FSCONFIG, context, SET_STRING, key, value, 0, done));
    }
    await invoke(`mounting ${type}`, (done) => fsconfig.async(FSCONFIG, context, CREATE, null, null, 0, done));
    const mount = await invoke('fsmount', (done) =>
      fsmount.async(FSMOUNT, context, CLOSE_ON_EXEC, NO_SUID_DEV_EXEC, done),
    );
    return { path: `/proc/self/fd/${mount}`, close: () => closeDescriptor(mount) };
  } finally {
    await closeDescriptor(context);
  }
}

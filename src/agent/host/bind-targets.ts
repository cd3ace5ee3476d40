import { close, constants, fstatSync, mkdirSync, openSync, readdirSync, readlinkSync } from 'node:fs';
import { realpath, rmdir, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { CodedError, errorCode } from '../../kit/coded-error.ts';
import { targetProblem } from '../../kit/mount-target.ts';
import { type Kernel, MountFlag } from './kernel.ts';
import { mountsAt, readMountTable } from './mount-table.ts';

/** A path at which nothing can be shown. */
class TargetError extends CodedError<'bad_target'> {
  override readonly name = 'TargetError';
}

/** MS_REMOUNT of mount(2): flags of a bind mount are set by a second call. */
const REMOUNT = 32;
/** Flags of mount(2) by their names in mount(8), from `<linux/mount.h>`. */
const FLAGS: ReadonlyMap<string, number> = new Map([
  ['ro', 1],
  ['nosuid', 2],
  ['nodev', 4],
  ['noexec', 8],
  ['noatime', 1 << 10],
  ['nodiratime', 1 << 11],
  ['relatime', 1 << 21],
  ['strictatime', 1 << 24],
]);
export const DIRECTORY_ONLY = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW;

/**
 * Bind mounts at paths that others choose. A path is opened directory by directory and the mount is made on what was opened
 * and looked at, so that nothing put in its place meanwhile leads it elsewhere.
 */
export class BindTargets {
  readonly #kernel: Kernel;

  constructor(kernel: Kernel) {
    this.#kernel = kernel;
  }

  /** Shows `source` at `target`, made unless it is an empty directory. Doing it again sets the flags again. */
  async bind(source: string, target: string, flags: ReadonlySet<string>): Promise<void> {
    const open: number[] = [];
    try {
      const place = await placeOf(target);
      const parent = openSync(dirname(place), DIRECTORY_ONLY);
      open.push(parent);
      // Names the mount once there is one; `directory` stays what is below it.
      const entry = `/proc/self/fd/${parent}/${basename(place)}`;
      const directory = openEntry(entry, place);
      open.push(directory);
      if (readlinkSync(`/proc/self/fd/${directory}`) !== place) throw refused(place, 'was changed meanwhile');
      const shown = fstatSync(directory);
      const volume = await stat(source);
      if (shown.dev !== volume.dev || shown.ino !== volume.ino) {
        if (mountsAt(await readMountTable(), place).length > 0) throw refused(place, 'has something else mounted');
        if (readdirSync(`/proc/self/fd/${directory}`).length > 0) throw refused(place, 'is not empty');
        const bare = { target: `/proc/self/fd/${directory}`, type: null, options: null };
        await this.#kernel.mount({ ...bare, source, flags: MountFlag.bind });
      }
      await this.#setFlags(entry, flags);
    } finally {
      for (const fd of open) close(fd);
    }
  }

  /** Ends what is mounted at `target` and removes the directory if it is empty. One that is not there is fine. */
  async unbind(target: string): Promise<void> {
    try {
      const place = await placeOf(target);
      for (const _ of mountsAt(await readMountTable(), place)) await this.#kernel.unmount(place);
      await rmdir(place);
    } catch (error) {
      const code = errorCode(error);
      if (code !== 'ENOENT' && code !== 'ENOTEMPTY' && code !== 'no_parent') throw error;
    }
  }

  /** Whether anything is mounted at `target`. */
  async isMounted(target: string): Promise<boolean> {
    const parent = await realpath(dirname(target)).catch(() => undefined);
    if (parent === undefined) return false;
    return mountsAt(await readMountTable(), join(parent, basename(target))).length > 0;
  }

  /** What is mounted there later is not to show up below the volume itself: a bind mount begins as its source's peer. */
  async #setFlags(target: string, flags: ReadonlySet<string>): Promise<void> {
    const bare = { source: null, target, type: null, options: null };
    await this.#kernel.mount({ ...bare, flags: MountFlag.private });
    let bits = REMOUNT | MountFlag.bind;
    for (const flag of flags) {
      const bit = FLAGS.get(flag);
      if (bit === undefined) throw new TargetError('bad_target', `there is no mount flag ${flag}`);
      bits |= bit;
    }
    await this.#kernel.mount({ ...bare, flags: bits });
  }
}

/** The target without symbolic links on the way. Fails with `no_parent` or `bad_target`. */
export async function placeOf(target: string): Promise<string> {
  const parent = await realpath(dirname(target)).catch((error: unknown) => {
    if (errorCode(error) !== 'ENOENT') throw error;
    throw new CodedError('no_parent', `${dirname(target)} does not exist on this node; the caller has to make it`);
  });
  const place = join(parent, basename(target));
  const problem = targetProblem(place);
  if (problem !== undefined) throw refused(place, problem);
  return place;
}

function openEntry(entry: string, place: string): number {
  try {
    mkdirSync(entry, { mode: 0o750 });
  } catch (error) {
    if (errorCode(error) !== 'EEXIST') throw error;
  }
  try {
    return openSync(entry, DIRECTORY_ONLY);
  } catch (error) {
    const code = errorCode(error);
    if (code !== 'ENOTDIR' && code !== 'ELOOP') throw error;
    throw refused(place, 'is not a directory');
  }
}

/** Why nothing can be shown at a place. */
export function refused(place: string, problem: string): TargetError {
  return new TargetError('bad_target', `${place} ${problem}`);
}

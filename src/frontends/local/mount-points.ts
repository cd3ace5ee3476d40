import { mkdir, realpath, rmdir, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { errorCode, errorText } from '../../kit/coded-error.ts';
import { plainPath, targetProblem } from '../../kit/mount-target.ts';
import { LocalError } from './local-error.ts';

/** A place for a volume, with symbolic links resolved, and the directories that are missing, outermost first. */
export interface MountPointPlan {
  readonly target: string;
  readonly missing: readonly string[];
}

/** Looks at a target and changes nothing. Fails with `bad_target` when no volume may or can be mounted there. */
export async function planMountPoint(path: string): Promise<MountPointPlan> {
  refuse(path, targetProblem(path));
  const { real, rest } = await nearestReal(plainPath(path));
  const target = rest.length === 0 ? real : join(real, ...rest);
  // Again, as a link may lead to where nothing must be mounted.
  refuse(path, targetProblem(target));
  const found = await stat(real).catch((error: unknown) => {
    throw new LocalError('bad_target', `mount point ${path}: ${errorText(error)}`, { cause: error });
  });
  if (!found.isDirectory()) throw new LocalError('bad_target', `mount point ${path}: ${real} is not a directory`);
  return { target, missing: rest.map((_, index) => join(real, ...rest.slice(0, index + 1))) };
}

/** Makes the missing directories. Fails with `bad_target` when one cannot be made. */
export async function makeDirectories(missing: readonly string[]): Promise<void> {
  for (const path of missing) {
    await mkdir(path, { mode: 0o755 }).catch((error: unknown) => {
      if (errorCode(error) === 'EEXIST') return;
      throw new LocalError('bad_target', `cannot make the mount point ${path}: ${errorText(error)}`, { cause: error });
    });
  }
}

/** Removes directories that are empty, innermost first; leaves the others. */
export async function removeDirectories(made: readonly string[]): Promise<void> {
  for (const path of [...new Set(made)].sort((a, b) => b.length - a.length)) await rmdir(path).catch(() => undefined);
}

/** The longest part of a path that exists, resolved, and the names below it that do not. */
async function nearestReal(path: string): Promise<{ real: string; rest: string[] }> {
  const rest: string[] = [];
  for (let part = path; ; part = dirname(part)) {
    try {
      return { real: await realpath(part), rest };
    } catch (error) {
      if (errorCode(error) !== 'ENOENT' || part === '/') {
        throw new LocalError('bad_target', `mount point ${path}: ${errorText(error)}`, { cause: error });
      }
      rest.unshift(basename(part));
    }
  }
}

function refuse(path: string, problem: string | undefined): void {
  if (problem !== undefined) throw new LocalError('bad_target', `mount point ${JSON.stringify(path)} ${problem}`);
}

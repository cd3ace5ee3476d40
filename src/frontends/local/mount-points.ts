import { realpath, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { errorCode, errorText } from '../../kit/coded-error.ts';
import { plainPath, targetProblem } from '../../kit/mount-target.ts';
import { OpenDirectories } from '../../kit/open-directories.ts';
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

/**
 * Makes the missing directories. Others may own the directories on the way: one that was put in the place of another, or a link, is
 * refused. Fails with `bad_target` when one cannot be made.
 */
export function makeDirectories(missing: readonly string[]): void {
  for (const path of missing) {
    const cannot = (problem: string): never => {
      throw new LocalError('bad_target', `cannot make the mount point ${path}: ${problem}`);
    };
    try {
      inDirectoryOf(path, cannot, (open, name) => open.make(name));
    } catch (error) {
      if (error instanceof LocalError) throw error;
      throw new LocalError('bad_target', `cannot make the mount point ${path}: ${errorText(error)}`, { cause: error });
    }
  }
}

/** Removes directories that are empty, innermost first; leaves the others, and what is reached through links now. */
export function removeDirectories(made: readonly string[]): void {
  for (const path of [...new Set(made)].sort((a, b) => b.length - a.length)) {
    try {
      inDirectoryOf(
        path,
        (problem) => fail(path, problem),
        (open, name) => open.remove(name),
      );
    } catch {
      // It is in use, or gone.
    }
  }
}

function inDirectoryOf(
  path: string,
  refused: (problem: string) => never,
  work: (open: OpenDirectories, name: string) => void,
): void {
  const names = path.split('/').filter((name) => name !== '');
  const last = names.pop();
  if (last === undefined) return;
  const open = OpenDirectories.at('/', refused, false);
  try {
    for (const name of names) if (open.enter(name) !== 'entered') refused(`${open.text(name)} was changed meanwhile`);
    work(open, last);
  } finally {
    open.close();
  }
}

function fail(path: string, problem: string): never {
  throw new LocalError('bad_target', `mount point ${JSON.stringify(path)} ${problem}`);
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
  if (problem !== undefined) fail(path, problem);
}

import { realpath, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { errorCode, errorText } from '../../kit/coded-error.ts';
import { isWithin, plainPath, targetProblem } from '../../kit/mount-target.ts';
import { makeDirectories, partsOf, removeDirectory, walk } from './directory-walk.ts';
import { IsolatorError } from './isolator-error.ts';
import { requireSteadyPath } from './steady-path.ts';

/** The filesystem a container will see. */
export interface Surroundings {
  /** The sandbox on the host. */
  readonly directory: string;
  /** The image on the host, if the container has one. */
  readonly rootfs: string | undefined;
  /** Where the sandbox is seen in an image. */
  readonly sandboxDirectory: string;
  /** Paths of the system, and all below them, that the operator lets volumes cover. */
  readonly allowedPaths: readonly string[];
}

/** Where a volume is to be mounted. */
export interface MountPlace {
  /** Path on the host for the mount namespace of the container, without symbolic links. */
  readonly target: string;
  /** Where the container sees it; two volumes must not be one inside the other there. */
  readonly seenAt: string;
  /** Directories to make first, outermost first: names below `root`. */
  readonly root: string;
  readonly missing: readonly (readonly string[])[];
}

/** Neither these nor what is below; in an image the rest of the system is the task's own. */
const KERNEL_TREES = /^\/(?:proc|sys|dev)(?:\/|$)/;
const IMAGE_ROOTS = /^\/(?:etc|run|usr|bin|sbin|lib[^/]*|boot|var)?$/;

/** Decides where a container path leads, by the rules of Mesos's own isolators, and changes nothing. Fails with `bad_path`. */
export async function planPlace(
  containerPath: string,
  surroundings: Surroundings,
  mayMakeInTmp: boolean,
): Promise<MountPlace> {
  const problem = textProblem(containerPath);
  if (problem !== undefined) refuse(problem);
  const { rootfs, sandboxDirectory } = surroundings;
  if (!containerPath.startsWith('/')) return inSandbox(partsOf(containerPath), surroundings);
  const path = plainPath(containerPath);
  if (rootfs === undefined) return onHost(path, surroundings, mayMakeInTmp);
  const sandbox = plainPath(sandboxDirectory);
  // In the image this place is covered by the sandbox.
  if (isWithin(path, sandbox)) return inSandbox(partsOf(path.slice(sandbox.length)), surroundings);
  return inImage(path, rootfs, surroundings);
}

/** Makes what the plan says is missing. */
export function makePlace(place: MountPlace): void {
  const deepest = place.missing.at(-1);
  if (deepest !== undefined) makeDirectories(place.root, deepest);
}

/** Removes directories that were made for places, innermost first, unless something is in them. */
export function unmakePlaces(places: readonly Pick<MountPlace, 'root' | 'missing'>[]): void {
  for (const { root, missing } of places) {
    for (const names of missing.toReversed()) {
      try {
        removeDirectory(root, names);
      } catch {
        // It is in use by then, or Mesos has removed all of it.
      }
    }
  }
}

function inSandbox(names: readonly string[], surroundings: Surroundings): MountPlace {
  const { directory, rootfs, sandboxDirectory } = surroundings;
  if (names.length === 0) refuse('is the sandbox itself; name a directory in it');
  const { present, missing } = walk(directory, names, 'refuse');
  // The agent mounts the sandbox there: a link in the image would lead that mount, and ours, elsewhere.
  if (rootfs !== undefined) walk(rootfs, partsOf(sandboxDirectory), 'refuse');
  const target = rootfs === undefined ? join(directory, ...names) : join(rootfs, sandboxDirectory, ...names);
  const seenAt = join(rootfs === undefined ? directory : plainPath(sandboxDirectory), ...names);
  return { target, seenAt, root: directory, missing: growing(present, missing) };
}

function inImage(path: string, rootfs: string, surroundings: Surroundings): MountPlace {
  const { allowedPaths, sandboxDirectory } = surroundings;
  const refuseProtected = (seenAt: string): void => {
    if (isWithin(plainPath(sandboxDirectory), seenAt)) refuse(`would hide the sandbox at ${sandboxDirectory}`);
    if ((KERNEL_TREES.test(seenAt) || IMAGE_ROOTS.test(seenAt)) && !isAllowed(seenAt, allowedPaths))
      refuse('belongs to the system; mount it elsewhere, as in /data');
  };
  refuseProtected(path);
  const { present, missing } = walk(rootfs, partsOf(path), 'inside');
  const names = [...present, ...missing];
  const seenAt = `/${names.join('/')}`;
  refuseProtected(seenAt);
  return { target: join(rootfs, ...names), seenAt, root: rootfs, missing: growing(present, missing) };
}

async function onHost(path: string, { allowedPaths }: Surroundings, mayMakeInTmp: boolean): Promise<MountPlace> {
  const refuseProtected = (seenAt: string): void => {
    const problem = targetProblem(seenAt);
    if (seenAt === '/tmp' || (problem !== undefined && !isAllowed(seenAt, allowedPaths)))
      refuse(problem ?? 'belongs to the system; mount it elsewhere, as in /data');
  };
  refuseProtected(path);
  if (mayMakeInTmp && path.startsWith('/tmp/') && (await isMissing(path))) {
    const { present, missing } = walk('/tmp', partsOf(path.slice('/tmp'.length)), 'refuse');
    await requireSteadyPath(join('/tmp', ...present));
    return { target: path, seenAt: path, root: '/tmp', missing: growing(present, missing) };
  }
  if (await isMissing(path))
    refuse(
      'does not exist on this node, and the task has no image; make it there, or give a path in the sandbox, as in data',
    );
  const target = await realpath(path);
  // Again, as a link may lead to where nothing must be mounted.
  refuseProtected(target);
  if (!(await stat(target)).isDirectory()) refuse('is not a directory on this node');
  await requireSteadyPath(target);
  return { target, seenAt: target, root: '/', missing: [] };
}

function textProblem(path: string): string | undefined {
  if (path.length > 3000) return 'is longer than 3000 characters';
  if (/[\p{Cc}\p{Cs}]/u.test(path)) return 'has control characters';
  const parts = path.split('/');
  if (parts.includes('..')) return 'has ".." in it; give the path without';
  if (parts.some((part) => Buffer.byteLength(part) > 255)) return 'has a name of more than 255 bytes in it';
  return undefined;
}

function isAllowed(path: string, allowedPaths: readonly string[]): boolean {
  return path !== '/' && allowedPaths.some((allowed) => isWithin(path, plainPath(allowed)));
}

async function isMissing(path: string): Promise<boolean> {
  try {
    await stat(path);
    return false;
  } catch (error) {
    if (errorCode(error) === 'ENOENT' || errorCode(error) === 'ENOTDIR') return true;
    return refuse(`cannot be looked at: ${errorText(error)}`);
  }
}

function growing(present: readonly string[], missing: readonly string[]): string[][] {
  return missing.map((_, index) => [...present, ...missing.slice(0, index + 1)]);
}

function refuse(problem: string): never {
  throw new IsolatorError('bad_path', problem);
}

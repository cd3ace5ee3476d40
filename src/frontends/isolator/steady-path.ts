import { lstat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { IsolatorError } from './isolator-error.ts';

const STICKY = 0o1000;

/**
 * Mesos mounts later, by name. So nobody but root may be able to put something else in the place of any directory on the
 * way: a volume that ends up on /etc in a namespace with set-user-id programs makes its owner root. Fails with `bad_path`.
 */
export async function requireSteadyPath(path: string): Promise<void> {
  for (let entry = path; entry !== '/'; entry = dirname(entry)) {
    const parent = dirname(entry);
    const [inner, outer] = await Promise.all([lstat(entry), lstat(parent)]);
    const groupMayWrite = (outer.mode & 0o020) !== 0 && outer.gid !== 0;
    const othersMayWrite = groupMayWrite || (outer.mode & 0o002) !== 0;
    const steady = outer.uid === 0 && (!othersMayWrite || ((outer.mode & STICKY) !== 0 && inner.uid === 0));
    if (steady) continue;
    throw new IsolatorError(
      'bad_path',
      `is not safe on this node: others than root can replace ${entry}; use a directory whose parents only root can ` +
        'write to, or a path in the sandbox, as in data',
    );
  }
}

import { mkdir, realpath, rmdir } from 'node:fs/promises';
import { errorCode } from '../../kit/coded-error.ts';
import { type Kernel, MountFlag } from './kernel.ts';
import { mountsAt, readMountTable } from './mount-table.ts';

/**
 * Makes `path` a directory (mode 0700) whose mounts reach the mount namespaces that follow it, whatever the
 * propagation of the machine's own root is. Returns its real path. Doing it again changes nothing.
 */
export async function ensureSharedMountRoot(kernel: Kernel, path: string): Promise<string> {
  await mkdir(path, { recursive: true, mode: 0o700 });
  const target = await realpath(path);
  const bare = { target, type: null, options: null };
  if (mountsAt(await readMountTable(), target).length === 0) {
    await kernel.mount({ ...bare, source: target, flags: MountFlag.bind });
  }
  const table = await readMountTable();
  const mount = mountsAt(table, target).at(-1);
  const parent = table.find((entry) => entry.id === mount?.parentId);
  if (mount !== undefined && mount.peerGroup !== null && mount.peerGroup !== parent?.peerGroup) return target;
  // A bind mount joins the peer group of what it was bound from. Left in it, every volume would be mounted twice:
  // here and, hidden, below the directory that this mount covers.
  await kernel.mount({ ...bare, source: null, flags: MountFlag.private });
  await kernel.mount({ ...bare, source: null, flags: MountFlag.shared });
  return target;
}

/** Undoes {@link ensureSharedMountRoot}. Fails with `EBUSY` or `ENOTEMPTY` while anything is left below it. */
export async function removeSharedMountRoot(kernel: Kernel, path: string): Promise<void> {
  try {
    const target = await realpath(path);
    for (const _ of mountsAt(await readMountTable(), target)) await kernel.unmount(target);
    await rmdir(target);
  } catch (error) {
    if (errorCode(error) !== 'ENOENT') throw error;
  }
}

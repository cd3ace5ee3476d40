import { join } from 'node:path';
import type { Btrfs } from '../../host/btrfs.ts';
import type { BtrfsTree } from '../../host/btrfs-tree.ts';
import type { PoolFilesystem } from '../pool-layout.ts';
import { removeTree } from '../remove-tree.ts';

/** The subvolume with the bytes, within the directory of a volume or a snapshot. */
export function bytesPath(directory: string): string {
  return join(directory, 'data');
}

/** How directories of a pool on btrfs are made durable and removed. */
export function poolFilesystem(btrfs: Btrfs, tree: BtrfsTree): PoolFilesystem {
  return {
    // fsync(2) of a directory does not promise the subvolumes below it.
    syncDirectory: (path) => btrfs.commit(path),
    removeTree: async (directory) => {
      await destroySubvolume(btrfs, tree, directory);
      await removeTree(directory);
    },
  };
}

/**
 * Deletes the bytes in a directory, and what users made subvolumes of within them, without walking through the files. The
 * kernel frees the space in the background.
 */
async function destroySubvolume(btrfs: Btrfs, tree: BtrfsTree, directory: string): Promise<void> {
  const path = bytesPath(directory);
  const id = await btrfs.subvolumeId(path);
  if (id === undefined) return;
  const inner = await tree.subvolumesWithin(path, id);
  // Nothing can be deleted from within a read-only one.
  if (inner.length > 0) await btrfs.setReadOnly(path, false);
  for (const one of [...inner, id]) await btrfs.destroySubvolume(directory, one);
}

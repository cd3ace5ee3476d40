import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { type Clock, pause } from '../../../kit/clock.ts';
import { errorCode } from '../../../kit/coded-error.ts';
import type { Btrfs } from '../../host/btrfs.ts';
import type { BtrfsTree } from '../../host/btrfs-tree.ts';
import type { PoolFilesystem } from '../pool-layout.ts';
import { removeTree } from '../remove-tree.ts';
import type { ActiveSends } from './active-sends.ts';

/** A program of a killed agent that reads a subvolume has let go of it within a moment. */
const MOST_WAITS = 40;
const WAIT_MS = 50;

/** The subvolume with the bytes, within the directory of a volume or a snapshot. */
export function bytesPath(directory: string): string {
  return join(directory, 'data');
}

/** The same of a volume that comes after another version of it in one stream. */
export function besideAnother(directory: string): string {
  return join(directory, 'volume');
}

/** Beside a volume's bytes: what another pool has of the volume too. A directory like that of a snapshot, without a record. */
export function basePath(directory: string): string {
  return join(directory, 'base');
}

/** How directories of a pool on btrfs are made durable and removed. */
export function poolFilesystem(btrfs: Btrfs, tree: BtrfsTree, sends: ActiveSends, clock: Clock): PoolFilesystem {
  return {
    // fsync(2) of a directory does not promise the subvolumes below it.
    syncDirectory: (path) => btrfs.commit(path),
    removeTree: async (directory) => {
      for (const holder of [basePath(directory), directory])
        await destroySubvolumes(btrfs, tree, holder, (id) => destroyUnsent(btrfs, sends, clock, holder, id));
      await removeTree(directory);
    },
  };
}

/**
 * Deletes the subvolumes in a directory, whatever their names, and what users made subvolumes of within them, without walking through
 * the files. The kernel frees the space in the background.
 */
async function destroySubvolumes(
  btrfs: Btrfs,
  tree: BtrfsTree,
  directory: string,
  destroy: (id: number) => Promise<void>,
): Promise<void> {
  for (const name of await namesIn(directory)) {
    const path = join(directory, name);
    const id = await btrfs.subvolumeId(path);
    if (id === undefined) continue;
    const inner = await tree.subvolumesWithin(path, id);
    // Nothing can be deleted from within a read-only one.
    if (inner.length > 0) await btrfs.setReadOnly(path, false);
    for (const one of [...inner, id]) await destroy(one);
  }
}

async function destroyUnsent(
  btrfs: Btrfs,
  sends: ActiveSends,
  clock: Clock,
  directory: string,
  id: number,
): Promise<void> {
  for (let waits = 0; ; waits += 1) {
    try {
      return await btrfs.destroySubvolume(directory, id);
    } catch (error) {
      if (errorCode(error) !== 'EPERM' || waits === MOST_WAITS) throw error;
      await sends.end(id);
      await pause(clock, WAIT_MS, new AbortController().signal);
    }
  }
}

async function namesIn(directory: string): Promise<readonly string[]> {
  try {
    return await readdir(directory);
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes(errorCode(error) ?? '')) return [];
    throw error;
  }
}

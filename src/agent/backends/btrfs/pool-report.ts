import { readdir, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import type { PoolReport } from '../../../model/storage-state.ts';
import type { Btrfs } from '../../host/btrfs.ts';
import type { BtrfsSpace } from '../../host/btrfs-space.ts';
import { mediaOf } from '../../host/media.ts';
import { readMountTable } from '../../host/mount-table.ts';
import { locate } from '../../host/storage-users.ts';
import type { PoolLayout } from '../pool-layout.ts';
import { type Statements, traitsOf } from '../statements.ts';
import type { SavingsWalk } from './savings-walk.ts';
import type { BtrfsProfile } from './settings.ts';
import { bytesPath } from './subvolumes.ts';

/** What the kernel takes when a filesystem was mounted without a level. */
const DEFAULT_ZSTD_LEVEL = 3;
/** Of one look, most of it in the kernel and off the main thread. */
const WALK_BUDGET_MS = 100;
const UNSTATED = { compression: null, dedup: 'offline', encryption: null } as const;

export interface ReportSources {
  readonly layout: PoolLayout;
  readonly statements: Statements;
  readonly space: BtrfsSpace;
  readonly walk: SavingsWalk;
  readonly profiles: Readonly<Record<string, BtrfsProfile>>;
}

/** What the pool is like and how full it is. */
export async function describeBtrfs(sources: ReportSources, signal: AbortSignal): Promise<PoolReport> {
  const { layout, statements, space, walk, profiles } = sources;
  const { rootPath } = layout;
  signal.throwIfAborted();
  // Else the figures would be those of whatever is below a pool that is not mounted.
  await layout.verify();
  const looks = [statfs(rootPath), space.dataCopies(), zstdLevel(rootPath), mediaOf(rootPath)] as const;
  const [sizes, replication, level, media] = await Promise.all(looks);
  const savings = await walk.advance(WALK_BUDGET_MS, signal);
  return {
    // The compression is a setting, known better than by what the operator calls it.
    profiles: traitsOf(statements, { ...UNSTATED, media, replication }).map((traits) => {
      const compression = profiles[traits.name]?.compression ?? null;
      return { ...traits, compression: compression === 'zstd' ? `zstd:${level}` : compression };
    }),
    figures: {
      totalBytes: sizes.blocks * sizes.bsize,
      availableBytes: sizes.bavail * sizes.bsize,
      usedBytes: (sizes.blocks - sizes.bfree) * sizes.bsize,
      logicalBytes: savings?.referencedBytes ?? null,
      physicalBytes: savings?.storedBytes ?? null,
      compressionSavedBytes: savings === null ? null : Math.max(0, savings.uncompressedBytes - savings.storedBytes),
      // Overwritten parts of an extent stay stored with it, which can outweigh what is shared.
      sharedSavedBytes: savings === null ? null : Math.max(0, savings.referencedBytes - savings.uncompressedBytes),
    },
  };
}

/** Ids of the subvolumes of all volumes and snapshots of a pool, whichever node has them. */
export async function poolSubvolumes(btrfs: Btrfs, rootPath: string): Promise<readonly number[]> {
  const attached = join(rootPath, 'attached');
  const nodes = (await readdir(attached)).map((instance) => join(attached, instance));
  const ids: number[] = [];
  for (const shelf of [join(rootPath, 'unattached'), join(rootPath, 'snapshots'), ...nodes]) {
    for (const name of await readdir(shelf)) {
      const id = await btrfs.subvolumeId(bytesPath(join(shelf, name)));
      if (id !== undefined) ids.push(id);
    }
  }
  return ids;
}

/** Level of zstd in the whole filesystem: the kernel takes it from how it was mounted. */
async function zstdLevel(rootPath: string): Promise<number> {
  const table = await readMountTable();
  const device = locate(table, rootPath)?.device;
  const options = table.find((entry) => entry.device === device)?.options ?? '';
  return Number(/(?:^|,)compress(?:-force)?=zstd:(\d+)/.exec(options)?.[1] ?? DEFAULT_ZSTD_LEVEL);
}

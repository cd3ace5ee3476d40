import { statfs } from 'node:fs/promises';
import type { PoolReport, ProfileTraits } from '../../model/storage-state.ts';
import { mediaOf } from '../host/media.ts';
import type { PoolLayout } from './pool-layout.ts';
import { type Statements, traitsOf } from './statements.ts';

type Engine = Pick<ProfileTraits, 'compression' | 'dedup'>;

/**
 * Filesystems of which it is known what they do not do, by their magic number (statfs(2)). Files of xfs may share blocks:
 * whether they do is not known without a walk.
 */
const ENGINES: ReadonlyMap<number, Engine> = new Map([
  [0xef53, { compression: 'none', dedup: 'none' }],
  [0x58465342, { compression: 'none', dedup: null }],
  [0x01021994, { compression: 'none', dedup: 'none' }],
]);
const UNKNOWN_ENGINE: Engine = { compression: null, dedup: null };

/**
 * A pool that is a directory on some filesystem. Its figures are those of the filesystem: whatever else is on it counts as
 * used. What the volumes have written is not told, as other nodes may have some of them.
 */
export async function describeFilePool(
  layout: PoolLayout,
  statements: Statements,
  signal: AbortSignal,
): Promise<PoolReport> {
  // In turn: each may occupy one of the process's few threads for as long as a network filesystem is away.
  signal.throwIfAborted();
  const { rootPath } = layout;
  // Else the figures would be those of whatever is below a pool that is not mounted.
  await layout.verify();
  const space = await statfs(rootPath);
  signal.throwIfAborted();
  const media = await mediaOf(rootPath);
  const engine = ENGINES.get(space.type) ?? UNKNOWN_ENGINE;
  // Files on a network or other filesystem may have any number of copies, in any form.
  const profiles = traitsOf(statements, { ...engine, media, replication: null, encryption: null });
  const isNone = (of: (traits: Engine) => string | null): boolean =>
    [engine, ...profiles].every((one) => of(one) === 'none');
  return {
    profiles,
    figures: {
      totalBytes: space.blocks * space.bsize,
      availableBytes: space.bavail * space.bsize,
      usedBytes: (space.blocks - space.bfree) * space.bsize,
      logicalBytes: null,
      physicalBytes: null,
      compressionSavedBytes: isNone(({ compression }) => compression) ? 0 : null,
      sharedSavedBytes: isNone(({ dedup }) => dedup) ? 0 : null,
    },
  };
}

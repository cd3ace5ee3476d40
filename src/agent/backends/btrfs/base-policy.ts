import type { ReadOnlyVersion } from '../../host/btrfs.ts';
import type { SubvolumeBytes } from '../../host/btrfs-space.ts';
import type { CopyBases } from '../backend.ts';

/** A read-only version of a volume in this pool. */
export interface PoolVersion extends ReadOnlyVersion {
  readonly path: string;
}

/** Most versions that are told to another node, the newest. */
const MOST_KNOWN = 32;
/** A base may take this part of what the volume refers to, for itself alone. */
const CHEAP_PART = 1 / 4;
/** With less of the pool available, none is kept. */
const LEAST_AVAILABLE_PART = 1 / 10;

/** What of its versions a pool tells. */
export function knownOf(versions: readonly PoolVersion[]): readonly string[] {
  return [...new Set(newestFirst(versions).map(({ identity }) => identity))].slice(0, MOST_KNOWN);
}

/** The newest version that the other pool has too: only what was changed since has to be sent. */
export function commonOf(versions: readonly PoolVersion[], { known }: CopyBases): PoolVersion | null {
  const names = new Set(known);
  return newestFirst(versions).find(({ identity }) => names.has(identity)) ?? null;
}

/** The version to send along, if it is cheap: the newest that the other pool does not have. */
export function candidateOf(versions: readonly PoolVersion[], { known, keepsOne }: CopyBases): PoolVersion | null {
  const names = new Set(known);
  return keepsOne ? (newestFirst(versions).find(({ identity }) => !names.has(identity)) ?? null) : null;
}

/** The newer of two. */
export function newerOf(one: PoolVersion | null, other: PoolVersion | null): PoolVersion | null {
  return newestFirst([one, other].filter((version) => version !== null))[0] ?? null;
}

/**
 * Whether little is sent twice when a version goes along with the volume. What only it refers to is not in the volume. Nor is more of it
 * than the volume shares with anything: what several old snapshots share would not count otherwise.
 */
export function isCheapAlong(version: SubvolumeBytes, volume: SubvolumeBytes): boolean {
  const mostShared = Math.max(0, volume.referencedBytes - volume.exclusiveBytes);
  const extraBytes = Math.max(version.exclusiveBytes, version.referencedBytes - mostShared);
  return extraBytes <= volume.referencedBytes * CHEAP_PART;
}

/** Whether a version beside a volume, which is only there to make a copy short, is worth its room. */
export function isWorthKeeping(
  base: SubvolumeBytes | undefined,
  volume: SubvolumeBytes | undefined,
  pool: PoolRoom,
): boolean {
  if (base === undefined || volume === undefined) return false;
  return base.exclusiveBytes <= volume.referencedBytes * CHEAP_PART && hasRoom(pool);
}

/** Blocks of a pool, as statfs(2) counts them. */
export interface PoolRoom {
  readonly blocks: number;
  readonly bavail: number;
}

/** Whether a pool has room for what is not needed. */
export function hasRoom({ blocks, bavail }: PoolRoom): boolean {
  return bavail >= blocks * LEAST_AVAILABLE_PART;
}

function newestFirst(versions: readonly PoolVersion[]): readonly PoolVersion[] {
  return versions.toSorted((one, other) => Number(other.madeIn - one.madeIn));
}

/** What a pool's devices are. */
export type Media = 'ssd' | 'hdd' | 'nvme';

/**
 * What a profile of a pool is like: configuration, not figures. Null is unknown, never a guess; `none` and false are known
 * to be absent.
 */
export interface ProfileTraits {
  readonly name: string;
  readonly media: Media | null;
  /** Algorithm, with its level where the engine has levels (`zstd:3`); `none` when the engine stores bytes as they are. */
  readonly compression: string | null;
  /** How equal blocks are shared: `none`, `offline` (by a tool, later) or `inline`. */
  readonly dedup: 'none' | 'offline' | 'inline' | null;
  /** Copies of each block. */
  readonly replication: number | null;
  readonly encryption: boolean | null;
}

/** Figures of a pool, measured from its engine. Bytes; null is unknown, never a guess. */
export interface PoolFigures {
  readonly totalBytes: number | null;
  /** What can still be written. */
  readonly availableBytes: number | null;
  readonly usedBytes: number | null;
  /** What users wrote, before compression and sharing. */
  readonly logicalBytes: number | null;
  /** What it takes in the pool. */
  readonly physicalBytes: number | null;
  /** Bytes that compression saves: what the data would take without it, less what they take. */
  readonly compressionSavedBytes: number | null;
  /** Bytes that shared blocks (snapshots, clones, deduplication) save. */
  readonly sharedSavedBytes: number | null;
}

/** What one node says of its pool. */
export interface PoolReport {
  readonly profiles: readonly ProfileTraits[];
  readonly figures: PoolFigures;
}

/** How full one volume is. Bytes; null is unknown. */
export interface VolumeUsage {
  readonly usedBytes: number | null;
  readonly availableBytes: number | null;
}

import type { DatasetId, NodeId, SnapshotId } from '../kit/ids.ts';

/** What is known of a dataset's bytes while nobody has to doubt it. */
export type KnownStorage = Exclude<Storage, { readonly kind: 'unconfirmed' | 'gone' }>;

/**
 * Where the bytes of a dataset are, as far as is durably known. This record decides who may attach: a node may touch a
 * dataset only while it is `held` by that node.
 *
 * - `unmade`: no node was ever allowed to create it.
 * - `held`: `node` was allowed to have it and has not confirmed letting go. While `made` is false it may be created;
 *   once true, a volume that cannot be found is lost and must never be replaced by an empty one.
 * - `free`: it exists in `pool` and no node has it.
 * - `gone`: deleted by the API and destroyed.
 * - `unconfirmed`: `was` is what an old copy of the records says, and much may have happened since. No node is granted it or told
 *   anything about it until a node reports that it has it, or an operator says that no node has.
 *
 * `leftBy` names nodes that were declared dead while they had the volume: in the pool it may still lie as one of theirs, and
 * whoever is granted it takes it over from there.
 */
export type Storage =
  | {
      readonly kind: 'unmade';
      readonly leftBy?: readonly NodeId[];
      /** The pool in which whoever left it may have made it. */
      readonly leftIn?: string;
    }
  | {
      readonly kind: 'held';
      readonly node: NodeId;
      readonly made: boolean;
      readonly pool: string | null;
      readonly sizeBytes: number | null;
      readonly leftBy?: readonly NodeId[];
    }
  | {
      readonly kind: 'free';
      readonly pool: string;
      readonly sizeBytes: number | null;
      readonly leftBy?: readonly NodeId[];
    }
  | { readonly kind: 'unconfirmed'; readonly was: KnownStorage }
  | { readonly kind: 'gone' };

/** The snapshot that a dataset begins with, and the pool where that is: only its nodes can make the dataset. */
export interface DatasetSource {
  readonly snapshotId: SnapshotId;
  readonly pool: string;
}

/** A volume's identity and what was asked for it. */
export interface Dataset {
  readonly id: DatasetId;
  /** The node it is configured onto. */
  readonly primary: NodeId;
  readonly deleted: boolean;
  readonly metadata: Readonly<Record<string, string>>;
  /** What was asked for; null means the backend's default. */
  readonly maximumSizeBytes: number | null;
  /** Null when it begins empty. */
  readonly source: DatasetSource | null;
  readonly storage: Storage;
}

/** Metadata key under which every frontend writes the volume's name (contract 1.12). */
export const NAME_KEY = 'name';
/** Metadata key of the first Mesos isolator; written beside {@link NAME_KEY} and read after it. */
export const FLOCKER_ID_KEY = 'FLOCKER_ID';
/** Metadata key that names the storage profile (contract 1.10). */
export const PROFILE_KEY = 'clusterhq:flocker:profile';
/** Metadata key that asks for a filesystem (`ext4`, `xfs`); ours, Flocker's drivers ignore it. */
export const FILESYSTEM_KEY = 'flocker:filesystem';
/** Metadata key of a dataset that holds one file to be used as a block device: its size in bytes when it was made. */
export const BLOCK_KEY = 'flocker:block';

/** The name people use for a dataset, or undefined when it was made without one. */
export function nameOf(metadata: Readonly<Record<string, string>>): string | undefined {
  return metadata[NAME_KEY] ?? metadata[FLOCKER_ID_KEY];
}

/** Smallest size the API takes, in bytes (contract 1.11). */
export const MINIMUM_SIZE_BYTES = 64 * 2 ** 20;
/** Sizes are multiples of this many bytes (contract 1.3). */
export const SIZE_STEP_BYTES = 1024;
/** Size of a volume nobody gave a size for, in bytes (contract 1.11: 75 GiB in the code of the original). */
export const DEFAULT_SIZE_BYTES = 75 * 2 ** 30;

import type { DatasetId, NodeId, SnapshotId } from '../kit/ids.ts';
import type { Problem } from './volume-state.ts';

/**
 * Where a snapshot is, as far as is durably known.
 *
 * - `unmade`: no node has it to take.
 * - `ordered`: `node`, which holds the dataset, was told to take it and has not confirmed how that went. Only that node can
 *   tell whether `pool` has it.
 * - `taken`: it is in `pool`, whatever becomes of its dataset.
 * - `failed`: its dataset was gone before it was taken.
 * - `gone`: deleted by the API, and no pool has it.
 */
export type SnapshotStorage =
  | { readonly kind: 'unmade' }
  | { readonly kind: 'ordered'; readonly node: NodeId; readonly pool: string }
  | { readonly kind: 'taken'; readonly pool: string; readonly sizeBytes: number; readonly takenAtMs: number }
  | { readonly kind: 'failed'; readonly problem: Problem }
  | { readonly kind: 'gone' };

/** A dataset's data at one instant: what was asked for and where it is. */
export interface Snapshot {
  readonly id: SnapshotId;
  readonly datasetId: DatasetId;
  readonly metadata: Readonly<Record<string, string>>;
  readonly deleted: boolean;
  readonly storage: SnapshotStorage;
}

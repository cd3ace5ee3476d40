import type { DatasetConfiguration } from '../api/datasets.ts';
import type { DatasetInspection } from '../api/inspection.ts';
import type { NodeDeathView, NodeInspection } from '../api/nodes.ts';
import type { RestoredConfirmation, RestoredView } from '../api/restored.ts';
import type { SnapshotView } from '../api/snapshots.ts';
import type { PoolView, StorageView } from '../api/storage.ts';
import type { DatasetId, NodeId, SnapshotId } from '../kit/ids.ts';

/** A snapshot to be taken. */
export interface NewSnapshot {
  readonly datasetId: DatasetId;
  readonly snapshotId?: SnapshotId;
  readonly metadata: Readonly<Record<string, string>>;
}

/** Which snapshots to list; every field narrows. */
export interface SnapshotFilter {
  readonly datasetId?: DatasetId;
  readonly snapshotId?: SnapshotId;
  readonly name?: string;
}

/** Something that changed in the cluster. `reset`: changes may have been missed, as the stream began anew. */
export type ClusterChange =
  | { readonly kind: 'dataset'; readonly value: DatasetInspection }
  | { readonly kind: 'node'; readonly value: NodeInspection }
  | { readonly kind: 'snapshot'; readonly value: SnapshotView }
  | { readonly kind: 'storage'; readonly value: PoolView }
  | { readonly kind: 'reset'; readonly value: null };

/**
 * What only our own control service has: storage state, growth, snapshots, events, dead nodes. On other servers every method fails with
 * `not_supported`. Every method fails with a `ClientError`, or with the signal's reason.
 */
export interface StorageClient {
  /** Pools, profiles and figures. */
  storageState(signal: AbortSignal): Promise<StorageView>;
  /**
   * Says that a node is off or cut off from the storage, so that others may have its volumes. Fails with `in_use` while the
   * node is connected, with `not_found` when nothing is known of it. Fine when it was said before.
   */
  declareNodeDead(node: NodeId, signal: AbortSignal): Promise<NodeDeathView>;
  /** What is in doubt since the control service was restored from a backup. */
  restoredState(signal: AbortSignal): Promise<RestoredView>;
  /** Says that every node that could have a volume is connected, or off. Changes nothing when nothing is in doubt. */
  confirmRestored(signal: AbortSignal): Promise<RestoredConfirmation>;
  /** Asks for more room, in bytes. Fails with `bad_request` for less than the dataset has. */
  resizeDataset(id: DatasetId, maximumSizeBytes: number, signal: AbortSignal): Promise<DatasetConfiguration>;
  /** Resolves with the real size once the dataset has at least `sizeBytes`. Fails with `needs_action` when it cannot grow. */
  waitUntilGrown(id: DatasetId, sizeBytes: number, signal: AbortSignal): Promise<number>;
  /** Asks for a snapshot; the same id and dataset again gives the same snapshot. Fails with `id_in_use` for another dataset. */
  createSnapshot(snapshot: NewSnapshot, signal: AbortSignal): Promise<SnapshotView>;
  listSnapshots(filter: SnapshotFilter, signal: AbortSignal): Promise<SnapshotView[]>;
  /** Fails with `in_use` while a dataset that is not made yet is to be made from it. A deleted one is fine. */
  deleteSnapshot(id: SnapshotId, signal: AbortSignal): Promise<SnapshotView>;
  /** Resolves once the snapshot is `ready`. Fails with `needs_action` when it never will be. */
  waitForSnapshot(id: SnapshotId, signal: AbortSignal): Promise<SnapshotView>;
  /** Resolves once the snapshot has left its pool. */
  waitUntilSnapshotGone(id: SnapshotId, signal: AbortSignal): Promise<void>;
  /**
   * Tells of every change from now on, until the signal aborts. `onProblem` is told when the server cannot be reached; then it
   * is tried again, and the first change after that is `reset`.
   */
  followChanges(
    onChange: (change: ClusterChange) => void,
    onProblem: (message: string) => void,
    signal: AbortSignal,
  ): Promise<never>;
}

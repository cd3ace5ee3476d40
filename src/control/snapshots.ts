import type { DatasetId, NodeId, SnapshotId } from '../kit/ids.ts';
import type { Dataset } from '../model/dataset.ts';
import type { Snapshot } from '../model/snapshot.ts';
import { IndexMap } from './index-map.ts';

/** Snapshots as decisions read them. */
export interface SnapshotsView {
  get(id: SnapshotId): Snapshot | undefined;
  all(): Iterable<Snapshot>;
  /** Snapshots of a dataset that are neither taken nor failed nor gone. */
  pendingOf(dataset: DatasetId): readonly Snapshot[];
  /** Snapshots that only this node can tell about. */
  orderedTo(node: NodeId): readonly Snapshot[];
  /** Deleted snapshots that are in a pool. */
  doomedIn(pool: string): readonly Snapshot[];
  /** Whether a dataset that is not made yet is to be made from it. */
  isAwaited(id: SnapshotId): boolean;
}

/** Every snapshot in memory, with the indexes that keep the cost of one change independent of their number. */
export class Snapshots implements SnapshotsView {
  readonly #snapshots = new Map<SnapshotId, Snapshot>();
  readonly #pending = new IndexMap<DatasetId, SnapshotId>();
  readonly #ordered = new IndexMap<NodeId, SnapshotId>();
  readonly #doomed = new IndexMap<string, SnapshotId>();
  readonly #awaiting = new IndexMap<SnapshotId, DatasetId>();

  get(id: SnapshotId): Snapshot | undefined {
    return this.#snapshots.get(id);
  }

  all(): Iterable<Snapshot> {
    return this.#snapshots.values();
  }

  pendingOf(dataset: DatasetId): readonly Snapshot[] {
    return this.#resolve(this.#pending.get(dataset));
  }

  orderedTo(node: NodeId): readonly Snapshot[] {
    return this.#resolve(this.#ordered.get(node));
  }

  doomedIn(pool: string): readonly Snapshot[] {
    return this.#resolve(this.#doomed.get(pool));
  }

  isAwaited(id: SnapshotId): boolean {
    return [...this.#awaiting.get(id)].length > 0;
  }

  put(snapshot: Snapshot): void {
    const before = this.#snapshots.get(snapshot.id);
    if (before !== undefined) this.#index(before, 'remove');
    this.#snapshots.set(snapshot.id, snapshot);
    this.#index(snapshot, 'add');
  }

  /** Keeps track of datasets that are to be made from snapshots. */
  noteDataset({ id, source, deleted, storage }: Dataset, operation: 'add' | 'remove'): void {
    const known = storage.kind === 'unconfirmed' ? storage.was : storage;
    const isMade = known.kind !== 'unmade' && !(known.kind === 'held' && !known.made);
    if (source !== null && !deleted && !isMade) this.#awaiting[operation](source.snapshotId, id);
  }

  #index({ id, datasetId, deleted, storage }: Snapshot, operation: 'add' | 'remove'): void {
    if (storage.kind === 'unmade' || storage.kind === 'ordered') this.#pending[operation](datasetId, id);
    if (storage.kind === 'ordered') this.#ordered[operation](storage.node, id);
    if (storage.kind === 'taken' && deleted) this.#doomed[operation](storage.pool, id);
  }

  #resolve(ids: Iterable<SnapshotId>): readonly Snapshot[] {
    return [...ids].flatMap((id) => this.#snapshots.get(id) ?? []);
  }
}

import { DESCRIPTIONS } from '../../api/errors.ts';
import type { SnapshotView } from '../../api/snapshots.ts';
import { type DatasetId, type NewUuid, parseSnapshotId, type SnapshotId } from '../../kit/ids.ts';
import { nameOf } from '../../model/dataset.ts';
import { ClientError } from '../flocker-client.ts';
import type { NewSnapshot, SnapshotFilter } from '../storage-client.ts';
import type { FakeDataset } from './fake-cluster.ts';

interface FakeSnapshot {
  readonly id: SnapshotId;
  readonly datasetId: DatasetId;
  readonly metadata: Readonly<Record<string, string>>;
  deleted: boolean;
  state:
    | { kind: 'unmade' }
    | { kind: 'taken'; sizeBytes: number; atMs: number }
    | { kind: 'failed' }
    | { kind: 'gone' };
}

/** Snapshots of the fake cluster, whose nodes share one pool. */
export class FakeSnapshots {
  readonly #snapshots = new Map<SnapshotId, FakeSnapshot>();
  readonly #datasets: ReadonlyMap<DatasetId, FakeDataset>;
  readonly #newUuid: NewUuid;

  constructor(datasets: ReadonlyMap<DatasetId, FakeDataset>, newUuid: NewUuid) {
    this.#datasets = datasets;
    this.#newUuid = newUuid;
  }

  create({ datasetId, snapshotId, metadata }: NewSnapshot): SnapshotView {
    const id = snapshotId ?? parseSnapshotId(this.#newUuid());
    if (id === undefined) throw new Error('newUuid made something that is no UUIDv4');
    const present = this.#snapshots.get(id);
    if (present !== undefined) {
      if (present.datasetId === datasetId && !present.deleted) return this.#view(present);
      throw new ClientError('id_in_use', DESCRIPTIONS.snapshotIdInUse);
    }
    const dataset = this.#datasets.get(datasetId);
    if (dataset === undefined) throw new ClientError('not_found', DESCRIPTIONS.datasetNotFound);
    if (dataset.configuration.deleted) throw new ClientError('deleted', DESCRIPTIONS.datasetDeleted);
    const made: FakeSnapshot = { id, datasetId, metadata, deleted: false, state: { kind: 'unmade' } };
    this.#snapshots.set(id, made);
    return this.#view(made);
  }

  list({ datasetId, snapshotId, name }: SnapshotFilter): SnapshotView[] {
    return [...this.#snapshots.values()]
      .filter(
        (snapshot) =>
          (snapshotId === undefined ? !snapshot.deleted : snapshot.id === snapshotId) &&
          (datasetId === undefined || snapshot.datasetId === datasetId) &&
          (name === undefined || nameOf(snapshot.metadata) === name),
      )
      .map((snapshot) => this.#view(snapshot));
  }

  remove(id: SnapshotId): SnapshotView {
    const snapshot = this.#known(id);
    const awaited = [...this.#datasets.values()].some(
      ({ source, storage, configuration }) => source === id && storage.kind === 'unmade' && !configuration.deleted,
    );
    if (!snapshot.deleted && awaited) throw new ClientError('in_use', DESCRIPTIONS.snapshotInUse);
    snapshot.deleted = true;
    if (snapshot.state.kind !== 'taken') snapshot.state = { kind: 'gone' };
    return this.#view(snapshot);
  }

  view(id: SnapshotId): SnapshotView {
    return this.#view(this.#known(id));
  }

  /** Bytes of a snapshot that a dataset can be made from. */
  sourceSizeBytes(id: SnapshotId): number {
    const { deleted, state } = this.#known(id);
    if (deleted || state.kind !== 'taken') throw new ClientError('condition_failed', DESCRIPTIONS.snapshotNotReady);
    return state.sizeBytes;
  }

  /** One step of every snapshot; false when there was none to take. */
  step(isLive: (dataset: FakeDataset) => boolean, anyNode: boolean, nowMs: number): boolean {
    let moved = false;
    for (const snapshot of this.#snapshots.values()) {
      const { state, deleted } = snapshot;
      const dataset = this.#datasets.get(snapshot.datasetId);
      if (state.kind === 'unmade' && dataset?.storage.kind === 'gone') snapshot.state = { kind: 'failed' };
      else if (state.kind === 'unmade' && dataset !== undefined && isLive(dataset)) {
        snapshot.state = { kind: 'taken', sizeBytes: dataset.sizeBytes, atMs: nowMs };
      } else if (state.kind === 'taken' && deleted && anyNode) snapshot.state = { kind: 'gone' };
      moved ||= snapshot.state !== state;
    }
    return moved;
  }

  #known(id: SnapshotId): FakeSnapshot {
    const snapshot = this.#snapshots.get(id);
    if (snapshot === undefined) throw new ClientError('not_found', DESCRIPTIONS.snapshotNotFound);
    return snapshot;
  }

  #view({ id, datasetId, metadata, deleted, state }: FakeSnapshot): SnapshotView {
    const taken = state.kind === 'taken' ? state : undefined;
    const problem = {
      unmade: { code: 'in_progress', message: `Snapshot ${id} of dataset ${datasetId} is not taken yet` },
      failed: { code: 'volume_lost', message: `Dataset ${datasetId} was destroyed before snapshot ${id} was taken` },
      taken: deleted ? { code: 'in_progress', message: `Snapshot ${id} is not destroyed yet` } : null,
      gone: null,
    }[state.kind];
    return {
      snapshot_id: id,
      dataset_id: datasetId,
      metadata: { ...metadata },
      status: statusOf(deleted, state.kind),
      pool: taken === undefined ? null : 'fake',
      size: taken?.sizeBytes ?? null,
      taken: taken === undefined ? null : new Date(taken.atMs).toISOString(),
      problem: problem === null ? null : { ...problem, needs_action: state.kind === 'failed' },
    };
  }
}

function statusOf(deleted: boolean, kind: FakeSnapshot['state']['kind']): SnapshotView['status'] {
  if (kind === 'gone') return 'deleted';
  if (deleted) return 'deleting';
  if (kind === 'taken') return 'ready';
  return kind === 'failed' ? 'failed' : 'pending';
}

import type { DatasetId, SnapshotId } from '../../kit/ids.ts';
import { BackendError, type SnapshotEngine, type TakenSnapshot } from './backend.ts';
import { explainFailure } from './backend-failure.ts';
import type { PoolLayout } from './pool-layout.ts';
import { readSnapshotRecord, type SnapshotRecord, writeSnapshotRecord } from './snapshot-record.ts';

/**
 * Copies what a volume has at one instant into an empty directory, durably, and tells of what and when. Only for a volume
 * that is attached here.
 */
export type TakeCopy = (
  datasetId: DatasetId,
  directory: string,
  signal: AbortSignal,
) => Promise<Omit<SnapshotRecord, 'snapshotId' | 'datasetId'>>;

/** Snapshots that are directories of the pool. What is special to a backend is how a volume is copied. */
export class PoolSnapshots implements SnapshotEngine {
  readonly #pool: PoolLayout;
  readonly #copy: TakeCopy;

  constructor(pool: PoolLayout, copy: TakeCopy) {
    this.#pool = pool;
    this.#copy = copy;
  }

  take(snapshotId: SnapshotId, datasetId: DatasetId, signal: AbortSignal): Promise<TakenSnapshot> {
    const what = `cannot take snapshot ${snapshotId} of volume ${datasetId} on node ${this.#pool.instance}`;
    return explainFailure(what, signal, async () => {
      signal.throwIfAborted();
      const present = await this.find(snapshotId);
      if (present !== undefined) {
        await this.#pool.syncSnapshots();
        return present;
      }
      const directory = await this.#pool.newDirectory(snapshotId);
      try {
        const copied = await this.#copy(datasetId, directory, signal);
        await writeSnapshotRecord(directory, { snapshotId, datasetId, ...copied });
        signal.throwIfAborted();
        if (await this.#pool.publishSnapshot(directory, snapshotId)) return takenOf(copied);
      } catch (error) {
        // What cannot be removed now is removed by the next recover; the first failure matters more.
        await this.#pool.removeTree(directory).catch(() => undefined);
        throw error;
      }
      await this.#pool.removeTree(directory);
      return takenOf((await this.source(snapshotId)).record);
    });
  }

  find(snapshotId: SnapshotId): Promise<TakenSnapshot | undefined> {
    const what = `cannot look at snapshot ${snapshotId} on node ${this.#pool.instance}`;
    return explainFailure(what, null, async () => {
      const directory = await this.#pool.findSnapshot(snapshotId);
      return directory === undefined ? undefined : takenOf(await readSnapshotRecord(directory, snapshotId));
    });
  }

  destroy(snapshotId: SnapshotId, signal: AbortSignal): Promise<void> {
    const what = `cannot destroy snapshot ${snapshotId} on node ${this.#pool.instance}`;
    return explainFailure(what, signal, async () => {
      signal.throwIfAborted();
      await this.#pool.removeSnapshot(snapshotId);
    });
  }

  /** The snapshot that a volume is made from. Fails with `volume_lost` when the pool does not have it. */
  async source(snapshotId: SnapshotId): Promise<{ readonly directory: string; readonly record: SnapshotRecord }> {
    const directory = await this.#pool.findSnapshot(snapshotId);
    if (directory !== undefined) return { directory, record: await readSnapshotRecord(directory, snapshotId) };
    throw new BackendError(
      'volume_lost',
      `there is no snapshot ${snapshotId} in pool ${this.#pool.id}; delete the dataset that is to be made from it`,
    );
  }
}

function takenOf({ sizeBytes, takenAtMs }: TakenSnapshot): TakenSnapshot {
  return { sizeBytes, takenAtMs };
}

import { mkdir, readFile, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { writeFileDurably } from '../../../kit/atomic-file.ts';
import type { Clock } from '../../../kit/clock.ts';
import { errorCode } from '../../../kit/coded-error.ts';
import type { DatasetId, SnapshotId } from '../../../kit/ids.ts';
import type { Btrfs } from '../../host/btrfs.ts';
import { BackendError, type SnapshotEngine, type TakenSnapshot } from '../backend.ts';
import { explainFailure } from '../backend-failure.ts';
import type { PoolLayout } from '../pool-layout.ts';
import type { PoolSteps } from '../pool-steps.ts';
import { readVolumeRecord } from '../volume-record.ts';
import type { Quota } from './quota.ts';
import { bytesPath } from './subvolumes.ts';

const RECORD_NAME = 'snapshot.json';

export interface ShelfSources {
  readonly layout: PoolLayout;
  readonly steps: PoolSteps;
  readonly btrfs: Btrfs;
  readonly quota: Quota;
  readonly clock: Clock;
}

/** The snapshots of a pool: `<pool>/snapshots/<id>`, each a read-only subvolume with a record beside it. */
export class SnapshotShelf implements SnapshotEngine {
  readonly #layout: PoolLayout;
  readonly #steps: PoolSteps;
  readonly #btrfs: Btrfs;
  readonly #quota: Quota;
  readonly #clock: Clock;

  private constructor({ layout, steps, btrfs, quota, clock }: ShelfSources) {
    this.#layout = layout;
    this.#steps = steps;
    this.#btrfs = btrfs;
    this.#quota = quota;
    this.#clock = clock;
  }

  static async open(sources: ShelfSources): Promise<SnapshotShelf> {
    const shelf = new SnapshotShelf(sources);
    await mkdir(shelf.directory, { recursive: true, mode: 0o700 });
    return shelf;
  }

  get directory(): string {
    return join(this.#layout.rootPath, 'snapshots');
  }

  async take(snapshotId: SnapshotId, datasetId: DatasetId, signal: AbortSignal): Promise<TakenSnapshot> {
    return await this.#steps.explain(`take snapshot ${snapshotId} of`, datasetId, signal, async () => {
      const taken = await this.#read(snapshotId);
      if (taken !== undefined) {
        await this.#btrfs.commit(this.directory);
        return taken;
      }
      const volume = await this.#steps.attachedDirectory(`take snapshot ${snapshotId} of`, datasetId);
      const { sizeBytes } = await readVolumeRecord(volume, datasetId);
      await this.#requireBytes(volume, datasetId);
      const directory = await this.#layout.newDirectory(snapshotId);
      const snapshot = { sizeBytes, takenAtMs: this.#clock.wallMs() };
      try {
        const source = bytesPath(volume);
        await this.#quota.withRoom(source, () => this.#btrfs.snapshot(source, bytesPath(directory), 'read-only'));
        const record = { version: 1, snapshotId, datasetId, ...snapshot };
        await writeFileDurably(join(directory, RECORD_NAME), `${JSON.stringify(record, null, 2)}\n`, 0o600);
        await rename(directory, this.#path(snapshotId));
      } catch (error) {
        // What cannot be removed now is removed by the next recover; the first failure matters more.
        await this.#layout.removeTree(directory).catch(() => undefined);
        throw error;
      }
      await this.#btrfs.commit(this.directory);
      return snapshot;
    });
  }

  async find(snapshotId: SnapshotId): Promise<TakenSnapshot | undefined> {
    return await this.#explain('look at', snapshotId, null, async () => {
      const found = await this.#read(snapshotId);
      // Not in the pool is something else than no pool.
      if (found === undefined) await this.#layout.verify();
      return found;
    });
  }

  async destroy(snapshotId: SnapshotId, signal: AbortSignal): Promise<void> {
    await this.#explain('destroy', snapshotId, signal, async () => {
      await this.#layout.verify();
      const remains = join(this.#layout.rootPath, 'destroying', this.#layout.instance, snapshotId);
      await this.#layout.removeTree(remains);
      try {
        await rename(this.#path(snapshotId), remains);
      } catch (error) {
        if (errorCode(error) !== 'ENOENT') throw error;
      }
      await this.#btrfs.commit(this.directory);
      await this.#layout.removeTree(remains);
    });
  }

  /** The snapshot that volume `datasetId` is to be made from, and where its bytes are. Fails with `volume_lost` when the pool does not have it. */
  async source(snapshotId: SnapshotId, datasetId: DatasetId): Promise<TakenSnapshot & { readonly path: string }> {
    const found = await this.find(snapshotId);
    if (found !== undefined) return { ...found, path: bytesPath(this.#path(snapshotId)) };
    const text = `volume ${datasetId} cannot be made: there is no snapshot ${snapshotId} in pool ${this.#layout.id}; choose another one`;
    throw new BackendError('volume_lost', text);
  }

  async #read(snapshotId: SnapshotId): Promise<TakenSnapshot | undefined> {
    const path = join(this.#path(snapshotId), RECORD_NAME);
    let text: string;
    try {
      text = await readFile(path, 'utf8');
    } catch (error) {
      if (errorCode(error) === 'ENOENT') return undefined;
      throw error;
    }
    const { sizeBytes, takenAtMs } = JSON.parse(text) as Record<string, unknown>;
    if (typeof sizeBytes === 'number' && typeof takenAtMs === 'number') return { sizeBytes, takenAtMs };
    throw new BackendError('backend_failed', `${path} is damaged; restore it, the snapshot beside it is untouched`);
  }

  async #requireBytes(volume: string, datasetId: DatasetId): Promise<void> {
    if ((await this.#btrfs.subvolumeId(bytesPath(volume))) !== undefined) return;
    const text = `volume ${datasetId}: ${bytesPath(volume)} is missing or no subvolume; restore it from a copy`;
    throw new BackendError('volume_lost', text);
  }

  #path(snapshotId: SnapshotId): string {
    return join(this.directory, snapshotId);
  }

  #explain<T>(verb: string, id: SnapshotId, signal: AbortSignal | null, step: () => Promise<T>): Promise<T> {
    return explainFailure(`cannot ${verb} snapshot ${id} on node ${this.#layout.instance}`, signal, async () => {
      signal?.throwIfAborted();
      return await step();
    });
  }
}

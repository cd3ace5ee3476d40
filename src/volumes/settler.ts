import { type BackoffPolicy, backoffMs } from '../kit/backoff.ts';
import { errorCode, errorText } from '../kit/coded-error.ts';
import { withDeadline } from '../kit/deadline.ts';
import type { DatasetId } from '../kit/ids.ts';
import type { KeyedQueue } from '../kit/keyed-queue.ts';
import type { Holding } from './holding.ts';
import type { VolumesWorld } from './volumes-world.ts';

const RETRY: BackoffPolicy = { firstMs: 1_000, factor: 2, longestMs: 30_000 };

/** Finishes releases: gives up leases that no holder needs, deletes what was to be deleted, then forgets the holders. */
export class Settler {
  readonly #world: VolumesWorld;
  readonly #queue: KeyedQueue<string>;
  readonly #retries = new Map<string, { failures: number; cancel: () => void }>();
  #stopped = false;

  constructor(world: VolumesWorld, queue: KeyedQueue<string>) {
    this.#world = world;
    this.#queue = queue;
  }

  /** Resolves after one try; when it fails, more follow by themselves until it is done. */
  async settle(volume: string): Promise<void> {
    if (this.#stopped) return;
    this.#retries.get(volume)?.cancel();
    try {
      await this.#queue.run(volume, () => this.#try(volume));
      this.#retries.delete(volume);
    } catch (error) {
      this.#retryLater(volume, error);
    }
  }

  stop(): void {
    this.#stopped = true;
    for (const { cancel } of this.#retries.values()) cancel();
  }

  #retryLater(volume: string, error: unknown): void {
    const failures = (this.#retries.get(volume)?.failures ?? 0) + 1;
    const { clock, logger, random } = this.#world;
    logger.warn(
      { volume, failures, error: errorText(error) },
      'could not finish the release of a volume; trying again',
    );
    if (this.#stopped) return;
    const cancel = clock.timer(backoffMs(RETRY, failures - 1, random), () => void this.settle(volume));
    this.#retries.set(volume, { failures, cancel });
  }

  async #try(volume: string): Promise<void> {
    const { ledger, leases, mounts } = this.#world;
    const released = ledger.ofVolume(volume).filter((holding) => holding.state === 'releasing');
    const isDoomed = ({ created, deleteIfCreated }: Holding): boolean => created && deleteIfCreated;
    for (const datasetId of new Set(released.map((holding) => holding.datasetId))) {
      if (ledger.live(datasetId).length > 0) continue;
      if (released.some((one) => one.datasetId === datasetId && isDoomed(one))) await this.#delete(volume, datasetId);
      await leases.giveUp(datasetId);
      mounts.delete(datasetId);
    }
    // That a volume was kept must be on disk: the next process would try again to delete it, and somebody may use it then.
    await ledger.remove(...released.filter(isDoomed));
    ledger.forget(...released.filter((one) => !isDoomed(one)));
  }

  /** With the lease ours nobody else can begin to use the volume while it is deleted. */
  async #delete(volume: string, datasetId: DatasetId): Promise<void> {
    const { client, clock, leases, logger, requestTimeoutMs } = this.#world;
    try {
      await leases.take(datasetId);
      await withDeadline(clock, requestTimeoutMs, 'deleting a volume', undefined, (signal) =>
        client.deleteDataset(datasetId, { kind: 'none' }, signal),
      );
      logger.info({ volume, datasetId }, 'deleted a volume whose holder asked for it');
    } catch (error) {
      const code = errorCode(error);
      if (code === 'lease_held') {
        logger.warn({ volume, datasetId }, 'kept a volume that was to be deleted: another node holds its lease');
      } else if (code !== 'not_found' && code !== 'deleted') {
        throw error;
      }
    }
  }
}

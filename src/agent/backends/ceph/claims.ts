import { type Clock, pause } from '../../../kit/clock.ts';
import type { DatasetId } from '../../../kit/ids.ts';
import { NAMESPACE, type RegisterPlace } from './client-register.ts';
import type { ClusterAccess } from './cluster-access.ts';
import type { ObjectPlace } from './librados.ts';

/** Longer than the steps that are claimed take. */
const ABANDONED_AFTER_MS = 15_000;
const POLL_MS = 20;

/**
 * Keeps two nodes from renaming one directory at the same time. The rename decides which of them has the volume; but in ceph-fuse 16
 * whoever comes second waits for ever the next time it looks at the old name. A claim is an object that only one can make. One that
 * a killed agent left is its node's own, and any other node's after a while.
 */
export class Claims {
  readonly #cluster: ClusterAccess;
  readonly #place: RegisterPlace;
  readonly #instance: string;
  readonly #clock: Clock;

  constructor(cluster: ClusterAccess, place: RegisterPlace, instance: string, clock: Clock) {
    this.#cluster = cluster;
    this.#place = place;
    this.#instance = instance;
    this.#clock = clock;
  }

  async whileClaimed<T>(datasetId: DatasetId, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    signal.throwIfAborted();
    const { pool, root } = this.#place;
    const object: ObjectPlace = { pool, namespace: NAMESPACE, name: `claim:${root}:${datasetId}` };
    await this.#claim(object, signal);
    try {
      return await work();
    } finally {
      await this.#cluster.use((rados) => rados.remove(object));
    }
  }

  async #claim(object: ObjectPlace, signal: AbortSignal): Promise<void> {
    const untilMs = this.#clock.monotonicMs() + ABANDONED_AFTER_MS;
    for (;;) {
      if (await this.#cluster.use((rados) => rados.create(object, this.#instance))) return;
      const owner = await this.#cluster.use((rados) => rados.read(object));
      if (owner === this.#instance || this.#clock.monotonicMs() > untilMs) return;
      if (owner !== undefined) await pause(this.#clock, POLL_MS, signal);
    }
  }
}

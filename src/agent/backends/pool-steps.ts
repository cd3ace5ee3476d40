import { failpoint } from '../../kit/failpoint.ts';
import type { DatasetId } from '../../kit/ids.ts';
import { BackendError } from './backend.ts';
import { explainFailure } from './backend-failure.ts';
import type { PoolLayout, VolumePlace } from './pool-layout.ts';

/**
 * The steps of a volume's life that are moves within the pool. What is special to a backend comes in as a function:
 * how to fill a new volume's directory, and how to prove that nothing on this machine writes to an attached one.
 */
export class PoolSteps {
  readonly #pool: PoolLayout;
  /** Makes sure that the pool can be reached, before each step. */
  readonly #ready: () => Promise<void>;

  constructor(pool: PoolLayout, ready: () => Promise<void> = async () => undefined) {
    this.#pool = pool;
    this.#ready = ready;
  }

  /** absent → detached. `fill` gets an empty directory and must leave in it only what is durable. */
  create(datasetId: DatasetId, signal: AbortSignal, fill: (directory: string) => Promise<void>): Promise<void> {
    return this.explain('create', datasetId, signal, async () => {
      const place = await this.#pool.find(datasetId);
      if (place.kind === 'detached') return await this.#pool.syncDetached();
      if (place.kind !== 'absent') throw this.#refusal('create', datasetId, place);
      const directory = await this.#pool.newDirectory(datasetId);
      try {
        await fill(directory);
        failpoint('pool.filled');
        signal.throwIfAborted();
        if (await this.#pool.publish(directory, datasetId)) return failpoint('pool.published');
      } catch (error) {
        // What cannot be removed now is removed by the next recover; the first failure matters more.
        await this.#pool.removeTree(directory).catch(() => undefined);
        throw error;
      }
      await this.#pool.removeTree(directory);
    });
  }

  /** absent → detached, of a copy. `fill` as in {@link create}; only a volume that `isCopy` accepts may be there already. */
  fetch(
    datasetId: DatasetId,
    signal: AbortSignal,
    isCopy: (directory: string) => Promise<boolean>,
    fill: (directory: string) => Promise<void>,
  ): Promise<void> {
    return this.explain('copy', datasetId, signal, async () => {
      const place = await this.#pool.find(datasetId);
      if (place.kind === 'detached' && (await isCopy(place.directory))) return await this.#pool.syncDetached();
      if (place.kind !== 'absent') throw this.#inTheWay(datasetId);
      const directory = await this.#pool.newDirectory(datasetId);
      try {
        await fill(directory);
        signal.throwIfAborted();
        if (!(await this.#pool.publish(directory, datasetId))) throw this.#inTheWay(datasetId);
      } catch (error) {
        // What cannot be removed now is removed by the next recover; the first failure matters more.
        await this.#pool.removeTree(directory).catch(() => undefined);
        throw error;
      }
    });
  }

  /** detached → attached. */
  attach(datasetId: DatasetId, signal: AbortSignal): Promise<void> {
    return this.explain('attach', datasetId, signal, async () => {
      const place = await this.#pool.find(datasetId);
      if (place.kind === 'attached') return;
      if (place.kind === 'detached' && (await this.#pool.take(datasetId))) return;
      throw this.#refusal('attach', datasetId, place.kind === 'detached' ? await this.#pool.find(datasetId) : place);
    });
  }

  /** elsewhere → attached. `guarded` as in {@link detach}. */
  seize(
    datasetId: DatasetId,
    from: readonly string[],
    signal: AbortSignal,
    guarded: (directory: string, move: () => Promise<void>) => Promise<void>,
  ): Promise<void> {
    return this.explain('take over', datasetId, signal, async () => {
      const place = await this.#pool.find(datasetId);
      // What an interrupted try has moved must be durable as well.
      if (place.kind === 'attached') return await this.#pool.syncAttached();
      if (place.kind !== 'elsewhere' || !from.includes(place.instance))
        throw this.#refusal('take over', datasetId, place);
      await guarded(this.#pool.attachedPathOf(place.instance, datasetId), async () => {
        if (await this.#pool.seize(datasetId, place.instance)) return;
        throw this.#refusal('take over', datasetId, await this.#pool.find(datasetId));
      });
    });
  }

  /** attached → detached. `guarded` runs the move it is given, holding on to a proof that the volume is at rest. */
  detach(
    datasetId: DatasetId,
    signal: AbortSignal,
    guarded: (directory: string, move: () => Promise<void>) => Promise<void>,
  ): Promise<void> {
    return this.explain('detach', datasetId, signal, async () => {
      const place = await this.#pool.find(datasetId);
      if (place.kind === 'detached') return await this.#pool.syncDetached();
      if (place.kind !== 'attached') throw this.#refusal('detach', datasetId, place);
      await guarded(place.directory, () => this.#pool.give(datasetId));
    });
  }

  /** detached → absent. */
  destroy(datasetId: DatasetId, signal: AbortSignal): Promise<void> {
    return this.explain('destroy', datasetId, signal, async () => {
      const place = await this.#pool.find(datasetId);
      if (place.kind === 'absent') {
        await this.#pool.syncDetached();
        return await this.#pool.discardRemains(datasetId);
      }
      if (place.kind === 'detached' && (await this.#pool.remove(datasetId))) return;
      throw this.#refusal('destroy', datasetId, place.kind === 'detached' ? await this.#pool.find(datasetId) : place);
    });
  }

  /** The directory of an attached volume, for a step `verb` that needs one; refuses otherwise. */
  async attachedDirectory(verb: string, datasetId: DatasetId): Promise<string> {
    const place = await this.#pool.find(datasetId);
    if (place.kind === 'attached') return place.directory;
    throw this.#refusal(verb, datasetId, place);
  }

  /** The directory of a detached volume, for a step `verb` that needs one; refuses otherwise. */
  async detachedDirectory(verb: string, datasetId: DatasetId): Promise<string> {
    const place = await this.#pool.find(datasetId);
    if (place.kind === 'detached') return place.directory;
    throw this.#refusal(verb, datasetId, place);
  }

  #inTheWay(datasetId: DatasetId): BackendError {
    return new BackendError(
      'conflict',
      `${this.#what('copy', datasetId)}: pool ${this.#pool.id} has a volume of that name already, which nobody knows; look at what is in it, and move it out of the pool`,
    );
  }

  #refusal(verb: string, datasetId: DatasetId, place: VolumePlace): BackendError {
    const what = this.#what(verb, datasetId);
    switch (place.kind) {
      case 'absent':
        return new BackendError(
          'volume_lost',
          `${what}: there is no such volume in pool ${this.#pool.id}; restore it or delete the dataset`,
        );
      case 'elsewhere':
        return new BackendError('volume_elsewhere', `${what}: node ${place.instance} has it and must detach it first`);
      case 'detached':
        return new BackendError('backend_failed', `${what}: it is not attached to this node; attach it first`);
      case 'attached':
        return new BackendError('backend_failed', `${what}: it is attached to this node; unmount and detach it first`);
    }
  }

  /** Runs a step with failures that name the step, the volume and the node. */
  explain<T>(verb: string, datasetId: DatasetId, signal: AbortSignal | null, step: () => Promise<T>): Promise<T> {
    return explainFailure(this.#what(verb, datasetId), signal, async () => {
      signal?.throwIfAborted();
      await this.#ready();
      return await step();
    });
  }

  /** Runs work on the whole pool with failures that name the pool and the node. */
  explainPool<T>(verb: string, step: () => Promise<T>): Promise<T> {
    return explainFailure(
      `cannot ${verb} the volumes of node ${this.#pool.instance} in pool ${this.#pool.id}`,
      null,
      async () => {
        await this.#ready();
        return await step();
      },
    );
  }

  #what(verb: string, datasetId: DatasetId): string {
    return `cannot ${verb} volume ${datasetId} on node ${this.#pool.instance}`;
  }
}

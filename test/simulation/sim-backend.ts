import {
  type Backend,
  BackendError,
  type SnapshotEngine,
  type VolumeRecipe,
} from '../../src/agent/backends/backend.ts';
import type { DatasetId, NodeId, SnapshotId } from '../../src/kit/ids.ts';
import type { VolumeState } from '../../src/model/volume-state.ts';
import type { Random } from '../faults/random.ts';
import type { ProcessClock } from './sim-clock.ts';
import { DEFAULT_BYTES, type SimEngine, Violation } from './sim-engine.ts';

const TAKEN_AT_MS = Date.UTC(2026, 0, 1);

/** What a backend stands on, and the process that it is in. */
export interface SimBackendWorld {
  readonly engine: SimEngine;
  readonly node: NodeId;
  readonly pool: string;
  readonly process: ProcessClock;
  readonly random: Random;
  readonly isOff: (node: NodeId) => boolean;
  /** How likely a step fails, from 0 to 1. */
  readonly failureRate: () => number;
  readonly violated: (violation: Violation) => void;
  /** Writes to the trace. */
  readonly note: (text: string) => void;
}

/** A node's view of the simulated storage. Steps take their time, fail, and happen or not when the process dies in them. */
export class SimBackend implements Backend {
  readonly kind = 'simulated';
  readonly profiles: readonly string[] = [];
  readonly #world: SimBackendWorld;
  readonly #pending = new Set<() => unknown>();

  constructor(world: SimBackendWorld) {
    this.#world = world;
  }

  get pool(): string {
    return this.#world.pool;
  }

  readonly snapshots: SnapshotEngine = {
    take: (snapshotId, datasetId) => {
      const { engine, node, pool } = this.#world;
      return this.#step('takeSnapshot', () => {
        engine.takeSnapshot(node, pool, snapshotId, datasetId);
        return { sizeBytes: engine.snapshots.get(snapshotId)?.sizeBytes ?? 0, takenAtMs: TAKEN_AT_MS };
      });
    },
    find: (snapshotId: SnapshotId) => {
      const { engine, pool } = this.#world;
      return this.#look(() => {
        const found = engine.snapshots.get(snapshotId);
        return found?.pool === pool ? { sizeBytes: found.sizeBytes, takenAtMs: TAKEN_AT_MS } : undefined;
      });
    },
    destroy: (snapshotId) =>
      this.#step('destroySnapshot', () => this.#world.engine.destroySnapshot(this.pool, snapshotId)),
  };

  recover(): Promise<void> {
    return this.#look(() => undefined);
  }

  listHere(): Promise<ReadonlyMap<DatasetId, VolumeState>> {
    const { engine, node, pool } = this.#world;
    return this.#look(() => {
      const here = [...engine.volumes].filter(([, volume]) => volume.pool === pool && volume.owners.has(node));
      return new Map(here.map(([id]) => [id, engine.stateOn(node, pool, id)]));
    });
  }

  discover(id: DatasetId): Promise<VolumeState> {
    const { engine, node, pool } = this.#world;
    return this.#look(() => engine.stateOn(node, pool, id));
  }

  create({ datasetId, sizeBytes, source }: VolumeRecipe): Promise<void> {
    return this.#step('create', () =>
      this.#world.engine.create(this.pool, datasetId, sizeBytes ?? DEFAULT_BYTES, source),
    );
  }

  attach(id: DatasetId): Promise<void> {
    return this.#step('attach', () => this.#world.engine.attach(this.#world.node, id));
  }

  seize(id: DatasetId, from: readonly string[]): Promise<void> {
    const { engine, node, isOff } = this.#world;
    return this.#step('seize', () => engine.seize(node, id, from, isOff));
  }

  mount(id: DatasetId): Promise<void> {
    return this.#step('mount', () => this.#world.engine.mount(this.#world.node, id));
  }

  unmount(id: DatasetId): Promise<void> {
    return this.#step('unmount', () => this.#world.engine.unmount(this.#world.node, id));
  }

  detach(id: DatasetId): Promise<void> {
    return this.#step('detach', () => this.#world.engine.detach(this.#world.node, id));
  }

  grow(id: DatasetId, sizeBytes: number): Promise<void> {
    return this.#step('grow', () => this.#world.engine.grow(this.#world.node, id, sizeBytes));
  }

  destroy(id: DatasetId): Promise<void> {
    return this.#step('destroy', () => this.#world.engine.destroy(id));
  }

  #look<T>(look: () => T): Promise<T> {
    const { process, random } = this.#world;
    return new Promise((resolve) => process.timer(random.next() * 3, () => resolve(look())));
  }

  /** The process is killed: what the kernel was asked to do is done before it is gone, or never. */
  processDied(): void {
    const { random } = this.#world;
    for (const act of this.#pending) if (random.next() < 0.5) this.#try(act);
    this.#pending.clear();
  }

  /** Done at once after its time, and known then. A step that fails may be done all the same. */
  #step<T>(name: string, act: () => T): Promise<T> {
    const { process, random, failureRate } = this.#world;
    const durationMs = random.next() < 0.02 ? random.between(1_000, 60_000) : random.between(1, 80);
    const fails = random.next() < failureRate();
    const isDone = !fails || random.next() < 0.5;
    this.#pending.add(act);
    return new Promise((resolve, reject) => {
      process.timer(durationMs, () => {
        this.#pending.delete(act);
        const outcome = isDone ? this.#try(act) : undefined;
        this.#world.note(`${name} ${isDone ? 'done' : 'not done'}${fails ? ', fails' : ''}`);
        if (outcome !== undefined && 'error' in outcome) reject(outcome.error);
        else if (outcome === undefined || fails) reject(new BackendError('backend_failed', 'the storage failed'));
        else resolve(outcome.value);
      });
    });
  }

  #try<T>(act: () => T): { readonly value: T } | { readonly error: unknown } {
    try {
      return { value: act() };
    } catch (error) {
      if (error instanceof Violation) this.#world.violated(error);
      return { error };
    }
  }
}

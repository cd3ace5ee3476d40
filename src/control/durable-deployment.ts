import type { DatasetId, SnapshotId } from '../kit/ids.ts';
import { type Change, datasetOf, SNAPSHOT_PREFIX, snapshotOf, toStoreChange } from './changes.ts';
import { Deployment, type DeploymentView } from './deployment.ts';
import type { Json, Store } from './store/store.ts';
import { readDeployment } from './stored-deployment.ts';

/** The deployment in memory and the store behind it: a change is in memory at once and durable when `write` resolves. */
export class DurableDeployment {
  readonly #store: Store;
  readonly #deployment: Deployment;
  readonly #onFatal: (error: unknown) => void;
  readonly #pending = new Map<string, number>();
  #last: Promise<void> = Promise.resolve();

  constructor(store: Store, entries: ReadonlyMap<string, Json>, onFatal: (error: unknown) => void) {
    this.#store = store;
    this.#onFatal = onFatal;
    this.#deployment = new Deployment(store.clusterId);
    for (const change of readDeployment(entries)) this.#deployment.apply(change);
  }

  get deployment(): DeploymentView {
    return this.#deployment;
  }

  /** Whether a change of this dataset is in memory but not yet durable. */
  pending(id: DatasetId): boolean {
    return this.#pending.has(id);
  }

  /** The same of a snapshot, whose id may be that of a dataset too. */
  pendingSnapshot(id: SnapshotId): boolean {
    return this.#pending.has(SNAPSHOT_PREFIX + id);
  }

  /** Applies changes and resolves when they, and everything before them, are durable. */
  async write(changes: readonly Change[]): Promise<void> {
    if (changes.length === 0) return this.#last;
    const ids = changes.flatMap((change) => subjectOf(change) ?? []);
    for (const change of changes) this.#deployment.apply(change);
    for (const id of ids) this.#pending.set(id, (this.#pending.get(id) ?? 0) + 1);
    const written = this.#store.commit(changes.map(toStoreChange));
    this.#last = written;
    try {
      await written;
    } catch (error) {
      this.#onFatal(error);
      throw error;
    }
    for (const id of ids) {
      const count = (this.#pending.get(id) ?? 1) - 1;
      if (count === 0) this.#pending.delete(id);
      else this.#pending.set(id, count);
    }
  }

  /** Resolves when everything that is in memory now is durable, and it is all there is. */
  async settled(): Promise<void> {
    await this.#last;
    this.#store.assertCurrent?.();
  }

  async close(): Promise<void> {
    await this.#last.catch(() => undefined);
    await this.#store.close();
  }
}

function subjectOf(change: Change): string | undefined {
  const snapshot = snapshotOf(change);
  return snapshot === undefined ? datasetOf(change) : SNAPSHOT_PREFIX + snapshot;
}

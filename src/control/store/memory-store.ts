import { changeText } from './change-text.ts';
import { type Json, RESTORED_KEY, type Store, StoreError } from './store.ts';

/** A {@link Store} without a disk, for tests of what uses one. It passes the same contract suite as the real stores. */
export interface MemoryStore extends Store {
  /** Makes the next commit fail with `store_failed`, and with it, as the interface says, all later ones. */
  failNextCommit(reason: string): void;
  /** A store with what is committed now, marked as the old copy that it will be when it is opened. */
  restoredCopy(): MemoryStore;
  /** What a restart would find: a new store with everything committed so far. */
  reopened(): MemoryStore;
}

/** An empty store of the cluster `clusterId`. */
export function memoryStore(clusterId: string): MemoryStore {
  return storeOver(clusterId, { texts: new Map(), revision: 0 });
}

interface Committed {
  readonly texts: Map<string, string>;
  revision: number;
}

function storeOver(clusterId: string, committed: Committed): MemoryStore {
  let atOpen: ReadonlyMap<string, Json> | undefined = new Map(
    [...committed.texts].map(([key, text]) => [key, JSON.parse(text) as Json]),
  );
  let failNext: string | undefined;
  let refusal: StoreError | undefined;
  let tail: Promise<void> = Promise.resolve();
  return {
    clusterId,
    get revision() {
      return committed.revision;
    },
    entries() {
      if (atOpen === undefined) throw new Error('entries() was called before');
      const entries = atOpen;
      atOpen = undefined;
      return entries;
    },
    async commit(changes) {
      if (refusal !== undefined) throw refusal;
      if (failNext !== undefined) refusal = new StoreError('store_failed', failNext);
      if (refusal !== undefined) throw refusal;
      try {
        const texts = changes.map(changeText);
        tail = tail.then(() => {
          for (const { key, text } of texts) {
            if (text === undefined) committed.texts.delete(key);
            else committed.texts.set(key, text);
          }
          committed.revision += 1;
        });
      } catch (error) {
        refusal = new StoreError('store_failed', 'an earlier commit could not be written', { cause: error });
        throw error;
      }
      await tail;
    },
    async close() {
      refusal ??= new StoreError('store_failed', 'the store is closed');
      await tail;
    },
    failNextCommit(reason) {
      failNext = reason;
    },
    restoredCopy() {
      const texts = new Map(committed.texts).set(RESTORED_KEY, JSON.stringify({ atMs: 0, doubted: false }));
      return storeOver(clusterId, { texts, revision: committed.revision + 1 });
    },
    reopened() {
      return storeOver(clusterId, { texts: new Map(committed.texts), revision: committed.revision });
    },
  };
}

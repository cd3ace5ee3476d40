import { findUsersOfEach, type StorageExtent, type StorageUser } from './storage-users.ts';

type What = 'all' | 'mounts';

interface Batch {
  readonly extents: StorageExtent[];
  readonly found: Promise<ReadonlyMap<StorageExtent, readonly StorageUser[]>>;
}

/**
 * Searches for users of parts of filesystems, many at once: whoever asks while a search runs shares the next one with all
 * who do, as that one begins after they asked.
 */
export class UserSearch {
  readonly #waiting = new Map<What, Batch>();
  #running: Promise<unknown> = Promise.resolve();

  async find(extent: StorageExtent, what: What): Promise<readonly StorageUser[]> {
    const batch = this.#waiting.get(what) ?? this.#open(what);
    batch.extents.push(extent);
    return (await batch.found).get(extent) ?? [];
  }

  #open(what: What): Batch {
    const extents: StorageExtent[] = [];
    const found = this.#running.then(() => {
      this.#waiting.delete(what);
      return findUsersOfEach(extents, what);
    });
    this.#running = found.catch(() => undefined);
    const batch = { extents, found };
    this.#waiting.set(what, batch);
    return batch;
  }
}

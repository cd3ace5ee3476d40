import type { SentSubvolume } from '../../host/btrfs-stream.ts';
import { BackendError } from '../backend.ts';

/**
 * What is being sent. The kernel deletes no subvolume that a send reads (`btrfs_delete_subvolume` in fs/btrfs/inode.c): whoever is to destroy
 * one ends the sends first, and the copy begins anew without it.
 */
export class ActiveSends {
  readonly #sends = new Map<number, Set<SentSubvolume>>();

  /** Knows of a send that reads these subvolumes, until it has ended. */
  add(ids: readonly number[], sent: SentSubvolume): void {
    for (const id of ids) this.#sends.set(id, (this.#sends.get(id) ?? new Set()).add(sent));
    void sent.ended.then(() => {
      for (const id of ids) {
        const others = this.#sends.get(id);
        others?.delete(sent);
        if (others?.size === 0) this.#sends.delete(id);
      }
    });
  }

  /** Ends the sends that read a subvolume. */
  async end(id: number): Promise<void> {
    for (const { bytes, ended } of [...(this.#sends.get(id) ?? [])]) {
      bytes.destroy(new BackendError('in_progress', 'what the copy builds on is being destroyed; it begins anew'));
      await ended;
    }
  }
}

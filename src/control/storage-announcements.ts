import type { Clock } from '../kit/clock.ts';

/** A pool is announced at most this often, milliseconds. */
const PACE_MS = 1_000;

/**
 * When to tell listeners of a pool: at once, and once more a second later when it changed again in between. Each of a thousand nodes
 * measures the pool that they share, and what is told of it names all of them: told each time, it would grow with their square.
 */
export class StorageAnnouncements {
  readonly #clock: Clock;
  readonly #announce: (pool: string) => void;
  /** Pools that were just announced, and whether they changed since. */
  readonly #recent = new Map<string, { changed: boolean; readonly cancel: () => void }>();

  constructor(clock: Clock, announce: (pool: string) => void) {
    this.#clock = clock;
    this.#announce = announce;
  }

  changed(pool: string): void {
    const recent = this.#recent.get(pool);
    if (recent === undefined) this.#announceNow(pool);
    else recent.changed = true;
  }

  /** Stops the timers. */
  close(): void {
    for (const { cancel } of this.#recent.values()) cancel();
    this.#recent.clear();
  }

  #announceNow(pool: string): void {
    const cancel = this.#clock.timer(PACE_MS, () => {
      const changed = this.#recent.get(pool)?.changed === true;
      this.#recent.delete(pool);
      if (changed) this.#announceNow(pool);
    });
    this.#recent.set(pool, { changed: false, cancel });
    this.#announce(pool);
  }
}

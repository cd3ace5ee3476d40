import { type ChangeText, changeText } from '../../src/control/store/change-text.ts';
import type { Json, Store, StoreChange } from '../../src/control/store/store.ts';
import type { Random } from '../faults/random.ts';
import type { ProcessClock } from './sim-clock.ts';

/** What the disk of the control service has for sure. */
export class SimDisk {
  readonly texts = new Map<string, string>();
  revision = 0;
  #unsynced: (readonly ChangeText[])[] = [];

  write(changes: readonly ChangeText[]): void {
    this.#unsynced.push(changes);
  }

  sync(): void {
    this.#make(this.#unsynced.length);
  }

  /** Power or process gone: of what was not synced some may be there, in its order. */
  crash(random: Random): void {
    this.#make(random.between(0, this.#unsynced.length));
    this.#unsynced = [];
  }

  entries(): Map<string, Json> {
    return new Map([...this.texts].map(([key, text]) => [key, JSON.parse(text) as Json]));
  }

  #make(count: number): void {
    for (const { key, text } of this.#unsynced.splice(0, count).flat()) {
      if (text === undefined) this.texts.delete(key);
      else this.texts.set(key, text);
    }
    this.revision += count;
  }
}

/** A store of one process on a simulated disk. Commits that wait at the same time share a sync, which takes its time. */
export class SimStore implements Store {
  readonly clusterId = '00000000-0000-4000-8000-00000000c1c1';
  readonly #disk: SimDisk;
  readonly #clock: ProcessClock;
  readonly #random: Random;
  readonly #lies: boolean;
  #waiting: (() => void)[] = [];
  #syncing = false;

  /** One that `lies` says that commits are durable before they are: to see that a run finds that. */
  constructor(disk: SimDisk, clock: ProcessClock, random: Random, lies = false) {
    this.#disk = disk;
    this.#clock = clock;
    this.#random = random;
    this.#lies = lies;
  }

  get revision(): number {
    return this.#disk.revision;
  }

  entries(): ReadonlyMap<string, Json> {
    return this.#disk.entries();
  }

  commit(changes: readonly StoreChange[]): Promise<void> {
    this.#disk.write(changes.map(changeText));
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
      if (this.#lies) resolve();
      if (!this.#syncing) this.#sync();
    });
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  #sync(): void {
    this.#syncing = true;
    const delayMs = this.#random.next() < 0.08 ? this.#random.between(100, 3_000) : this.#random.between(1, 10);
    const group = this.#waiting;
    this.#waiting = [];
    this.#clock.timer(delayMs, () => {
      // Those that came meanwhile are written behind the sync, and may be on disk with it or not.
      this.#disk.sync();
      for (const resolve of group) resolve();
      this.#syncing = false;
      if (this.#waiting.length > 0) this.#sync();
    });
  }
}

import type { Clock } from '../../src/kit/clock.ts';

interface Timer {
  readonly dueMs: number;
  readonly number: number;
  readonly wake: () => void;
  cancelled: boolean;
}

const BEGIN_WALL_MS = Date.UTC(2026, 0, 1);

/** Simulated time: it goes from one timer to the next, in the order in which they are due and were set. */
export class SimClock {
  #nowMs = 0;
  #numbers = 0;
  /** A binary heap: no timer is due before its parent. */
  readonly #heap: Timer[] = [];

  get nowMs(): number {
    return this.#nowMs;
  }

  timer(delayMs: number, wake: () => void): () => void {
    const timer = { dueMs: this.#nowMs + Math.max(0, delayMs), number: (this.#numbers += 1), wake, cancelled: false };
    this.#heap.push(timer);
    this.#rise(this.#heap.length - 1);
    return () => {
      timer.cancelled = true;
    };
  }

  /** Fires the next timer, if there is one that is due by then, and says whether there was. */
  step(untilMs: number): boolean {
    for (let next = this.#heap[0]; next !== undefined && next.dueMs <= untilMs; next = this.#heap[0]) {
      this.#removeFirst();
      if (next.cancelled) continue;
      this.#nowMs = next.dueMs;
      next.wake();
      return true;
    }
    this.#nowMs = Math.max(this.#nowMs, untilMs);
    return false;
  }

  #rise(from: number): void {
    let index = from;
    while (index > 0) {
      const parent = (index - 1) >> 1;
      const [timer, above] = [this.#heap[index], this.#heap[parent]];
      if (timer === undefined || above === undefined || isBefore(above, timer)) return;
      this.#heap[index] = above;
      this.#heap[parent] = timer;
      index = parent;
    }
  }

  #removeFirst(): void {
    const last = this.#heap.pop();
    if (last === undefined || this.#heap.length === 0) return;
    let index = 0;
    for (;;) {
      let child = 2 * index + 1;
      const [left, right] = [this.#heap[child], this.#heap[child + 1]];
      if (left !== undefined && right !== undefined && isBefore(right, left)) child += 1;
      const below = this.#heap[child];
      if (below === undefined || isBefore(last, below)) break;
      this.#heap[index] = below;
      index = child;
    }
    this.#heap[index] = last;
  }
}

function isBefore(a: Timer, b: Timer): boolean {
  return a.dueMs === b.dueMs ? a.number < b.number : a.dueMs < b.dueMs;
}

/** The clock of one process: with the process end its timers. Its wall clock may be wrong. */
export class ProcessClock implements Clock {
  readonly #world: SimClock;
  #wallErrorMs = 0;
  #alive = true;

  constructor(world: SimClock) {
    this.#world = world;
  }

  get alive(): boolean {
    return this.#alive;
  }

  wallMs(): number {
    return BEGIN_WALL_MS + Math.floor(this.#world.nowMs) + this.#wallErrorMs;
  }

  monotonicMs(): number {
    return this.#world.nowMs;
  }

  timer(delayMs: number, wake: () => void): () => void {
    return this.#world.timer(delayMs, () => {
      if (this.#alive) wake();
    });
  }

  /** Somebody sets the machine's clock: no timer moves. */
  jumpWall(byMs: number): void {
    this.#wallErrorMs += byMs;
  }

  /** The process is killed: nothing of it happens any more. */
  kill(): void {
    this.#alive = false;
  }
}

import type { Clock } from '../../src/kit/clock.ts';

interface Timer {
  readonly dueMs: number;
  readonly wake: () => void;
}

/** Time that only moves when the test says so. Timers fire in the order in which they are due. */
export class ManualClock implements Clock {
  #wallMs: number;
  #monotonicMs = 0;
  readonly #timers = new Set<Timer>();

  constructor(wallMs = Date.UTC(2026, 0, 1)) {
    this.#wallMs = wallMs;
  }

  wallMs(): number {
    return this.#wallMs;
  }

  monotonicMs(): number {
    return this.#monotonicMs;
  }

  timer(delayMs: number, wake: () => void): () => void {
    const timer: Timer = { dueMs: this.#monotonicMs + Math.max(0, delayMs), wake };
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  }

  /** Timers that are waiting. */
  get pending(): number {
    return this.#timers.size;
  }

  /** Lets `byMs` pass, firing what becomes due on the way. */
  advance(byMs: number): void {
    const endMs = this.#monotonicMs + byMs;
    for (let next = this.#firstDue(endMs); next !== undefined; next = this.#firstDue(endMs)) {
      this.#pass(Math.max(0, next.dueMs - this.#monotonicMs));
      this.#timers.delete(next);
      next.wake();
    }
    this.#pass(endMs - this.#monotonicMs);
  }

  /** Sets the wall clock forward or back, as an administrator or NTP may; no timer moves. */
  jumpWall(byMs: number): void {
    this.#wallMs += byMs;
  }

  #pass(byMs: number): void {
    this.#wallMs += byMs;
    this.#monotonicMs += byMs;
  }

  #firstDue(endMs: number): Timer | undefined {
    let first: Timer | undefined;
    for (const timer of this.#timers) {
      if (timer.dueMs <= endMs && (first === undefined || timer.dueMs < first.dueMs)) first = timer;
    }
    return first;
  }
}

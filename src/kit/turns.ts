import type { Clock } from './clock.ts';

export interface TurnLimits {
  /** So many work at the same time, not counting those whose turn is over. */
  readonly atOnce: number;
  /** Whoever takes longer than this goes on, and somebody else may begin: one that hangs keeps nobody waiting for good. */
  readonly turnMs: number;
}

/** Lets work begin in the order it was asked for, a bounded number of pieces at a time. */
export class Turns {
  readonly #limits: TurnLimits;
  readonly #clock: Clock;
  readonly #waiting: (() => void)[] = [];
  #taken = 0;

  constructor(limits: TurnLimits, clock: Clock) {
    this.#limits = limits;
    this.#clock = clock;
  }

  /** Resolves or rejects with what `work` does, which begins when there is room. */
  async run<T>(work: () => Promise<T>): Promise<T> {
    if (this.#taken < this.#limits.atOnce) this.#taken += 1;
    else await new Promise<void>((begin) => this.#waiting.push(begin));
    let over = false;
    const end = (): void => {
      if (over) return;
      over = true;
      const begin = this.#waiting.shift();
      if (begin === undefined) this.#taken -= 1;
      else begin();
    };
    const cancel = this.#clock.timer(this.#limits.turnMs, end);
    try {
      return await work();
    } finally {
      cancel();
      end();
    }
  }
}

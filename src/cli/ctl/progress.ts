import type { Clock } from '../../kit/clock.ts';
import type { Screen } from './ctl-environment.ts';
import { printable } from './text-width.ts';

const TICK_MS = 1_000;
/** Back to the first column, and everything after it away. */
const START_OF_LINE = '\r\u001b[K';

/** Tells a person at a terminal what is waited for and for how long; silent in a pipe. */
export class Progress {
  readonly #screen: Screen;
  readonly #clock: Clock;
  readonly #what: string;
  readonly #startedMs: number;
  #cancelTick = (): void => undefined;

  constructor(screen: Screen, clock: Clock, what: string) {
    this.#screen = screen;
    this.#clock = clock;
    this.#what = what;
    this.#startedMs = clock.monotonicMs();
    this.#draw();
  }

  /** Something passing is in the way. */
  problem(message: string): void {
    if (this.#screen.isTTY !== true) return;
    this.#cancelTick();
    this.#screen.write(`${START_OF_LINE}  ${printable(message)}\n`);
    this.#draw();
  }

  /** The waiting is over. */
  stop(): void {
    this.#cancelTick();
    if (this.#screen.isTTY === true) this.#screen.write(START_OF_LINE);
  }

  #draw(): void {
    if (this.#screen.isTTY !== true) return;
    const seconds = Math.round((this.#clock.monotonicMs() - this.#startedMs) / 1000);
    this.#screen.write(`${START_OF_LINE}${this.#what} … ${seconds} s`);
    this.#cancelTick = this.#clock.timer(TICK_MS, () => this.#draw());
  }
}

import type { Clock } from '../../kit/clock.ts';

/** A step of the story and how long it took, milliseconds. */
export interface StoryStep {
  readonly name: string;
  readonly ms: number;
}

/** Tells people what happens while it happens, and keeps the steps that held. */
export class StoryTeller {
  readonly steps: StoryStep[] = [];
  readonly #clock: Clock;
  readonly #say: (text: string) => void;

  constructor(clock: Clock, say: (text: string) => void) {
    this.#clock = clock;
    this.#say = say;
  }

  /** Does a step; `work` resolves with its result and what to tell of it. */
  async step<T>(name: string, title: string, work: () => Promise<{ value: T; detail: string }>): Promise<T> {
    this.#say(`• ${title} …`);
    const startedMs = this.#clock.monotonicMs();
    const { value, detail } = await work();
    const ms = Math.round((this.#clock.monotonicMs() - startedMs) * 10) / 10;
    this.steps.push({ name, ms });
    this.#say(`  ${String(ms).padStart(7)} ms  ${detail}`);
    return value;
  }
}

import { type BackoffPolicy, backoffMs } from '../../kit/backoff.ts';
import { type Clock, pause } from '../../kit/clock.ts';
import { errorText } from '../../kit/coded-error.ts';
import type { Logger } from '../../kit/logger.ts';
import type { StorageLook } from './provider-state.ts';

/** A look at the storage; undefined while it is not known. */
export type Look = (signal: AbortSignal) => Promise<Omit<StorageLook, 'diskEpoch' | 'atMs'> | undefined>;

interface LooksOptions {
  readonly look: Look;
  readonly clock: Clock;
  readonly random: () => number;
  readonly logger: Logger;
  readonly lookEveryMs?: number;
  readonly signal: AbortSignal;
}

interface Looker {
  /** Read when a look begins. */
  readonly epoch: () => number;
  readonly looked: (look: StorageLook) => void;
}

const AGAIN: BackoffPolicy = { firstMs: 500, factor: 2, longestMs: 30_000 };

/** Looks at the storage now and then, and whenever it is asked to. */
export class Looks {
  readonly #options: LooksOptions;
  #wake: () => void = () => undefined;
  /** Resolves when the signal has aborted and no look is under way. */
  ended: Promise<void> = Promise.resolve();

  constructor(options: LooksOptions) {
    this.#options = options;
  }

  start(looker: Looker): void {
    this.ended = this.#run(looker);
  }

  /** Looks again at once; when a look is under way, after it. */
  again(): void {
    this.#wake();
  }

  async #run({ epoch, looked }: Looker): Promise<void> {
    const { look, clock, random, logger, lookEveryMs = 30_000, signal } = this.#options;
    let failures = 0;
    while (!signal.aborted) {
      const diskEpoch = epoch();
      const woken = new AbortController();
      this.#wake = () => woken.abort();
      try {
        const seen = await look(signal);
        failures = seen === undefined ? failures + 1 : 0;
        if (seen !== undefined) looked({ ...seen, diskEpoch, atMs: clock.monotonicMs() });
      } catch (error) {
        if (signal.aborted) return;
        if (failures === 0)
          logger.warn({ reason: errorText(error) }, 'cannot look at the storage; offers stay as they are');
        failures += 1;
      }
      const waitMs = failures > 0 ? backoffMs(AGAIN, failures - 1, random) : lookEveryMs * (0.9 + 0.2 * random());
      await pause(clock, waitMs, AbortSignal.any([signal, woken.signal])).catch(() => undefined);
    }
  }
}

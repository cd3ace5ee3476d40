import type { DatasetState } from '../api/datasets.ts';
import { PATHS } from '../api/paths.ts';
import { type Clock, pause } from '../kit/clock.ts';
import { bodyOf } from './answers.ts';
import type { Https } from './https.ts';
import { isPassing } from './passing.ts';
import { SHAPES } from './shapes.ts';

interface PollingOptions {
  readonly https: Https;
  readonly clock: Clock;
  readonly pollMs: number;
}

/** Waits by asking for the state again and again: Flocker itself has nothing better. */
export class StatePolling {
  readonly #options: PollingOptions;

  constructor(options: PollingOptions) {
    this.#options = options;
  }

  /** What `judge` makes of the first list of states that it does not answer with undefined. */
  async until<T>(
    judge: (states: readonly DatasetState[]) => T | undefined,
    onProblem: (message: string) => void,
    signal: AbortSignal,
  ): Promise<T> {
    for (;;) {
      try {
        const decided = judge(await this.states(signal));
        if (decided !== undefined) return decided;
      } catch (error) {
        signal.throwIfAborted();
        if (!isPassing(error) || this.#options.https.closed) throw error;
        onProblem(error.message);
      }
      await pause(this.#options.clock, this.#options.pollMs, signal);
    }
  }

  /** The reported state of every dataset. */
  async states(signal: AbortSignal): Promise<DatasetState[]> {
    const answer = await this.#options.https.request({ method: 'GET', path: PATHS.stateDatasets }, signal);
    return bodyOf(answer, [200], SHAPES.datasetStates, `GET ${PATHS.stateDatasets}`);
  }
}

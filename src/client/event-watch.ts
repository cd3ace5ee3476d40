import { PATHS } from '../api/paths.ts';
import { type BackoffPolicy, backoffMs } from '../kit/backoff.ts';
import { type Clock, pause } from '../kit/clock.ts';
import { bodyOf } from './answers.ts';
import { followEvents, type Verdict } from './follow-events.ts';
import type { Https } from './https.ts';
import { isPassing } from './passing.ts';
import type { Shape } from './shapes.ts';
import type { ServerSentEvent } from './sse-parser.ts';

const RECONNECT: BackoffPolicy = { firstMs: 100, factor: 2, longestMs: 10_000 };

interface WatchOptions {
  readonly https: Https;
  readonly clock: Clock;
  readonly random: () => number;
  readonly openTimeoutMs: number;
}

/** The events that a wait looks at: their name and what they carry. */
export interface EventKind<E> {
  readonly name: string;
  readonly shape: Shape<E>;
}

/** Waits on the event stream of a server that has one. */
export class EventWatch {
  readonly #options: WatchOptions;

  constructor(options: WatchOptions) {
    this.#options = options;
  }

  /**
   * What `judge` makes of the first event of a dataset or snapshot that it does not answer with undefined. The stream
   * begins with the present state, so that nothing is missed between a request and the wait, nor while reconnecting. Fails
   * with what `judge` throws; a server that is away is waited for, and `onProblem` told.
   */
  async until<T, E>(
    query: Readonly<Record<string, string>>,
    kind: EventKind<E>,
    judge: (event: E) => T | undefined,
    onProblem: (message: string) => void,
    signal: AbortSignal,
  ): Promise<T> {
    const path = `${PATHS.events}?${new URLSearchParams(query).toString()}`;
    return this.untilReached(() => this.#once(path, kind, judge, signal), onProblem, signal);
  }

  /**
   * Gives every event of the cluster to `take` until the signal aborts. A stream that breaks is opened again, and then an event
   * `reset` comes first.
   */
  async follow(
    take: (event: ServerSentEvent) => void,
    onProblem: (message: string) => void,
    signal: AbortSignal,
  ): Promise<never> {
    let opened = false;
    return this.untilReached<never>(
      async () => {
        if (opened) take({ event: 'reset', data: '{}' });
        opened = true;
        const takeAll = (event: ServerSentEvent): Verdict => {
          take(event);
          return 'more';
        };
        await followEvents(this.#options, PATHS.events, takeAll, signal);
        return undefined;
      },
      onProblem,
      signal,
    );
  }

  /** Repeats `ask` with growing pauses while it yields undefined or the server is away. */
  async untilReached<T>(
    ask: () => Promise<T | undefined>,
    onProblem: (message: string) => void,
    signal: AbortSignal,
  ): Promise<T> {
    const { clock, random } = this.#options;
    for (let attempt = 0; ; attempt += 1) {
      const startedMs = clock.monotonicMs();
      try {
        const answer = await ask();
        if (answer !== undefined) return answer;
      } catch (error) {
        signal.throwIfAborted();
        if (!isPassing(error) || this.#options.https.closed) throw error;
        onProblem(error.message);
      }
      if (clock.monotonicMs() - startedMs > RECONNECT.longestMs) attempt = 0;
      await pause(clock, backoffMs(RECONNECT, attempt, random), signal);
    }
  }

  async #once<T, E>(
    path: string,
    kind: EventKind<E>,
    judge: (event: E) => T | undefined,
    signal: AbortSignal,
  ): Promise<T | undefined> {
    let decided: T | undefined;
    const take = ({ event, data }: ServerSentEvent): Verdict => {
      if (event === 'reset') return 'again';
      if (event !== kind.name) return 'more';
      const answer = { url: 'the event stream', status: 200, text: data };
      decided = judge(bodyOf(answer, [200], kind.shape, `${kind.name} event`));
      return decided === undefined ? 'more' : 'done';
    };
    await followEvents(this.#options, path, take, signal);
    return decided;
  }
}

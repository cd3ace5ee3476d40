import { type BackoffPolicy, backoffMs } from '../../kit/backoff.ts';
import { type Clock, pause } from '../../kit/clock.ts';
import { errorCode, errorText } from '../../kit/coded-error.ts';
import type { Logger } from '../../kit/logger.ts';
import { MesosError } from '../../mesos/mesos-error.ts';
import type { MasterEvent } from './master-event.ts';
import type { MesosMasterApi } from './mesos-master.ts';
import type { Registry } from './registry.ts';

/** Asks the leading master which agents it has. */
export type ReadRegistry = () => Promise<Registry>;

/** Who is told what a master says, while there is a subscription. */
export interface MasterListener {
  /** Every event, the first of them `subscribed`. */
  heard(event: MasterEvent, read: ReadRegistry): void;
  lost(): void;
}

export interface MasterWatchOptions {
  readonly master: MesosMasterApi;
  readonly listener: MasterListener;
  readonly clock: Clock;
  readonly random: () => number;
  readonly logger: Logger;
}

const BACKOFF: BackoffPolicy = { firstMs: 1_000, factor: 2, longestMs: 30_000 };
/** As masters have it (`DEFAULT_HEARTBEAT_INTERVAL`, src/master/constants.hpp), until they say it. */
const HEARTBEAT_MS = 15_000;
/** When so many heartbeats in a row are missing the connection counts as lost. */
const MISSING_HEARTBEATS = 3;

/** Keeps one subscription to the leading master, until it is closed. */
export class MasterWatch {
  readonly #options: MasterWatchOptions;
  readonly #end = new AbortController();
  readonly #ended: Promise<void>;
  #attempt = 0;

  constructor(options: MasterWatchOptions) {
    this.#options = options;
    this.#ended = this.#run(this.#end.signal);
  }

  async close(): Promise<void> {
    this.#end.abort();
    await this.#ended;
  }

  async #run(signal: AbortSignal): Promise<void> {
    const { clock, random, logger } = this.#options;
    while (!signal.aborted) {
      try {
        await this.#session(signal);
        logger.warn({}, 'the Mesos master ended the subscription');
      } catch (error) {
        if (signal.aborted) return;
        logger.warn({ reason: errorText(error), code: errorCode(error) }, 'no subscription to a Mesos master');
      }
      const waitMs = backoffMs(BACKOFF, this.#attempt, random);
      this.#attempt += 1;
      await pause(clock, waitMs, signal).catch(() => undefined);
    }
  }

  async #session(signal: AbortSignal): Promise<void> {
    const { master, listener, clock, logger } = this.#options;
    const stream = await master.subscribe(signal);
    const read: ReadRegistry = () => stream.registry(signal);
    let heartbeatMs = HEARTBEAT_MS;
    let subscribed = false;
    let silent = false;
    const watched = (): (() => void) =>
      clock.timer(MISSING_HEARTBEATS * heartbeatMs, () => {
        silent = true;
        stream.close();
      });
    let unwatch = watched();
    const onAbort = (): void => stream.close();
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      for await (const event of stream.events) {
        unwatch();
        if (event.kind === 'subscribed') {
          heartbeatMs = event.heartbeatMs ?? HEARTBEAT_MS;
          subscribed = true;
          this.#attempt = 0;
          logger.info({ master: stream.url, agents: event.agents.length }, 'subscribed to the leading Mesos master');
        }
        unwatch = watched();
        if (subscribed) listener.heard(event, read);
      }
    } catch (error) {
      throw silent ? new MesosError('unreachable', `${stream.url} sent no heartbeat for too long`) : error;
    } finally {
      unwatch();
      signal.removeEventListener('abort', onAbort);
      stream.close();
      if (subscribed) listener.lost();
    }
  }
}

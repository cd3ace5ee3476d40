import { type BackoffPolicy, backoffMs } from '../../kit/backoff.ts';
import { type Clock, pause } from '../../kit/clock.ts';
import { errorText } from '../../kit/coded-error.ts';
import type { NewUuid } from '../../kit/ids.ts';
import { KeyedQueue } from '../../kit/keyed-queue.ts';
import type { Logger } from '../../kit/logger.ts';
import { decide } from './decide.ts';
import { type Look, Looks } from './looks.ts';
import type { MesosAgentApi, ProviderStream } from './mesos-agent.ts';
import type { ProviderRecord } from './provider-record.ts';
import {
  type Disk,
  initialState,
  type OfferSettings,
  type ProviderAction,
  type ProviderEvent,
  type ProviderState,
  type Work,
  type WorkOutcome,
} from './provider-state.ts';
import { Sessions } from './sessions.ts';

/** What operations do to the storage. */
export interface ProviderStorage {
  perform(work: Work, signal: AbortSignal): Promise<WorkOutcome>;
  publish(disks: readonly Disk[], signal: AbortSignal): Promise<boolean>;
  doom(datasetId: string, signal: AbortSignal): Promise<void>;
}

export interface ProviderOptions {
  readonly record: ProviderRecord;
  /** Resolves once the record survives a power cut. */
  readonly save: (record: ProviderRecord) => Promise<void>;
  readonly agent: MesosAgentApi;
  readonly storage: ProviderStorage;
  /** Undefined while the storage of this node is not known. */
  readonly look: Look;
  readonly settings: OfferSettings;
  /** The operator of Mesos has removed this provider for good. */
  readonly onEnd: () => void;
  readonly clock: Clock;
  readonly random: () => number;
  readonly newUuid: NewUuid;
  readonly logger: Logger;
  /** Rest between two streams, milliseconds; 2,000 unless given. Less than 1,000 has ended real agents. */
  readonly restMs?: number;
  /** Time between two looks at the storage, milliseconds; 30,000 unless given. */
  readonly lookEveryMs?: number;
}

/** Counts for metrics and health. */
export interface ProviderCounts {
  readonly subscribed: boolean;
  readonly disks: number;
  readonly pending: number;
  readonly unacknowledged: number;
  readonly published: number;
  readonly publishFailures: number;
}

/** A stop waits so long for the framework's acknowledgements: what is told between two streams can end an agent (H8). */
const ACKNOWLEDGED_WITHIN_MS = 5_000;
const SAVE_AGAIN: BackoffPolicy = { firstMs: 200, factor: 2, longestMs: 10_000 };

/** Runs the decisions of a provider: events in, the record to disk, then the actions. */
export class Provider {
  readonly #options: ProviderOptions;
  readonly #closing = new AbortController();
  readonly #disks = new KeyedQueue<string>();
  readonly #looks: Looks;
  readonly #timers = new Set<() => void>();
  #state: ProviderState;
  #stream: ProviderStream | undefined;
  #calls: Promise<void> = Promise.resolve();
  #waiting: { readonly action: ProviderAction; readonly stream: ProviderStream | undefined }[] = [];
  #saved: ProviderRecord;
  #saving: Promise<void> | undefined;
  #sessions: Promise<void> = Promise.resolve();
  #published = 0;
  #publishFailures = 0;

  constructor(options: ProviderOptions) {
    this.#options = options;
    this.#state = initialState(options.record);
    this.#saved = options.record;
    this.#looks = new Looks({ ...options, signal: this.#closing.signal });
  }

  get counts(): ProviderCounts {
    const { record, session } = this.#state;
    const pending = record.operations.filter(({ status }) => status === null).length;
    return {
      subscribed: session.kind === 'subscribed' && session.versionUuid !== null,
      disks: record.totals.filter(({ disk }) => disk?.source?.type === 'MOUNT').length,
      pending,
      unacknowledged: record.operations.length - pending,
      published: this.#published,
      publishFailures: this.#publishFailures,
    };
  }

  /** Goes on with what was under way and begins to subscribe. */
  start(): void {
    const { agent, clock, random, logger, settings, restMs = 2_000 } = this.#options;
    this.#dispatch({ kind: 'started' });
    const sessions = new Sessions({
      ...{ agent, clock, random, logger, restMs, defaultReservations: settings.defaultReservations },
      listener: {
        identity: () => this.#state.record,
        subscribed: async (stream, providerId, agentId) => {
          this.#stream = stream;
          this.#calls = Promise.resolve();
          logger.info({ provider: providerId, agent: agentId }, 'subscribed');
          this.#dispatch({ kind: 'subscribed', providerId, agentId });
          await this.#settled();
        },
        message: (message) => this.#dispatch({ kind: 'message', message }),
        lost: () => {
          this.#stream = undefined;
          for (const cancel of this.#timers) cancel();
          this.#timers.clear();
          logger.info({}, 'the stream of the Mesos agent has ended');
          this.#dispatch({ kind: 'lost' });
        },
        identityLost: async () => {
          this.#dispatch({ kind: 'identityLost' });
          await this.#settled();
        },
      },
    });
    this.#sessions = sessions.run(this.#closing.signal);
    this.#looks.start({
      epoch: () => this.#state.diskEpoch,
      looked: (look) => this.#dispatch({ kind: 'looked', look }),
    });
  }

  /** Ends the stream. Work under way is done again at the next start; disks stay mounted. */
  async close(): Promise<void> {
    const { clock } = this.#options;
    const untilMs = clock.monotonicMs() + ACKNOWLEDGED_WITHIN_MS;
    while (this.#stream !== undefined && this.#state.record.operations.length > 0 && clock.monotonicMs() < untilMs)
      await pause(clock, 50, new AbortController().signal);
    this.#closing.abort(new Error('the provider is stopping'));
    for (const cancel of this.#timers) cancel();
    await this.#sessions;
    await this.#looks.ended;
    await this.#saving;
  }

  #dispatch(event: ProviderEvent): void {
    const { settings, newUuid } = this.#options;
    const { state, actions } = decide(this.#state, event, { settings, newUuid });
    this.#state = state;
    for (const action of actions) this.#take(action, event);
    this.#wake();
  }

  get #isBehind(): boolean {
    return this.#waiting.length > 0 || this.#state.record !== this.#saved;
  }

  #wake(): void {
    if (this.#saving !== undefined || !this.#isBehind) return;
    this.#saving = this.#saveAndAct().then(() => {
      this.#saving = undefined;
      this.#wake();
    });
  }

  /** Publishing changes no record, and must be answered also when the disk is full. */
  #take(action: ProviderAction, event: ProviderEvent): void {
    const stream = this.#stream;
    if (action.kind === 'publish' || event.kind === 'published') this.#act(action, stream);
    else this.#waiting.push({ action, stream });
  }

  async #saveAndAct(): Promise<void> {
    while (this.#isBehind) {
      const actions = this.#waiting;
      this.#waiting = [];
      if (this.#state.record !== this.#saved) await this.#save(this.#state.record);
      for (const { action, stream } of actions) this.#act(action, stream);
    }
  }

  async #save(record: ProviderRecord): Promise<void> {
    const { save, clock, random, logger } = this.#options;
    for (let attempt = 0; ; attempt += 1) {
      try {
        await save(record);
        this.#saved = record;
        return;
      } catch (error) {
        logger.error({ error: errorText(error) }, 'cannot write the record; nothing is done before it is on disk');
        await pause(clock, backoffMs(SAVE_AGAIN, attempt, random), new AbortController().signal);
      }
    }
  }

  async #settled(): Promise<void> {
    while (this.#saving !== undefined) await this.#saving;
  }

  #act(action: ProviderAction, stream: ProviderStream | undefined): void {
    const { logger, storage, clock, onEnd } = this.#options;
    const signal = this.#closing.signal;
    switch (action.kind) {
      case 'send':
        return this.#send(action.call, stream);
      case 'work':
        return this.#begin(
          () => storage.perform(action.work, signal),
          (outcome) => this.#dispatch({ kind: 'worked', operation: action.operation, outcome }),
          disksOf(action.work),
        );
      case 'publish':
        return this.#begin(
          () => storage.publish(action.disks, signal),
          (ok) => {
            if (ok) this.#published += 1;
            else this.#publishFailures += 1;
            if (this.#stream === stream) this.#dispatch({ kind: 'published', publish: action.publish, ok });
          },
        );
      case 'doom':
        return this.#begin(
          () => storage.doom(action.datasetId, signal),
          () => this.#dispatch({ kind: 'doomedGone', datasetId: action.datasetId }),
          // After the work that may still be making it.
          [action.datasetId],
        );
      case 'retryLater': {
        const cancel = clock.timer(action.delayMs, () => {
          this.#timers.delete(cancel);
          this.#dispatch({ kind: 'retry', operation: action.operation });
        });
        this.#timers.add(cancel);
        return;
      }
      case 'lookAgain':
        return this.#looks.again();
      case 'end':
        return onEnd();
      case 'say':
        return logger[action.level](action.fields, action.message);
      default:
        action satisfies never;
    }
  }

  /** Work ends in an event, unless this process is stopping: then it is done again at the next start. */
  #begin<T>(work: () => Promise<T>, ended: (result: T) => void, keys: readonly string[] = []): void {
    const [key] = keys;
    const running = key === undefined ? work() : this.#disks.run(key, work);
    running.then(ended, (error: unknown) => {
      if (!this.#closing.signal.aborted)
        this.#options.logger.error({ error: errorText(error) }, 'work on the storage failed');
    });
  }

  /** One after the other: an agent that gets them in another order may take a state for newer than it is. */
  #send(call: object, stream: ProviderStream | undefined): void {
    if (stream === undefined || stream !== this.#stream) return;
    const id = this.#state.record.providerId ?? '';
    const body = { ...call, resource_provider_id: { value: id } };
    this.#calls = this.#calls.then(async () => {
      if (stream !== this.#stream) return;
      try {
        await stream.call(body);
      } catch (error) {
        if (stream !== this.#stream) return;
        this.#options.logger.warn({ error: errorText(error) }, 'a call to the Mesos agent failed; attaching again');
        await stream.close();
      }
    });
  }
}

function disksOf(work: Work): readonly string[] {
  switch (work.kind) {
    case 'wipe':
      return work.disks.map(({ id }) => id);
    case 'destroy':
      return [work.disk.id];
    case 'make':
    case 'adopt':
      return [work.datasetId];
    default:
      return work satisfies never;
  }
}

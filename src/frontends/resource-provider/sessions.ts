import { type BackoffPolicy, backoffMs } from '../../kit/backoff.ts';
import { type Clock, pause } from '../../kit/clock.ts';
import { errorText } from '../../kit/coded-error.ts';
import type { Logger } from '../../kit/logger.ts';
import { MesosError } from '../../mesos/mesos-error.ts';
import type { MesosAgentApi, ProviderStream } from './mesos-agent.ts';
import type { AgentMessage, Reservation } from './mesos-messages.ts';

/** Who subscribes. */
export interface Identity {
  readonly type: string;
  readonly name: string;
  readonly providerId: string | null;
  /** The agent that gave `providerId`. */
  readonly agentId: string | null;
}

/** What the provider hears of its sessions with the agent. */
export interface SessionListener {
  identity(): Identity;
  /** Resolves once it is on disk. */
  subscribed(stream: ProviderStream, providerId: string, agentId: string): Promise<void>;
  message(message: Exclude<AgentMessage, { kind: 'subscribed' }>): void;
  lost(): void;
  /** The agent is another one and knows nothing of our id. Resolves once that is on disk. */
  identityLost(): Promise<void>;
}

export interface SessionsOptions {
  readonly agent: MesosAgentApi;
  readonly listener: SessionListener;
  readonly defaultReservations: readonly Reservation[];
  readonly clock: Clock;
  readonly random: () => number;
  readonly logger: Logger;
  /** Rest between the end of a stream and the next SUBSCRIBE, milliseconds. */
  readonly restMs: number;
}

const BACKOFF: BackoffPolicy = { firstMs: 1_000, factor: 2, longestMs: 30_000 };
/** So often, and over so long, the agent has to refuse our id before it is given up. */
const REFUSALS = 3;
const REFUSED_FOR_MS = 10_000;

/**
 * Keeps one stream to the agent, for ever. An agent aborts when a provider subscribes while its stream before is still open,
 * or right after it was closed (contract 1.16: H7, seen on a real one): so a stream is closed, then rested, and the agent
 * asked whether it still lists us, before the next one.
 */
export class Sessions {
  readonly #options: SessionsOptions;
  #attempt = 0;
  #refusals = 0;
  #firstRefusalMs = 0;

  constructor(options: SessionsOptions) {
    this.#options = options;
  }

  /** Ends only when `signal` aborts, after the stream is closed. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, random, logger, restMs, listener } = this.#options;
    // Who knows when the process before this one ended.
    if (listener.identity().providerId !== null) await pause(clock, restMs, signal).catch(() => undefined);
    while (!signal.aborted) {
      try {
        await this.#session(signal);
      } catch (error) {
        if (signal.aborted) return;
        logger.warn(
          { reason: errorText(error), code: error instanceof MesosError ? error.code : undefined },
          'no session with the Mesos agent',
        );
      }
      const waitMs = Math.max(restMs, backoffMs(BACKOFF, this.#attempt, random));
      this.#attempt += 1;
      await pause(clock, waitMs, signal).catch(() => undefined);
    }
  }

  async #session(signal: AbortSignal): Promise<void> {
    const { agent, listener, defaultReservations } = this.#options;
    const { type, name, providerId, agentId } = listener.identity();
    const now = await agent.agentId(signal);
    if (providerId !== null && (await agent.isSubscribed(providerId, signal)) === true) {
      throw new MesosError(
        'not_ready',
        'the agent still has a stream of this provider; if that stays so, another process runs with the same state',
      );
    }
    const stream = await agent.subscribe(
      {
        type,
        name,
        ...(providerId === null ? {} : { id: { value: providerId } }),
        ...(defaultReservations.length === 0 ? {} : { default_reservations: defaultReservations }),
      },
      signal,
    );
    const onAbort = (): void => void stream.close();
    signal.addEventListener('abort', onAbort, { once: true });
    let taken = false;
    try {
      for await (const message of stream.messages) {
        if (message.kind === 'subscribed') {
          // The agent may have become another one since it was asked, and an operation with a wrong agent id ends the master.
          if ((await agent.agentId(signal)) !== now)
            throw new MesosError('not_ready', 'the agent has just changed its id');
          taken = true;
          this.#attempt = 0;
          this.#refusals = 0;
          await listener.subscribed(stream, message.providerId, now);
        } else if (taken) listener.message(message);
      }
    } finally {
      signal.removeEventListener('abort', onAbort);
      if (taken) listener.lost();
      await stream.close();
    }
    if (!taken && !signal.aborted) await this.#refused(providerId, now !== agentId);
  }

  /** The stream ended before it began: the agent does not know our id, or has it under another name (contract 1.4). */
  async #refused(providerId: string | null, agentChanged: boolean): Promise<void> {
    const { clock, logger, listener } = this.#options;
    if (this.#refusals === 0) this.#firstRefusalMs = clock.monotonicMs();
    this.#refusals += 1;
    const longEnough = clock.monotonicMs() - this.#firstRefusalMs >= REFUSED_FOR_MS;
    if (providerId !== null && agentChanged && this.#refusals >= REFUSALS && longEnough) {
      this.#refusals = 0;
      this.#attempt = 0;
      return listener.identityLost();
    }
    const advice = agentChanged
      ? 'the agent has another id than before; attaching anew soon'
      : 'the provider was removed from Mesos, or its type or name changed; to attach as a new one start with --new-identity';
    logger.warn({ provider: providerId, refusals: this.#refusals }, `the Mesos agent refuses this provider: ${advice}`);
  }
}

import type { Clock } from '../../../kit/clock.ts';
import { pause } from '../../../kit/clock.ts';
import { errorText } from '../../../kit/coded-error.ts';
import { withDeadline } from '../../../kit/deadline.ts';
import type { Logger } from '../../../kit/logger.ts';
import { StoreError } from '../store.ts';
import type { EtcdCompare, EtcdGateway } from './etcd-gateway.ts';

/** Another may lead, or nobody knows: what was under way here counts for nothing. */
export class LeadershipLost extends StoreError {}

/** etcd (with its default heartbeat) grants no lease shorter than 2. */
const LEASE_SECONDS = 3;
/** The lease is renewed this often, milliseconds. */
const RENEWAL_MS = 700;
/** After a renewal that failed; another member of etcd is asked then. */
const RENEWAL_RETRY_MS = 50;
/** Who stands by looks again after this long at the latest, whatever it heard. */
const LOOK_AGAIN_MS = 5_000;
/** Waits while etcd cannot be reached. */
const RETRY_MS = 300;
/** Clocks of two machines run at rates that differ by less. */
const SHARE_OF_LEASE = 0.95;

export interface LeadershipParts {
  readonly etcd: EtcdGateway;
  /** The key that the leader holds. */
  readonly key: string;
  /** What others are told of this one, as JSON. */
  readonly name: string;
  /** How long a leader that is gone stays leader, seconds; 3 unless given. */
  readonly leaseSeconds?: number;
  readonly clock: Clock;
  readonly logger: Logger;
}

/**
 * That this process leads: a key with a lease, made by this process. While the lease lasts nobody else can make it. Every write is
 * a transaction on the condition that the key is still the one that was made here, so that one who only believes to lead changes
 * nothing; and what is read may be told only while the lease surely lasts.
 */
export class Leadership {
  readonly #parts: LeadershipParts;
  readonly #lease: string;
  readonly #createRevision: string;
  /** Monotonic clock. */
  #surelyUntilMs: number;
  #lost: LeadershipLost | undefined;
  readonly #stop = new AbortController();
  readonly #renewing: Promise<void>;
  #onLost: (error: StoreError) => void = () => undefined;

  private constructor(parts: LeadershipParts, lease: string, createRevision: string, surelyUntilMs: number) {
    this.#parts = parts;
    this.#lease = lease;
    this.#createRevision = createRevision;
    this.#surelyUntilMs = surelyUntilMs;
    this.#renewing = this.#renew();
  }

  /** Stands by until this process leads. Fails with the signal's reason, or when etcd refuses. */
  static async win(parts: LeadershipParts, signal: AbortSignal): Promise<Leadership> {
    const { clock, logger } = parts;
    let isTold = false;
    for (;;) {
      try {
        const outcome = await Leadership.#begin(parts, signal);
        if (outcome instanceof Leadership) return outcome;
        if (!isTold) logger.info({ leader: outcome.leader }, 'another control service leads: standing by');
        isTold = true;
        await untilItMayBeFree(parts, outcome.revision, signal);
      } catch (error) {
        signal.throwIfAborted();
        if (error instanceof StoreError) throw error;
        logger.warn({ reason: errorText(error) }, 'waiting for etcd');
        await pause(clock, RETRY_MS, signal);
      }
    }
  }

  static async #begin(
    parts: LeadershipParts,
    signal: AbortSignal,
  ): Promise<Leadership | { leader: string; revision: string }> {
    const { etcd, key, name, clock, leaseSeconds = LEASE_SECONDS } = parts;
    const askedMs = clock.monotonicMs();
    const lease = await etcd.grantLease(leaseSeconds, signal);
    const free: EtcdCompare = { key, target: 'CREATE', revision: '0' };
    const { done, revision, found } = await etcd.transaction(
      [free],
      [{ kind: 'put', key, value: name, lease }],
      [key],
      signal,
    );
    if (done) return new Leadership(parts, lease, revision, askedMs + leaseSeconds * 1000 * SHARE_OF_LEASE);
    await etcd.endLease(lease, signal).catch(() => undefined);
    return { leader: found[0]?.value ?? '', revision };
  }

  /** The condition of every write. */
  get condition(): EtcdCompare {
    return { key: this.#parts.key, target: 'CREATE', revision: this.#createRevision };
  }

  /** Called once, when the leadership is lost; not after `resign`. */
  onLost(tell: (error: StoreError) => void): void {
    this.#onLost = tell;
    if (this.#lost !== undefined) tell(this.#lost);
  }

  /** Throws unless no other process can lead at this moment. */
  assertHeld(): void {
    if (this.#lost === undefined && this.#parts.clock.monotonicMs() >= this.#surelyUntilMs)
      this.#lose('its lease may have ended');
    if (this.#lost !== undefined) throw this.#lost;
  }

  /** Somebody else leads, or this cannot be known: it never leads again. */
  lose(reason: string): LeadershipLost {
    return this.#lost ?? this.#lose(reason);
  }

  /** Gives the leadership up, so that another takes over at once. */
  async resign(): Promise<void> {
    this.#lost ??= new LeadershipLost('store_failed', 'this control service has given up its leadership');
    this.#stop.abort(this.#lost);
    await this.#renewing;
    await withDeadline(this.#parts.clock, RENEWAL_MS, 'giving up the leadership', undefined, (signal) =>
      this.#parts.etcd.endLease(this.#lease, signal),
    ).catch(() => undefined);
  }

  async #renew(): Promise<void> {
    const { etcd, clock } = this.#parts;
    const { signal } = this.#stop;
    let waitMs = RENEWAL_MS;
    while (!signal.aborted) {
      await pause(clock, waitMs, signal).catch(() => undefined);
      if (signal.aborted) return;
      const askedMs = clock.monotonicMs();
      try {
        const seconds = await withDeadline(clock, RENEWAL_MS, "etcd's answer", signal, (soon) =>
          etcd.keepLease(this.#lease, soon),
        );
        if (seconds <= 0) this.#lose('etcd ended its lease');
        else this.#surelyUntilMs = askedMs + seconds * 1000 * SHARE_OF_LEASE;
        waitMs = RENEWAL_MS;
      } catch {
        waitMs = RENEWAL_RETRY_MS;
      }
      if (this.#lost === undefined && clock.monotonicMs() >= this.#surelyUntilMs)
        this.#lose('etcd could not be reached in time');
    }
  }

  #lose(reason: string): LeadershipLost {
    const lost = new LeadershipLost(
      'store_failed',
      `this control service no longer leads (${reason}); another one may have taken over`,
    );
    this.#lost = lost;
    this.#stop.abort(lost);
    this.#onLost(lost);
    return lost;
  }
}

async function untilItMayBeFree(
  { etcd, key, clock }: LeadershipParts,
  revision: string,
  parent: AbortSignal,
): Promise<void> {
  await withDeadline(clock, LOOK_AGAIN_MS, 'the watch', parent, (signal) =>
    etcd.untilRemoved(key, revision, signal),
  ).catch(() => undefined);
  parent.throwIfAborted();
}

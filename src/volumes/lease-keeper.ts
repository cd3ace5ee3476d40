import { setMaxListeners } from 'node:events';
import type { FlockerClient, FoundDatasets } from '../client/flocker-client.ts';
import { type BackoffPolicy, backoffMs } from '../kit/backoff.ts';
import type { Clock } from '../kit/clock.ts';
import { errorCode, errorText } from '../kit/coded-error.ts';
import { orAbort, withDeadline } from '../kit/deadline.ts';
import type { DatasetId, NodeId } from '../kit/ids.ts';
import { KeyedQueue } from '../kit/keyed-queue.ts';
import type { Logger } from '../kit/logger.ts';

/** What is known of this node's lease on a dataset. `lost`: another node has it, although it is held here. */
export type LeaseView =
  | { readonly kind: 'none' | 'unknown' | 'ours' }
  | { readonly kind: 'lost'; readonly problem: string };

export interface LeaseKeeperOptions {
  readonly client: FlockerClient;
  readonly nodeId: () => Promise<NodeId>;
  readonly clock: Clock;
  readonly random: () => number;
  readonly logger: Logger;
  readonly leaseSeconds: number;
  /** Longest time for one request, milliseconds. */
  readonly requestTimeoutMs: number;
}

interface Instant {
  readonly monotonicMs: number;
  readonly wallMs: number;
}

interface LeaseRecord {
  kind: 'unknown' | 'ours' | 'lost';
  /** False once it is to be given up. */
  wanted: boolean;
  /** It was ours once, so losing it matters; one that was never granted is the business of who asks for it. */
  renewing: boolean;
  /** When the last request that was granted was sent. */
  grantedAt: Instant | undefined;
  /** When the last request was sent that may have been granted. */
  askedAt: Instant;
  /** Changes whenever the lease may have been somebody else's in between. */
  term: number;
  dueMs: number;
  failures: number;
  problem: string;
}

/** A server drops leases by a timer of one second (contract 1.6). */
const SERVER_TICK_MS = 1_000;
/** No timer is faster than this. */
const SHORTEST_TIMER_MS = 1_000;
const RETRY: BackoffPolicy = { firstMs: 1_000, factor: 2, longestMs: 10_000 };

/** Holds this node's leases: takes, renews with one timer for all, gives up. Requests for one dataset never overlap. */
export class LeaseKeeper {
  readonly #options: LeaseKeeperOptions;
  readonly #leaseMs: number;
  readonly #records = new Map<DatasetId, LeaseRecord>();
  readonly #queue = new KeyedQueue<DatasetId>();
  readonly #stop = new AbortController();
  #cancelTimer: (() => void) | undefined;
  #terms = 0;

  constructor(options: LeaseKeeperOptions) {
    this.#options = options;
    this.#leaseMs = options.leaseSeconds * 1000;
    // Every request listens to it while it is under way.
    setMaxListeners(0, this.#stop.signal);
  }

  /** Counts a lease of an earlier process as perhaps ours; a wanted one is renewed first thing. */
  adopt(datasetId: DatasetId, wanted: boolean): void {
    if (this.#records.has(datasetId)) return;
    this.#records.set(datasetId, { ...this.#newRecord(wanted), renewing: true });
    if (wanted) void this.#renew(datasetId);
  }

  /** Resolves once the lease is ours for a while. Fails with the client's error, `lease_held` when another node has it. */
  async take(datasetId: DatasetId): Promise<void> {
    await this.#take(datasetId, undefined);
  }

  /** {@link take}, with what the name means once the lease is ours; undefined when nobody was asked, or cannot tell. */
  takeAndFind(datasetId: DatasetId, name: string): Promise<FoundDatasets | undefined> {
    return this.#take(datasetId, name);
  }

  #take(datasetId: DatasetId, name: string | undefined): Promise<FoundDatasets | undefined> {
    const record = this.#records.get(datasetId) ?? this.#newRecord(true);
    record.wanted = true;
    this.#records.set(datasetId, record);
    return this.#queue.run(datasetId, async () => {
      const granted = record.grantedAt;
      if (record.kind === 'ours' && granted !== undefined && this.#elapsedMs(granted) < this.#leaseMs / 2) return;
      return this.#ask(datasetId, record, name);
    });
  }

  /** The present term of a lease that is surely ours now; undefined when it is not. */
  term(datasetId: DatasetId): number | undefined {
    const record = this.#records.get(datasetId);
    if (record?.kind !== 'ours' || record.grantedAt === undefined) return undefined;
    return this.#elapsedMs(record.grantedAt) < this.#leaseMs ? record.term : undefined;
  }

  view(datasetId: DatasetId): LeaseView {
    const record = this.#records.get(datasetId);
    if (record === undefined || !record.wanted) return { kind: 'none' };
    return record.kind === 'lost' ? { kind: 'lost', problem: record.problem } : { kind: record.kind };
  }

  /** Resolves once no lease of this node's is left. Does nothing for a lease that was never taken. */
  giveUp(datasetId: DatasetId): Promise<void> {
    const record = this.#records.get(datasetId);
    if (record === undefined) return Promise.resolve();
    record.wanted = false;
    this.#schedule();
    return this.#queue.run(datasetId, async () => {
      if (record.wanted) return;
      await this.#release(datasetId, record);
      if (!record.wanted && this.#records.get(datasetId) === record) this.#records.delete(datasetId);
    });
  }

  /** Stops renewing; leases stay until they expire. */
  async close(): Promise<void> {
    this.#stop.abort(new Error('the lease keeper is stopping'));
    this.#cancelTimer?.();
    await this.#queue.idle();
  }

  /** Resolves once the requests of this moment have ended. */
  idle(): Promise<void> {
    return this.#queue.idle();
  }

  async #ask(datasetId: DatasetId, record: LeaseRecord, name?: string): Promise<FoundDatasets | undefined> {
    const sentAt = this.#now();
    record.askedAt = sentAt;
    let found: FoundDatasets | undefined;
    try {
      found = await this.#bounded('taking a lease', this.#options.requestTimeoutMs, async (signal) => {
        const nodeId = await this.#options.nodeId();
        const lease = { datasetId, nodeId, expiresSeconds: this.#options.leaseSeconds };
        if (name !== undefined) return this.#options.client.acquireLeaseAndFind(lease, name, signal);
        await this.#options.client.acquireLease(lease, signal);
        return undefined;
      });
    } catch (error) {
      this.#refused(record, error);
      throw error;
    }
    const kept =
      record.kind === 'ours' && record.grantedAt !== undefined && this.#elapsedMs(record.grantedAt) < this.#leaseMs;
    if (!kept) record.term = ++this.#terms;
    if (record.kind === 'lost') this.#options.logger.info({ datasetId }, 'the lease is ours again');
    record.dueMs = sentAt.monotonicMs + this.#leaseMs / 3;
    Object.assign(record, { kind: 'ours', renewing: true, grantedAt: sentAt, failures: 0 });
    this.#schedule();
    return found;
  }

  #refused(record: LeaseRecord, error: unknown): void {
    record.problem = errorText(error);
    if (errorCode(error) === 'lease_held') {
      if (record.kind !== 'lost') record.term = ++this.#terms;
      Object.assign(record, { kind: 'lost', grantedAt: undefined });
      record.dueMs = this.#now().monotonicMs + this.#leaseMs / 3;
    } else {
      // It may have been granted all the same.
      if (record.kind === 'lost') record.kind = 'unknown';
      record.dueMs = this.#now().monotonicMs + backoffMs(RETRY, record.failures, this.#options.random);
      record.failures += 1;
    }
    this.#schedule();
  }

  /** A lease of another node must not be deleted, and the server does not check who asks: so first be sure it is ours. */
  async #release(datasetId: DatasetId, record: LeaseRecord): Promise<void> {
    if (record.kind === 'lost') return;
    if (this.#elapsedMs(record.askedAt) > this.#leaseMs + 2 * SERVER_TICK_MS) return;
    const { client, requestTimeoutMs } = this.#options;
    let lifeMs = record.grantedAt === undefined ? 0 : this.#leaseMs - this.#elapsedMs(record.grantedAt);
    if (record.kind !== 'ours' || lifeMs <= 2 * SERVER_TICK_MS) {
      const nodeId = await this.#options.nodeId();
      const before = this.#now();
      const leases = await this.#bounded('listing leases', requestTimeoutMs, (signal) => client.listLeases(signal));
      const lease = leases.find((one) => one.dataset_id === datasetId && one.node_uuid === nodeId);
      if (lease === undefined) return;
      lifeMs = (lease.expires ?? this.#options.leaseSeconds) * 1000 - this.#elapsedMs(before);
      if (lifeMs <= 2 * SERVER_TICK_MS) return;
    }
    const timeoutMs = Math.min(requestTimeoutMs, lifeMs - SERVER_TICK_MS);
    try {
      await this.#bounded('giving up a lease', timeoutMs, (signal) => client.releaseLease(datasetId, signal));
    } catch (error) {
      if (errorCode(error) !== 'not_found') throw error;
    }
  }

  #renew(datasetId: DatasetId): Promise<void> {
    return this.#queue.run(datasetId, async () => {
      const record = this.#records.get(datasetId);
      if (record === undefined || !record.wanted || this.#stop.signal.aborted) return;
      const before = record.kind;
      try {
        await this.#ask(datasetId, record);
      } catch (error) {
        const fields = { datasetId, failures: record.failures, error: errorText(error) };
        if (record.kind === 'lost' && before !== 'lost') {
          this.#options.logger.error(
            fields,
            'another node took the lease of a volume that is in use here; it stays mounted',
          );
        } else if (record.kind !== 'lost') {
          this.#options.logger.warn(fields, 'could not renew a lease');
        }
      }
    });
  }

  #schedule(): void {
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
    if (this.#stop.signal.aborted) return;
    const wanted = [...this.#records.values()].filter(
      (one) => one.wanted && one.renewing && Number.isFinite(one.dueMs),
    );
    if (wanted.length === 0) return;
    const dueMs = Math.min(...wanted.map((record) => record.dueMs));
    const delayMs = Math.max(SHORTEST_TIMER_MS, dueMs - this.#now().monotonicMs);
    this.#cancelTimer = this.#options.clock.timer(delayMs, () => {
      this.#cancelTimer = undefined;
      this.#renewDue();
    });
  }

  /** Renews early what would be due soon, so that many leases need few wake-ups. */
  #renewDue(): void {
    const untilMs = this.#now().monotonicMs + this.#leaseMs / 6;
    for (const [datasetId, record] of this.#records) {
      if (!record.wanted || !record.renewing || record.dueMs > untilMs) continue;
      record.dueMs = Number.POSITIVE_INFINITY;
      void this.#renew(datasetId);
    }
    this.#schedule();
  }

  #newRecord(wanted: boolean): LeaseRecord {
    return {
      kind: 'unknown',
      wanted,
      renewing: false,
      grantedAt: undefined,
      askedAt: this.#now(),
      term: ++this.#terms,
      dueMs: Number.POSITIVE_INFINITY,
      failures: 0,
      problem: '',
    };
  }

  #bounded<T>(what: string, timeoutMs: number, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    return withDeadline(this.#options.clock, timeoutMs, what, this.#stop.signal, (signal) =>
      orAbort(work(signal), signal),
    );
  }

  #now(): Instant {
    return { monotonicMs: this.#options.clock.monotonicMs(), wallMs: this.#options.clock.wallMs() };
  }

  /** The monotonic clock stands still while a machine is suspended, the wall clock may be set back: believe the later. */
  #elapsedMs(since: Instant): number {
    const now = this.#now();
    return Math.max(now.monotonicMs - since.monotonicMs, now.wallMs - since.wallMs);
  }
}

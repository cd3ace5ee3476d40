import type { Readable } from 'node:stream';
import type { CopyOrder, CopyReport } from '../../api/copy-channel.ts';
import { type BackoffPolicy, backoffMs } from '../../kit/backoff.ts';
import type { Clock } from '../../kit/clock.ts';
import { errorText } from '../../kit/coded-error.ts';
import { withDeadline } from '../../kit/deadline.ts';
import { type DatasetId, type NodeId, parseDatasetId } from '../../kit/ids.ts';
import type { Logger } from '../../kit/logger.ts';
import type { Problem } from '../../model/volume-state.ts';
import { type Backend, BackendError, type CopyBases, type CopyEngine, type GivenCopy } from '../backends/backend.ts';
import type { CopyRequest, OpenCopy } from './open-copy.ts';

/** Waits after a try that failed. */
const RETRY: BackoffPolicy = { firstMs: 100, factor: 3, longestMs: 10_000 };
/** A step other than the copying itself is told to give up after this long. */
const STEP_TIMEOUT_MS = 300_000;
/** How often progress is told. */
const PROGRESS_MS = 1_000;
const LONGEST_TEXT = 4000;

export interface CopyConvergenceOptions {
  readonly backend: Backend;
  /** Runs work while no step of the dataset is under way. */
  readonly between: <T>(id: DatasetId, work: () => Promise<T>) => Promise<T>;
  readonly open: (wanted: Omit<CopyRequest, 'tls'>) => Promise<OpenCopy>;
  readonly clock: Clock;
  readonly random: () => number;
  readonly logger: Logger;
  readonly report: (report: CopyReport) => void;
}

type Fetch = Extract<CopyOrder, { want: 'fetched' }>;
type Give = Extract<CopyOrder, { want: 'given' }>;

interface Item {
  order: CopyOrder;
  state: CopyReport['state'];
  problem: Problem | null;
  /** What runs for it, and how to end that. */
  running: { readonly abort: AbortController; readonly done: Promise<void> } | undefined;
  attempt: number;
  /** A copy that builds on what the pool has failed: the next try gets all, so that it does not fail for that again. */
  wantsAll: boolean;
  cancelRetry: () => void;
}

const ABSENT: CopyReport['state'] = { kind: 'absent' };

/** Fetches copies of volumes, lets others fetch some, and destroys what is left of old ones, as ordered. */
export class CopyConvergence {
  readonly #options: CopyConvergenceOptions;
  readonly #items = new Map<DatasetId, Item>();
  #connected = false;

  constructor(options: CopyConvergenceOptions) {
    this.#options = options;
  }

  /** Orders of a connection. What is being copied goes on while there is none, and ends when a new one does not ask for it. */
  takeOrders(orders: readonly CopyOrder[], withdrawn: readonly string[], full: boolean): void {
    this.#connected = true;
    const named = new Set(orders.map(({ datasetId }) => datasetId));
    for (const id of full ? [...this.#items.keys()] : withdrawn.flatMap((text) => parseDatasetId(text) ?? []))
      if (!named.has(id)) this.#forget(id);
    for (const order of orders) {
      const id = parseDatasetId(order.datasetId);
      if (id !== undefined) this.#take(id, order);
    }
  }

  /** The connection is gone: nothing is destroyed any more, and no reading begins. */
  forgetOrders(): void {
    this.#connected = false;
    for (const [id, { order }] of this.#items) if (order.want === 'cleared') this.#forget(id);
  }

  /** Ends everything and waits for that. */
  async halt(): Promise<void> {
    const running = [...this.#items.values()].flatMap((item) => item.running?.done ?? []);
    for (const id of [...this.#items.keys()]) this.#forget(id);
    await Promise.all(running);
  }

  /** Begins to read a volume for node `to`; undefined when this node was not told to. The bytes break off with the order. */
  async give(datasetId: DatasetId, copy: string, to: NodeId, bases?: CopyBases): Promise<GivenCopy | undefined> {
    const item = this.#items.get(datasetId);
    const { copies } = this.#options.backend;
    if (!this.#connected || item?.order.want !== 'given' || copies === undefined) return undefined;
    if (item.order.copy !== copy || item.order.to !== to) return undefined;
    const { order } = item;
    // Two readers at once would only be in each other's way: the one that comes again has lost the other.
    item.running?.abort.abort(new Error('the copy was asked for again'));
    await item.running?.done;
    if (this.#items.get(datasetId) !== item || item.order !== order) return undefined;
    const abort = new AbortController();
    const given = this.#options.between(datasetId, () => this.#read(datasetId, order, copies, bases, abort.signal));
    const done = given.then(
      ({ bytes }) => untilClosed(bytes, abort.signal),
      () => undefined,
    );
    item.running = { abort, done };
    return await given;
  }

  #read(
    id: DatasetId,
    { leftBy }: Give,
    copies: CopyEngine,
    bases: CopyBases | undefined,
    parent: AbortSignal,
  ): ReturnType<CopyEngine['give']> {
    const { backend, clock } = this.#options;
    return withDeadline(clock, STEP_TIMEOUT_MS, `reading volume ${id}`, parent, async (signal) => {
      const state = await backend.discover(id);
      if (state.kind === 'elsewhere' && leftBy.includes(state.instance)) {
        await backend.seize?.(id, leftBy, signal);
        await backend.detach(id, signal);
      }
      return await copies.give(id, signal, bases);
    });
  }

  #take(id: DatasetId, order: CopyOrder): void {
    const before = this.#items.get(id);
    before?.cancelRetry();
    // The same copy from the same place, as ordered by a new connection.
    if (before !== undefined && isSame(before.order, order)) {
      before.order = order;
      if (before.running === undefined) this.#launch(id, before);
      else if (order.want === 'fetched') this.#report(id, before);
      return;
    }
    const item: Item = {
      ...{
        order,
        state: ABSENT,
        problem: null,
        running: undefined,
        attempt: 0,
        wantsAll: false,
        cancelRetry: () => undefined,
      },
    };
    this.#items.set(id, item);
    before?.running?.abort.abort(new Error('the copy is no longer wanted'));
    this.#launch(id, item, before?.running?.done);
  }

  #forget(id: DatasetId): void {
    const item = this.#items.get(id);
    item?.cancelRetry();
    item?.running?.abort.abort(new Error('the copy is no longer wanted'));
    this.#items.delete(id);
  }

  /** `after`: the end of what ran for an earlier order. */
  #launch(id: DatasetId, item: Item, after: Promise<void> = Promise.resolve()): void {
    if (item.order.want === 'given') return;
    const abort = new AbortController();
    const done = after
      .then(() => this.#approach(id, item, abort.signal))
      .then(
        (state) => {
          Object.assign(item, { state, problem: null, attempt: 0, running: undefined });
        },
        (error: unknown) => {
          Object.assign(item, { state: ABSENT, problem: problemOf(error, item.order, id), running: undefined });
          if (this.#items.get(id) === item) this.#retryLater(id, item);
        },
      )
      .then(() => {
        if (this.#items.get(id) === item) this.#report(id, item);
      });
    item.running = { abort, done };
  }

  async #approach(id: DatasetId, item: Item, signal: AbortSignal): Promise<CopyReport['state']> {
    signal.throwIfAborted();
    const { backend, between } = this.#options;
    const { order } = item;
    if (backend.copies === undefined) throw new Error(`the backend ${backend.kind} cannot copy volumes`);
    if (order.want === 'fetched') return await this.#fetch(id, item, order, backend.copies, signal);
    await between(id, () => this.#clear(id, signal));
    return ABSENT;
  }

  async #fetch(
    id: DatasetId,
    item: Item,
    { copy, from }: Fetch,
    copies: CopyEngine,
    signal: AbortSignal,
  ): Promise<CopyReport['state']> {
    const { clock, open, logger } = this.#options;
    const present = await copies.find(id);
    if (present?.id === copy) return { kind: 'whole', sizeBytes: present.sizeBytes };
    const startedMs = clock.monotonicMs();
    let toldMs = startedMs;
    let bytes = 0;
    let totalBytes: number | null = null;
    const onBytes = (soFar: number): void => {
      bytes = soFar;
      if (clock.monotonicMs() - toldMs < PROGRESS_MS) return;
      toldMs = clock.monotonicMs();
      Object.assign(item, { state: { kind: 'part', bytes, totalBytes }, problem: null });
      if (this.#items.get(id) === item) this.#report(id, item);
    };
    const bases = item.wantsAll ? undefined : await this.#bases(id, copies);
    const opened = await open({ datasetId: id, copy, from, bases, onBytes, signal });
    const { against, along } = opened;
    totalBytes = opened.totalBytes;
    item.wantsAll ||= against !== null || along !== null;
    try {
      await copies.fetch(id, copy, opened.record, opened.bytes, signal, along);
    } finally {
      opened.bytes.destroy();
    }
    const made = await copies.find(id);
    if (made?.id !== copy) throw new Error('the copy is not there');
    const ms = Math.round(clock.monotonicMs() - startedMs);
    logger.info({ dataset: id, from: from.node, bytes, against, along, ms }, 'volume copied');
    return { kind: 'whole', sizeBytes: made.sizeBytes };
  }

  /** Not knowing them costs time, not the copy. */
  async #bases(id: DatasetId, copies: CopyEngine): Promise<CopyBases | undefined> {
    try {
      return await copies.bases(id);
    } catch (error) {
      this.#options.logger.warn({ dataset: id, reason: errorText(error) }, 'all of a volume is copied');
      return undefined;
    }
  }

  /** Only what nobody has is destroyed: a volume that is attached is in use, whatever the records say. */
  async #clear(id: DatasetId, parent: AbortSignal): Promise<void> {
    const { backend, clock, logger } = this.#options;
    await withDeadline(clock, STEP_TIMEOUT_MS, `destroying what is left of volume ${id}`, parent, async (signal) => {
      const { kind } = await backend.discover(id);
      if (kind !== 'absent' && kind !== 'detached') {
        const text = `volume ${id} was moved to another pool, and here an old copy of it is ${kind}: unmount it by hand`;
        throw new BackendError('conflict', text);
      }
      await backend.destroy(id, signal);
      if (kind === 'detached') logger.info({ dataset: id }, 'old copy of a volume destroyed');
    });
  }

  #retryLater(id: DatasetId, item: Item): void {
    const delayMs = backoffMs(RETRY, item.attempt, this.#options.random);
    item.attempt += 1;
    item.cancelRetry();
    item.cancelRetry = this.#options.clock.timer(delayMs, () => {
      if (this.#items.get(id) === item && item.running === undefined) this.#launch(id, item);
    });
  }

  #report(id: DatasetId, { order, state, problem, running }: Item): void {
    this.#options.report({
      datasetId: id,
      order: order.order,
      ...(order.want === 'cleared' ? {} : { copy: order.copy }),
      busy: running !== undefined,
      state,
      problem: problem === null ? null : { code: problem.code, message: problem.message.slice(0, LONGEST_TEXT) },
    });
  }
}

function untilClosed(bytes: Readable, signal: AbortSignal): Promise<void> {
  const end = (): void => void bytes.destroy(signal.reason as Error);
  return new Promise((resolve) => {
    bytes.once('close', () => {
      signal.removeEventListener('abort', end);
      resolve();
    });
    // Whoever reads is told; there may be nobody.
    bytes.on('error', () => undefined);
    if (signal.aborted) end();
    else signal.addEventListener('abort', end, { once: true });
  });
}

function isSame(one: CopyOrder, other: CopyOrder): boolean {
  if (one.want !== other.want) return false;
  if (one.want === 'cleared' || other.want === 'cleared') return true;
  if (one.want === 'fetched' && other.want === 'fetched')
    return one.copy === other.copy && one.from.host === other.from.host && one.from.port === other.from.port;
  return one.want === 'given' && other.want === 'given' && one.copy === other.copy && one.to === other.to;
}

function problemOf(error: unknown, { want }: CopyOrder, id: DatasetId): Problem {
  if (error instanceof BackendError) return { code: error.code, message: error.message };
  const what = want === 'fetched' ? 'copying' : 'clearing';
  return { code: 'backend_failed', message: `${what} volume ${id} failed: ${errorText(error)}` };
}

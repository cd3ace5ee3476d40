import type { Report, SnapshotOrder, SnapshotReport } from '../api/agent-channel.ts';
import { type BackoffPolicy, backoffMs } from '../kit/backoff.ts';
import type { Clock } from '../kit/clock.ts';
import { errorText } from '../kit/coded-error.ts';
import { withDeadline } from '../kit/deadline.ts';
import { failpoint } from '../kit/failpoint.ts';
import { type DatasetId, parseDatasetId, parseSnapshotId, type SnapshotId } from '../kit/ids.ts';
import { KeyedQueue } from '../kit/keyed-queue.ts';
import type { Logger } from '../kit/logger.ts';
import type { Problem } from '../model/volume-state.ts';
import { type Backend, BackendError, type SnapshotEngine } from './backends/backend.ts';
import { nextSnapshotStep, type SnapshotStep } from './snapshot-transitions.ts';

/** Waits after a step that failed, as for datasets. */
const RETRY: BackoffPolicy = { firstMs: 100, factor: 4, longestMs: 10_000 };
/** A step is told to give up after this long. */
const STEP_TIMEOUT_MS = 300_000;
/** A step that takes longer than this is reported as slow, so that nobody waits without knowing why. */
const SLOW_STEP_MS = 20_000;
const LONGEST_TEXT = 4000;

export interface SnapshotConvergenceOptions {
  readonly backend: Backend;
  /** Runs work while no step of the dataset is under way. */
  readonly between: <T>(id: DatasetId, work: () => Promise<T>) => Promise<T>;
  readonly clock: Clock;
  readonly random: () => number;
  readonly logger: Logger;
  readonly report: (report: SnapshotReport) => void;
}

interface Item {
  order: SnapshotOrder;
  state: SnapshotReport['state'];
  /** Whether `state` was seen; while it was not, nothing may be concluded from it. */
  known: boolean;
  /** Whether it was seen to be there under the present order. */
  wasPresent: boolean;
  problem: Problem | null;
  running: boolean;
  /** Whether something happened during a run that the run may have missed. */
  again: boolean;
  attempt: number;
  cancelRetry: () => void;
}

/** Its dataset is not here, so it is not tried again until that comes: no clock would help. */
class DatasetNotHere extends BackendError {}

/** Takes and destroys snapshots as ordered: each by itself, and never while a step of its dataset is under way. */
export class SnapshotConvergence {
  readonly #options: SnapshotConvergenceOptions;
  readonly #items = new Map<SnapshotId, Item>();
  readonly #running = new Set<Promise<void>>();
  readonly #approaches = new KeyedQueue<SnapshotId>();

  constructor(options: SnapshotConvergenceOptions) {
    this.#options = options;
  }

  takeOrders(orders: readonly SnapshotOrder[], withdrawn: readonly string[]): void {
    for (const text of withdrawn) {
      const id = parseSnapshotId(text);
      if (id !== undefined) this.#forget(id);
    }
    for (const order of orders) {
      const id = parseSnapshotId(order.snapshotId);
      if (id === undefined) continue;
      const before = this.#items.get(id);
      before?.cancelRetry();
      if (before?.running === true) {
        Object.assign(before, { order, wasPresent: false, attempt: 0, again: true });
        continue;
      }
      const item: Item = {
        ...{ order, state: { kind: 'absent' }, known: false, wasPresent: false, problem: null },
        ...{ running: false, again: false, attempt: 0, cancelRetry: () => undefined },
      };
      this.#items.set(id, item);
      this.#launch(id, item);
    }
  }

  /** The connection is gone: steps under way end, and no new one begins. */
  forgetOrders(): void {
    for (const id of this.#items.keys()) this.#forget(id);
  }

  /** A dataset came to rest: snapshots that wait for it go on, or tell that they no longer can. */
  noteReport({ datasetId, busy }: Report): void {
    if (busy) return;
    for (const [id, item] of this.#items) {
      if (item.order.want !== 'taken' || item.order.datasetId !== datasetId) continue;
      if (item.running) item.again = true;
      else if (item.problem !== null) this.#launch(id, item);
    }
  }

  /** Resolves when no step is under way. */
  async idle(): Promise<void> {
    while (this.#running.size > 0) await Promise.all(this.#running);
  }

  #forget(id: SnapshotId): void {
    const item = this.#items.get(id);
    item?.cancelRetry();
    this.#items.delete(id);
  }

  #launch(id: SnapshotId, item: Item): void {
    item.cancelRetry();
    const work = this.#advance(id, item);
    this.#running.add(work);
    void work.finally(() => this.#running.delete(work));
  }

  async #advance(id: SnapshotId, item: Item): Promise<void> {
    item.running = true;
    do {
      item.again = false;
      // An order that was taken back leaves its step running; one that comes after it waits for its end.
      const problem = await this.#approaches.run(id, () => this.#approach(id, item));
      item.problem = problem ?? null;
      // Not while its order was changed meanwhile: then the next round tells.
      if (problem !== undefined && !item.again && !(problem instanceof DatasetNotHere)) this.#retryLater(id, item);
    } while (item.again && this.#items.get(id) === item);
    item.running = false;
    if (this.#items.get(id) === item) this.#options.report(this.#reportOf(id, item));
  }

  /** Takes the step that the order asks for, if any; undefined when the order is fulfilled. */
  async #approach(id: SnapshotId, item: Item): Promise<Problem | undefined> {
    const { order } = item;
    let what: SnapshotStep | 'look at' = 'look at';
    try {
      const engine = this.#options.backend.snapshots;
      if (engine === undefined) return this.#withoutEngine(id, item);
      await look(engine, id, item);
      const step = nextSnapshotStep(order.want, item.state.kind, item.wasPresent);
      if (step === 'nothing') return undefined;
      what = step;
      await this.#step(engine, id, item, order);
      await look(engine, id, item);
      if (nextSnapshotStep(order.want, item.state.kind, item.wasPresent) === 'nothing') return undefined;
      throw new Error(`the snapshot is ${item.state.kind} as before`);
    } catch (error) {
      const problem = problemOf(error, what, id);
      this.#options.logger.warn(
        { snapshot: id, step: what, code: problem.code, reason: problem.message },
        'step failed',
      );
      return problem;
    }
  }

  async #step(engine: SnapshotEngine, id: SnapshotId, item: Item, order: SnapshotOrder): Promise<void> {
    const { clock, between, logger } = this.#options;
    const what = `${order.want === 'taken' ? 'take' : 'destroy'} snapshot ${id}`;
    const startedMs = clock.monotonicMs();
    const cancelSlow = clock.timer(SLOW_STEP_MS, () => {
      item.problem = { code: 'in_progress', message: `${what} has been under way for ${SLOW_STEP_MS / 1000} s.` };
      if (this.#items.get(id) === item) this.#options.report(this.#reportOf(id, item));
    });
    const within = (work: (signal: AbortSignal) => Promise<void>): Promise<void> =>
      withDeadline(clock, STEP_TIMEOUT_MS, what, undefined, work);
    try {
      if (order.want === 'destroyed') await within((signal) => engine.destroy(id, signal));
      else {
        const datasetId = parseDatasetId(order.datasetId);
        if (datasetId === undefined) throw new Error(`"${order.datasetId}" is no dataset`);
        await between(datasetId, async () => {
          await this.#requireHere(id, datasetId);
          failpoint('agent.snapshot.before');
          await within(async (signal) => void (await engine.take(id, datasetId, signal)));
          failpoint('agent.snapshot.after');
        });
      }
    } finally {
      cancelSlow();
    }
    logger.info({ snapshot: id, step: what, ms: Math.round(clock.monotonicMs() - startedMs) }, 'step done');
  }

  async #requireHere(id: SnapshotId, datasetId: DatasetId): Promise<void> {
    const { kind } = await this.#options.backend.discover(datasetId);
    if (kind === 'attached' || kind === 'mounted') return;
    const text = `Snapshot ${id} is taken once dataset ${datasetId} is attached to this node; now it is ${kind}.`;
    throw new DatasetNotHere('in_progress', text);
  }

  /** What was never taken is gone as soon as that is asked for. */
  #withoutEngine(id: SnapshotId, item: Item): Problem | undefined {
    Object.assign(item, { state: { kind: 'absent' }, known: true });
    if (item.order.want === 'destroyed') return undefined;
    const { kind } = this.#options.backend;
    const message = `The backend ${kind} of this node has no snapshots, so ${id} is not taken. Delete it.`;
    return { code: 'no_such_profile', message };
  }

  #retryLater(id: SnapshotId, item: Item): void {
    const delayMs = backoffMs(RETRY, item.attempt, this.#options.random);
    item.attempt += 1;
    item.cancelRetry();
    item.cancelRetry = this.#options.clock.timer(delayMs, () => {
      if (item.running) item.again = true;
      else if (this.#items.get(id) === item) this.#launch(id, item);
    });
  }

  #reportOf(id: SnapshotId, { order, known, running, state, problem }: Item): SnapshotReport {
    return {
      snapshotId: id,
      order: order.order,
      busy: running || !known,
      state,
      problem: problem === null ? null : { code: problem.code, message: problem.message.slice(0, LONGEST_TEXT) },
    };
  }
}

async function look(engine: SnapshotEngine, id: SnapshotId, item: Item): Promise<void> {
  item.known = false;
  const found = await engine.find(id);
  item.state = found === undefined ? { kind: 'absent' } : { kind: 'present', ...found };
  item.wasPresent ||= found !== undefined;
  item.known = true;
}

function problemOf(error: unknown, step: SnapshotStep | 'look at', id: SnapshotId): Problem {
  if (error instanceof BackendError) return error;
  return { code: 'backend_failed', message: `${step} of snapshot ${id} failed: ${errorText(error)}` };
}

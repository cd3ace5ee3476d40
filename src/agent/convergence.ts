import { availableParallelism } from 'node:os';
import type { Order, Report } from '../api/agent-channel.ts';
import { type BackoffPolicy, backoffMs } from '../kit/backoff.ts';
import type { Clock } from '../kit/clock.ts';
import { errorText } from '../kit/coded-error.ts';
import { withDeadline } from '../kit/deadline.ts';
import { failpoint } from '../kit/failpoint.ts';
import { type DatasetId, parseDatasetId } from '../kit/ids.ts';
import { KeyedQueue } from '../kit/keyed-queue.ts';
import type { Logger } from '../kit/logger.ts';
import { Turns } from '../kit/turns.ts';
import type { Problem, VolumeState } from '../model/volume-state.ts';
import { type Backend, BackendError } from './backends/backend.ts';
import { performStep } from './perform-step.ts';
import { type Growth, isTooSmall, plan, type Step } from './transitions.ts';

/** Waits after a step that failed; a step that succeeds is followed by the next at once. */
const RETRY: BackoffPolicy = { firstMs: 100, factor: 4, longestMs: 10_000 };
/** A step is told to give up after this long. */
const STEP_TIMEOUT_MS = 300_000;
/** A step that takes longer than this is reported as slow, so that nobody waits without knowing why. */
const SLOW_STEP_MS = 20_000;
/**
 * A burst of orders is worked off by turns. A dataset that is deleted before its turn is never made, and mkfs or mount of
 * hundreds do not get into each other's way. Who hangs leaves its place to others.
 */
const TURNS = { atOnce: Math.max(8, 2 * availableParallelism()), turnMs: 1000 };
const LONGEST_TEXT = 4000;

export interface ConvergenceOptions {
  readonly backend: Backend;
  /** Who on this node uses a dataset, in words, or undefined. A used dataset is never unmounted. */
  readonly usedBy: (id: DatasetId) => string | undefined;
  readonly clock: Clock;
  readonly random: () => number;
  readonly logger: Logger;
  readonly report: (report: Report) => void;
}

interface Item {
  order: Order | undefined;
  state: VolumeState;
  /** Whether `state` was seen; while it was not, nothing may be concluded from it. */
  known: boolean;
  problem: Problem | null;
  running: boolean;
  work: Promise<void> | undefined;
  attempt: number;
  cancelRetry: () => void;
}

/** Brings each dataset of this node to what was ordered: one step at a time for each, all of them at once. */
export class Convergence {
  readonly #options: ConvergenceOptions;
  readonly #items = new Map<DatasetId, Item>();
  readonly #running = new Set<Promise<void>>();
  readonly #steps = new KeyedQueue<DatasetId>();
  readonly #turns: Turns;

  constructor(options: ConvergenceOptions) {
    this.#options = options;
    this.#turns = new Turns(TURNS, options.clock);
  }

  /** Looks at what this node has. Called once, before the first hello. */
  async start(): Promise<void> {
    await this.#options.backend.recover();
    await this.lookAnew();
  }

  /** Forgets what was known and looks at what this node has. Only without a connection and while nothing is under way. */
  async lookAnew(): Promise<void> {
    this.#items.clear();
    for (const [id, state] of await this.#options.backend.listHere())
      Object.assign(this.#item(id), { state, known: true });
  }

  /** What hello has to list: everything this node has, or is just doing something about. */
  has(): Report[] {
    const reports: Report[] = [];
    for (const [id, item] of this.#items) {
      const here = item.state.kind === 'attached' || item.state.kind === 'mounted';
      if (here || item.running || !item.known) reports.push(this.#reportOf(id, item));
    }
    return reports;
  }

  /** Orders of a new connection: those that are not among them no longer hold. */
  replaceOrders(orders: readonly Order[]): void {
    this.forgetOrders();
    this.takeOrders(orders, []);
  }

  takeOrders(orders: readonly Order[], withdrawn: readonly string[]): void {
    for (const text of withdrawn) {
      const id = parseDatasetId(text);
      const item = id === undefined ? undefined : this.#items.get(id);
      if (id === undefined || item === undefined) continue;
      item.order = undefined;
      item.cancelRetry();
      if (!item.running) this.#forgetIfNotHere(id, item);
    }
    for (const order of orders) {
      const id = parseDatasetId(order.datasetId);
      if (id === undefined) continue;
      const item = this.#item(id);
      item.order = order;
      item.attempt = 0;
      item.cancelRetry();
      if (!item.running) this.#launch(id, item, !item.known);
    }
  }

  /** The connection is gone: steps under way end, and no new one begins. */
  forgetOrders(): void {
    for (const [id, item] of this.#items) {
      item.order = undefined;
      item.cancelRetry();
      if (!item.running) this.#forgetIfNotHere(id, item);
    }
  }

  /** What this node has of a dataset once no step of it is under way. */
  async settled(id: DatasetId): Promise<VolumeState | undefined> {
    for (let item = this.#items.get(id); item !== undefined; item = this.#items.get(id)) {
      if (item.work === undefined) return item.state;
      await item.work;
    }
    return undefined;
  }

  /** Runs `work` while no step of the dataset is under way; its steps wait for it. */
  between<T>(id: DatasetId, work: () => Promise<T>): Promise<T> {
    return this.#steps.run(id, work);
  }

  /** What this node has and how it fares, for its own status page. */
  *overview(): Iterable<{ id: DatasetId; state: VolumeState; problem: Problem | null; busy: boolean }> {
    for (const [id, { state, problem, running }] of this.#items) yield { id, state, problem, busy: running };
  }

  /** Datasets that are mounted here. */
  *mounted(): Iterable<DatasetId> {
    for (const [id, { state }] of this.#items) if (state.kind === 'mounted') yield id;
  }

  /** Resolves when no step is under way. */
  async idle(): Promise<void> {
    while (this.#running.size > 0) await Promise.all(this.#running);
  }

  #item(id: DatasetId): Item {
    let item = this.#items.get(id);
    if (item === undefined) {
      item = {
        order: undefined,
        state: { kind: 'absent' },
        known: false,
        problem: null,
        running: false,
        work: undefined,
        attempt: 0,
        cancelRetry: () => undefined,
      };
      this.#items.set(id, item);
    }
    return item;
  }

  #launch(id: DatasetId, item: Item, lookFirst: boolean): void {
    item.running = true;
    const work = this.#turns
      .run(() => this.#advance(id, item, lookFirst))
      .catch((error: unknown) => {
        this.#failed(id, item, problemOf(error, 'look', id));
        this.#options.report(this.#reportOf(id, item));
      });
    item.work = work;
    this.#running.add(work);
    void work.finally(() => {
      this.#running.delete(work);
      if (item.work === work) item.work = undefined;
    });
  }

  async #advance(id: DatasetId, item: Item, lookFirst: boolean): Promise<void> {
    let growth: Growth = 'untried';
    /** Why it is mounted with less room than ordered: a volume that cannot grow is used all the same. */
    let tooSmall: Problem | undefined;
    try {
      if (lookFirst) await this.#look(id, item);
      while (item.order !== undefined) {
        const next = plan(item.order, item.state, growth);
        if (next.kind === 'nothing') {
          if (tooSmall === undefined || !isTooSmall(item.order, item.state)) item.problem = null;
          else this.#failed(id, item, tooSmall);
          break;
        }
        if (next.kind === 'blocked') {
          this.#failed(id, item, { code: next.code, message: next.message });
          break;
        }
        const { order, state } = item;
        const grows = isTooSmall(order, state) && (next.step === 'grow' || next.step === 'unmount');
        const problem = await this.#step(id, item, next.step, order);
        if (problem === undefined) continue;
        if (!grows || !item.known) {
          this.#failed(id, item, problem);
          break;
        }
        const wantsUnmount = next.step === 'grow' && state.kind === 'mounted' && problem.code === 'volume_in_use';
        growth = wantsUnmount ? 'offline' : 'failed';
        tooSmall = problem;
      }
    } finally {
      item.running = false;
    }
    this.#options.report(this.#reportOf(id, item));
    if (item.order === undefined) this.#forgetIfNotHere(id, item);
  }

  /** Undefined when the step was done. */
  async #step(id: DatasetId, item: Item, step: Step, order: Order): Promise<Problem | undefined> {
    const { clock, logger } = this.#options;
    const before = item.state.kind;
    const startedMs = clock.monotonicMs();
    const cancelSlow = clock.timer(SLOW_STEP_MS, () => {
      const message = `${step} of dataset ${id} has been under way for ${SLOW_STEP_MS / 1000} s.`;
      item.problem = { code: 'in_progress', message };
      this.#options.report(this.#reportOf(id, item));
    });
    let failure: unknown;
    try {
      if (step === 'unmount') this.#refuseIfUsed(id);
      await this.#steps.run(id, () =>
        withDeadline(clock, STEP_TIMEOUT_MS, `${step} of dataset ${id}`, undefined, async (signal) => {
          if (step !== 'seize') failpoint(`agent.${step}.before`);
          await performStep(this.#options.backend, step, id, order, signal);
          if (step !== 'seize') failpoint(`agent.${step}.after`);
        }),
      );
    } catch (error) {
      failure = error;
    } finally {
      cancelSlow();
    }
    const lookFailure = await this.#look(id, item).then(
      () => undefined,
      (error: unknown) => error,
    );
    failure ??= lookFailure;
    // A step that changes nothing would be taken again at once, for ever.
    const unchanged = step === 'grow' ? isTooSmall(order, item.state) : item.state.kind === before;
    if (item.known && unchanged) failure ??= new Error(`the volume is ${before} as before`);
    const ms = Math.round((clock.monotonicMs() - startedMs) * 10) / 10;
    if (failure === undefined) {
      // Where growth failed, to unmount and mount again is no success that would make the next try come sooner.
      if (!isTooSmall(order, item.state)) item.attempt = 0;
      item.problem = null;
      logger.info({ dataset: id, step, ms }, 'step done');
      return undefined;
    }
    const problem = problemOf(failure, step, id);
    logger.warn({ dataset: id, step, ms, code: problem.code, reason: problem.message }, 'step failed');
    return problem;
  }

  #refuseIfUsed(id: DatasetId): void {
    const user = this.#options.usedBy(id);
    if (user === undefined) return;
    throw new BackendError(
      'volume_in_use',
      `Dataset ${id} is used on this node by ${user}: it is unmounted when that ends.`,
    );
  }

  async #look(id: DatasetId, item: Item): Promise<void> {
    item.known = false;
    item.state = await this.#options.backend.discover(id);
    item.known = true;
  }

  #failed(id: DatasetId, item: Item, problem: Problem): void {
    item.problem = problem;
    item.cancelRetry();
    const delayMs = backoffMs(RETRY, item.attempt, this.#options.random);
    item.attempt += 1;
    item.cancelRetry = this.#options.clock.timer(delayMs, () => {
      if (!item.running && item.order !== undefined) this.#launch(id, item, true);
    });
  }

  #reportOf(id: DatasetId, item: Item): Report {
    const { problem } = item;
    return {
      datasetId: id,
      order: item.order?.order ?? 0,
      busy: item.running || !item.known,
      state: item.state,
      problem: problem === null ? null : { code: problem.code, message: problem.message.slice(0, LONGEST_TEXT) },
    };
  }

  #forgetIfNotHere(id: DatasetId, item: Item): void {
    if (item.known && item.state.kind !== 'attached' && item.state.kind !== 'mounted') this.#items.delete(id);
  }
}

function problemOf(error: unknown, step: Step | 'look', id: DatasetId): Problem {
  if (error instanceof BackendError) return { code: error.code, message: error.message };
  return { code: 'backend_failed', message: `${step} of dataset ${id} failed: ${errorText(error)}` };
}

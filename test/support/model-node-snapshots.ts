import { nextSnapshotStep, type SnapshotStep } from '../../src/agent/snapshot-transitions.ts';
import type { ControlMessage, SnapshotOrder, SnapshotReport } from '../../src/api/agent-channel.ts';
import type { DatasetId, NodeId, SnapshotId } from '../../src/kit/ids.ts';
import type { ModelDisks } from './model-disks.ts';

type SnapshotOrders = Extract<ControlMessage, { kind: 'snapshotOrders' }>;

export interface NodeSnapshotsParts {
  readonly nodeId: NodeId;
  readonly pool: string;
  readonly disks: ModelDisks;
  readonly isBusy: (dataset: DatasetId) => boolean;
  readonly send: (report: SnapshotReport) => void;
}

/** The snapshots of a model node: they obey orders by the agent's own table, and never while their dataset is in a step. */
export class NodeSnapshots {
  readonly #parts: NodeSnapshotsParts;
  readonly #orders = new Map<SnapshotId, SnapshotOrder>();
  /** Orders under which their snapshot was seen to be there. */
  readonly #fulfilled = new WeakSet<SnapshotOrder>();
  readonly #running = new Map<SnapshotId, { readonly step: SnapshotStep; readonly dataset: DatasetId | undefined }>();

  constructor(parts: NodeSnapshotsParts) {
    this.#parts = parts;
  }

  forgetOrders(): void {
    this.#orders.clear();
  }

  powerOff(): void {
    this.#running.clear();
  }

  /** Whether a snapshot of a dataset is being taken. */
  isTaking(dataset: DatasetId): boolean {
    return [...this.#running.values()].some((running) => running.dataset === dataset);
  }

  takeOrders({ orders, withdrawn }: SnapshotOrders): void {
    for (const id of withdrawn) this.#orders.delete(id as SnapshotId);
    for (const order of orders) {
      const id = order.snapshotId as SnapshotId;
      this.#orders.set(id, order);
      this.#tellUnlessStepFollows(id);
    }
  }

  /** A dataset came to rest. */
  noteRest(dataset: DatasetId): void {
    for (const [id, order] of this.#orders) {
      if (order.want === 'taken' && order.datasetId === dataset) this.#tellUnlessStepFollows(id);
    }
  }

  begin(id: SnapshotId): boolean {
    const step = this.#next(id);
    const order = this.#orders.get(id);
    if (step === undefined || order === undefined || this.#running.has(id)) return false;
    this.#running.set(id, { step, dataset: order.want === 'taken' ? (order.datasetId as DatasetId) : undefined });
    return true;
  }

  finish(id: SnapshotId): boolean {
    const running = this.#running.get(id);
    if (running === undefined) return false;
    const { nodeId, pool, disks } = this.#parts;
    disks.performOnSnapshot(running.step, nodeId, pool, id, running.dataset);
    this.#running.delete(id);
    this.#tellUnlessStepFollows(id);
    return true;
  }

  #tellUnlessStepFollows(id: SnapshotId): void {
    const order = this.#orders.get(id);
    if (order === undefined || this.#next(id) !== undefined) return;
    const { pool, disks, send } = this.#parts;
    const sizeBytes = disks.snapshotIn(pool, id);
    const state: SnapshotReport['state'] =
      sizeBytes === undefined ? { kind: 'absent' } : { kind: 'present', sizeBytes, takenAtMs: 0 };
    send({ snapshotId: id, order: order.order, busy: this.#running.has(id), state, problem: null });
  }

  #next(id: SnapshotId): SnapshotStep | undefined {
    const order = this.#orders.get(id);
    const { nodeId, pool, disks, isBusy } = this.#parts;
    if (order === undefined || this.#running.has(id)) return undefined;
    const state = disks.snapshotIn(pool, id) === undefined ? 'absent' : 'present';
    if (state === 'present') this.#fulfilled.add(order);
    const step = nextSnapshotStep(order.want, state, this.#fulfilled.has(order));
    if (step === 'nothing') return undefined;
    if (order.want === 'destroyed') return step;
    const dataset = order.datasetId as DatasetId;
    const kind = disks.stateOn(nodeId, pool, dataset);
    return !isBusy(dataset) && (kind === 'attached' || kind === 'mounted') ? step : undefined;
  }
}

import type { ControlMessage } from '../../src/api/agent-channel.ts';
import type { CopyOrder, CopyReport } from '../../src/api/copy-channel.ts';
import type { DatasetId, NodeId } from '../../src/kit/ids.ts';
import type { ModelDisks, ReadVolume } from './model-disks.ts';

type CopyOrders = Extract<ControlMessage, { kind: 'copyOrders' }>;

export interface NodeCopiesParts {
  readonly pool: string;
  readonly disks: ModelDisks;
  /** Asks another node for a copy; undefined when it does not give it. */
  readonly ask: (from: NodeId, id: DatasetId, copy: string) => ReadVolume | undefined;
  readonly send: (report: CopyReport) => void;
}

/** The copies of a model node. What is being copied when the connection ends goes on, as in the agent. */
export class NodeCopies {
  readonly #parts: NodeCopiesParts;
  readonly #orders = new Map<DatasetId, CopyOrder>();
  readonly #running = new Map<DatasetId, ReadVolume | 'clearing'>();
  #connected = false;

  constructor(parts: NodeCopiesParts) {
    this.#parts = parts;
  }

  lostConnection(): void {
    this.#connected = false;
    for (const [id, { want }] of this.#orders) if (want === 'cleared') this.#forget(id);
  }

  /** Power off, or a kill: nothing runs any more. */
  powerOff(): void {
    this.#connected = false;
    for (const id of [...this.#orders.keys()]) this.#forget(id);
  }

  takeOrders({ full, orders, withdrawn }: CopyOrders): void {
    this.#connected = true;
    const named = new Set<string>(orders.map(({ datasetId }) => datasetId));
    for (const id of full ? [...this.#orders.keys()] : (withdrawn as DatasetId[])) if (!named.has(id)) this.#forget(id);
    for (const order of orders) {
      const id = order.datasetId as DatasetId;
      const before = this.#orders.get(id);
      if (before === undefined || !isSame(before, order)) this.#running.delete(id);
      this.#orders.set(id, order);
    }
  }

  /** What a node that asks for it gets. */
  give(id: DatasetId, copy: string, to: NodeId): ReadVolume | undefined {
    const order = this.#orders.get(id);
    if (!this.#connected || order?.want !== 'given' || order.copy !== copy || order.to !== to) return undefined;
    const read = this.#parts.disks.read(this.#parts.pool, id);
    return read === undefined ? undefined : { content: read.content, sizeBytes: read.sizeBytes };
  }

  begin(id: DatasetId): boolean {
    const order = this.#orders.get(id);
    if (order === undefined || order.want === 'given' || this.#running.has(id)) return false;
    const { disks, pool, ask } = this.#parts;
    if (order.want === 'cleared') {
      this.#running.set(id, 'clearing');
      return true;
    }
    if (disks.copyIn(pool, id) === order.copy) return this.#tell(id, order);
    // As after restoring old records: a person has to look at what is in the way.
    if (disks.isThere(pool, id)) return false;
    const read = ask(order.from.node as NodeId, id, order.copy);
    if (read === undefined) return false;
    this.#running.set(id, read);
    return true;
  }

  finish(id: DatasetId): boolean {
    const running = this.#running.get(id);
    const order = this.#orders.get(id);
    if (running === undefined || order === undefined || order.want === 'given') return false;
    this.#running.delete(id);
    const { disks, pool } = this.#parts;
    if (order.want === 'cleared') {
      if (disks.clear(pool, id)) this.#tell(id, order);
    } else if (running !== 'clearing') {
      disks.publish(pool, id, order.copy, running);
      this.#tell(id, order);
    }
    return true;
  }

  /** True when there was something to tell: orders are answered once. */
  #tell(id: DatasetId, order: CopyOrder): boolean {
    if (!this.#connected) return false;
    const { disks, pool, send } = this.#parts;
    if (order.want === 'fetched' && disks.copyIn(pool, id) !== order.copy) return false;
    const state: CopyReport['state'] =
      order.want === 'fetched' ? { kind: 'whole', sizeBytes: disks.sizeOf(pool, id) } : { kind: 'absent' };
    const copy = order.want === 'cleared' ? {} : { copy: order.copy };
    send({ datasetId: id, order: order.order, ...copy, busy: false, state, problem: null });
    this.#forget(id);
    return true;
  }

  #forget(id: DatasetId): void {
    this.#orders.delete(id);
    this.#running.delete(id);
  }
}

function isSame(one: CopyOrder, other: CopyOrder): boolean {
  const { order: _, ...rest } = one;
  const { order: __, ...others } = other;
  return JSON.stringify(rest) === JSON.stringify(others);
}

import type { ControlMessage } from '../api/agent-channel.ts';
import type { DatasetId, NodeId, SnapshotId } from '../kit/ids.ts';
import type { CopyWish } from './copy-orders.ts';
import type { PresentWant } from './decide-reports.ts';
import { OrderBook } from './order-book.ts';
import type { SnapshotWish, Wish } from './orders.ts';

/** One connection of one node agent: what it was ordered to do, and the way to tell it. */
export class AgentSession {
  readonly nodeId: NodeId;
  readonly #send: (message: ControlMessage) => void;
  readonly #datasets = new OrderBook<DatasetId, Wish>();
  readonly #snapshots = new OrderBook<SnapshotId, SnapshotWish>();
  readonly #copies = new OrderBook<DatasetId, CopyWish>();
  #ready = false;
  #takesCopies = false;

  constructor(nodeId: NodeId, send: (message: ControlMessage) => void) {
    this.nodeId = nodeId;
    this.#send = send;
  }

  /** Whether the full orders were sent: until then nothing else may be. */
  get ready(): boolean {
    return this.#ready;
  }

  /** What the present order for a dataset wants, if `order` is its number. */
  presentWant(dataset: DatasetId, order: number): PresentWant {
    return this.#datasets.presentWant(dataset, order);
  }

  presentSnapshotWant(snapshot: SnapshotId, order: number): SnapshotWish['want'] | undefined {
    return this.#snapshots.presentWant(snapshot, order);
  }

  presentCopyWant(dataset: DatasetId, order: number): CopyWish['want'] | undefined {
    return this.#copies.presentWant(dataset, order);
  }

  /** Notes that the present order was confirmed: it confirms nothing more, and the same wish is a new order. */
  fulfil(dataset: DatasetId): void {
    this.#datasets.fulfil(dataset);
  }

  fulfilSnapshot(snapshot: SnapshotId): void {
    this.#snapshots.fulfil(snapshot);
  }

  fulfilCopy(dataset: DatasetId): void {
    this.#copies.fulfil(dataset);
  }

  /** Sends every order at once, as the answer to `hello`. */
  sendAll(wishes: readonly (readonly [DatasetId, Wish])[]): void {
    const orders = wishes.map(([id, wish]) => this.#datasets.note(id, wish));
    this.#ready = true;
    this.#send({ kind: 'orders', full: true, orders, withdrawn: [] });
  }

  /** Sends the orders that differ from what the agent was told; undefined withdraws an order. */
  sendChanged(wishes: readonly (readonly [DatasetId, Wish | undefined])[]): void {
    const { orders, withdrawn } = this.#datasets.change(wishes);
    if (orders.length > 0 || withdrawn.length > 0) this.#send({ kind: 'orders', full: false, orders, withdrawn });
  }

  sendSnapshots(wishes: readonly (readonly [SnapshotId, SnapshotWish | undefined])[]): void {
    const { orders, withdrawn } = this.#snapshots.change(wishes);
    if (orders.length > 0 || withdrawn.length > 0) this.#send({ kind: 'snapshotOrders', orders, withdrawn });
  }

  /** Whether the orders about copies were sent: until then no others of them may be. */
  get takesCopies(): boolean {
    return this.#takesCopies;
  }

  /** All orders about copies, as the second answer to `hello`. */
  sendAllCopies(wishes: readonly (readonly [DatasetId, CopyWish])[]): void {
    const orders = wishes.map(([id, wish]) => this.#copies.note(id, wish));
    this.#takesCopies = true;
    this.#send({ kind: 'copyOrders', full: true, orders, withdrawn: [] });
  }

  sendCopies(wishes: readonly (readonly [DatasetId, CopyWish | undefined])[]): void {
    const { orders, withdrawn } = this.#copies.change(wishes);
    if (orders.length > 0 || withdrawn.length > 0) this.#send({ kind: 'copyOrders', full: false, orders, withdrawn });
  }
}

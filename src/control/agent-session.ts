import { isDeepStrictEqual } from 'node:util';
import type { ControlMessage, Order } from '../api/agent-channel.ts';
import type { DatasetId, NodeId } from '../kit/ids.ts';
import type { PresentWant } from './decide-reports.ts';
import type { Wish } from './orders.ts';

/** One connection of one node agent: what it was ordered to do, and the way to tell it. */
export class AgentSession {
  readonly nodeId: NodeId;
  readonly #send: (message: ControlMessage) => void;
  readonly #orders = new Map<DatasetId, Order>();
  readonly #fulfilled = new Set<DatasetId>();
  #lastOrder = 0;
  #ready = false;

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
    const present = this.#orders.get(dataset);
    return present?.order === order && !this.#fulfilled.has(dataset) ? present.want : undefined;
  }

  /**
   * Notes that the present order was confirmed. It confirms nothing more, and the same wish is a new order: the node may have
   * been given the dataset and asked for it again before either could be announced.
   */
  fulfil(dataset: DatasetId): void {
    if (this.#orders.has(dataset)) this.#fulfilled.add(dataset);
  }

  /** Sends every order at once, as the answer to `hello`. */
  sendAll(wishes: readonly (readonly [DatasetId, Wish])[]): void {
    const orders = wishes.map(([id, wish]) => this.#note(id, wish));
    this.#ready = true;
    this.#send({ kind: 'orders', full: true, orders, withdrawn: [] });
  }

  /** Sends the orders that differ from what the agent was told; undefined withdraws an order. */
  sendChanged(wishes: readonly (readonly [DatasetId, Wish | undefined])[]): void {
    const orders: Order[] = [];
    const withdrawn: DatasetId[] = [];
    for (const [id, wish] of wishes) {
      const present = this.#orders.get(id);
      if (wish === undefined) {
        this.#fulfilled.delete(id);
        if (this.#orders.delete(id)) withdrawn.push(id);
      } else if (present === undefined || this.#fulfilled.has(id) || !isSameWish(wish, present)) {
        orders.push(this.#note(id, wish));
      }
    }
    if (orders.length > 0 || withdrawn.length > 0) this.#send({ kind: 'orders', full: false, orders, withdrawn });
  }

  #note(id: DatasetId, wish: Wish): Order {
    this.#lastOrder += 1;
    const order: Order = { ...wish, order: this.#lastOrder };
    this.#orders.set(id, order);
    this.#fulfilled.delete(id);
    return order;
  }
}

function isSameWish(wish: Wish, present: Order): boolean {
  return isDeepStrictEqual({ ...wish, order: present.order }, present);
}

import type { EventsQuery } from '../api/events.ts';
import type { DatasetInspection } from '../api/inspection.ts';
import type { NodeInspection } from '../api/nodes.ts';
import type { PoolView } from '../api/storage.ts';

/** Something that changed, as subscribers see it. */
export type ClusterEvent =
  | { readonly name: 'dataset'; readonly data: DatasetInspection }
  | { readonly name: 'node'; readonly data: NodeInspection }
  | { readonly name: 'storage'; readonly data: PoolView };

/** Takes events; returns false when it wants no more. */
export type Subscriber = (event: ClusterEvent, id: string) => boolean;

/** Events kept for clients that come back with `Last-Event-ID`. */
const KEPT_EVENTS = 1000;

/** Gives every change to those who asked for it. */
export class EventHub {
  readonly #prefix: string;
  readonly #all = new Set<Subscriber>();
  readonly #byDataset = new Map<string, Set<Subscriber>>();
  #kept: { readonly id: number; readonly event: ClusterEvent }[] = [];
  #last = 0;

  /** `prefix` tells the events of this run of the service from those of another. */
  constructor(prefix: string) {
    this.#prefix = prefix;
  }

  /** Id of the newest event. */
  get lastId(): string {
    return `${this.#prefix}-${this.#last}`;
  }

  get subscribers(): number {
    let count = this.#all.size;
    for (const set of this.#byDataset.values()) count += set.size;
    return count;
  }

  /** Subscribes to everything, or to one dataset. The returned function ends it. */
  subscribe(query: EventsQuery, subscriber: Subscriber): () => void {
    const set = query.dataset_id === undefined ? this.#all : this.#datasetSet(query.dataset_id);
    set.add(subscriber);
    return () => {
      set.delete(subscriber);
      if (query.dataset_id !== undefined && set.size === 0 && this.#byDataset.get(query.dataset_id) === set) {
        this.#byDataset.delete(query.dataset_id);
      }
    };
  }

  publish(event: ClusterEvent): void {
    this.#last += 1;
    this.#kept.push({ id: this.#last, event });
    if (this.#kept.length >= 2 * KEPT_EVENTS) this.#kept = this.#kept.slice(-KEPT_EVENTS);
    const id = this.lastId;
    if (event.name === 'dataset') this.#deliver(this.#byDataset.get(event.data.configuration.dataset_id), event, id);
    this.#deliver(this.#all, event, id);
  }

  /** Events after `lastEventId`, or undefined when they are no longer known. */
  since(lastEventId: string): { readonly id: string; readonly event: ClusterEvent }[] | undefined {
    const match = /^(.+)-(\d+)$/.exec(lastEventId);
    if (match?.[1] !== this.#prefix) return undefined;
    const last = Number(match[2]);
    if (last > this.#last || last < this.#last - this.#kept.length) return undefined;
    return this.#kept.filter(({ id }) => id > last).map(({ id, event }) => ({ id: `${this.#prefix}-${id}`, event }));
  }

  #deliver(subscribers: Set<Subscriber> | undefined, event: ClusterEvent, id: string): void {
    for (const subscriber of subscribers ?? []) {
      if (!subscriber(event, id)) subscribers?.delete(subscriber);
    }
  }

  #datasetSet(id: string): Set<Subscriber> {
    let set = this.#byDataset.get(id);
    if (set === undefined) {
      set = new Set();
      this.#byDataset.set(id, set);
    }
    return set;
  }
}

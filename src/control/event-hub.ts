import type { EventsQuery } from '../api/events.ts';
import type { DatasetInspection } from '../api/inspection.ts';
import type { NodeInspection } from '../api/nodes.ts';
import type { SnapshotView } from '../api/snapshots.ts';
import type { PoolView } from '../api/storage.ts';

/** Something that changed, as subscribers see it. */
export type ClusterEvent =
  | { readonly name: 'dataset'; readonly data: DatasetInspection }
  | { readonly name: 'node'; readonly data: NodeInspection }
  | { readonly name: 'storage'; readonly data: PoolView }
  | { readonly name: 'snapshot'; readonly data: SnapshotView };

/** Takes events; returns false when it wants no more. */
export type Subscriber = (event: ClusterEvent, id: string) => boolean;

/** Events kept for clients that come back with `Last-Event-ID`. */
const KEPT_EVENTS = 1000;

/** Gives every change to those who asked for it. */
export class EventHub {
  readonly #prefix: string;
  readonly #all = new Set<Subscriber>();
  /** By `dataset/<id>` and `snapshot/<id>`. */
  readonly #bySubject = new Map<string, Set<Subscriber>>();
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
    for (const set of this.#bySubject.values()) count += set.size;
    return count;
  }

  /** Subscribes to everything, or to one dataset or snapshot. The returned function ends it. */
  subscribe(query: EventsQuery, subscriber: Subscriber): () => void {
    const subject = subjectAsked(query);
    const set = subject === undefined ? this.#all : this.#setOf(subject);
    set.add(subscriber);
    return () => {
      set.delete(subscriber);
      if (subject !== undefined && set.size === 0 && this.#bySubject.get(subject) === set) {
        this.#bySubject.delete(subject);
      }
    };
  }

  publish(event: ClusterEvent): void {
    this.#last += 1;
    this.#kept.push({ id: this.#last, event });
    if (this.#kept.length >= 2 * KEPT_EVENTS) this.#kept = this.#kept.slice(-KEPT_EVENTS);
    const id = this.lastId;
    const subject = subjectOf(event);
    if (subject !== undefined) this.#deliver(this.#bySubject.get(subject), event, id);
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

  #setOf(subject: string): Set<Subscriber> {
    let set = this.#bySubject.get(subject);
    if (set === undefined) {
      set = new Set();
      this.#bySubject.set(subject, set);
    }
    return set;
  }
}

function subjectAsked({ dataset_id, snapshot_id }: EventsQuery): string | undefined {
  if (dataset_id !== undefined) return `dataset/${dataset_id}`;
  return snapshot_id === undefined ? undefined : `snapshot/${snapshot_id}`;
}

function subjectOf(event: ClusterEvent): string | undefined {
  if (event.name === 'dataset') return `dataset/${event.data.configuration.dataset_id}`;
  return event.name === 'snapshot' ? `snapshot/${event.data.snapshot_id}` : undefined;
}

import type { Clock } from '../kit/clock.ts';
import type { DatasetId, NodeId } from '../kit/ids.ts';
import type { AgentSession } from './agent-session.ts';
import { BySession } from './by-session.ts';
import type { ClusterView } from './cluster.ts';
import type { DurableDeployment } from './durable-deployment.ts';
import type { EventHub } from './event-hub.ts';
import { type Wish, wishFor } from './orders.ts';
import { inspectionOf } from './views.ts';

interface DatasetAnnouncerParts {
  readonly durable: DurableDeployment;
  readonly cluster: ClusterView;
  readonly sessions: ReadonlyMap<NodeId, AgentSession>;
  readonly events: EventHub;
  readonly clock: Clock;
}

/** Tells nodes and subscribers what became of datasets, once it is durable. */
export class DatasetAnnouncer {
  readonly #parts: DatasetAnnouncerParts;
  /** The session that was last ordered something about a dataset. */
  readonly #ordered = new Map<DatasetId, AgentSession>();

  constructor(parts: DatasetAnnouncerParts) {
    this.#parts = parts;
  }

  /** Sends a node that has joined all its orders; tells about which datasets that could be. */
  orderAll(session: AgentSession): readonly DatasetId[] {
    const { durable, cluster } = this.#parts;
    const { deployment } = durable;
    const { nodeId } = session;
    const concerned = deployment.concerning(nodeId).filter(({ id }) => !durable.pending(id));
    const wishes: [DatasetId, Wish][] = [];
    for (const dataset of concerned) {
      const wish = wishFor(nodeId, dataset, deployment.lease(dataset.id), cluster);
      if (wish === undefined) continue;
      wishes.push([dataset.id, wish]);
      // The node that had it before may not have been told yet that it is rid of it.
      const before = this.#ordered.get(dataset.id);
      if (before !== session) before?.sendChanged([[dataset.id, undefined]]);
      this.#ordered.set(dataset.id, session);
    }
    session.sendAll(wishes);
    return concerned.map(({ id }) => id);
  }

  /** Sends the orders that follow from durable changes, and tells the subscribers. */
  announce(ids: readonly DatasetId[]): void {
    const { durable, cluster, sessions } = this.#parts;
    const orders = new BySession<DatasetId, Wish>();
    const note = (session: AgentSession, id: DatasetId, wish: Wish | undefined): void => {
      if (session.ready) orders.note(session, id, wish);
    };
    for (const id of new Set(ids)) {
      const dataset = durable.deployment.dataset(id);
      // A later change of this dataset is not durable yet; it is announced when it is.
      if (dataset === undefined || durable.pending(id)) continue;
      const holder = dataset.storage.kind === 'held' ? sessions.get(dataset.storage.node) : undefined;
      const before = this.#ordered.get(id);
      if (before !== undefined && before !== holder) note(before, id, undefined);
      if (holder === undefined) this.#ordered.delete(id);
      else {
        this.#ordered.set(id, holder);
        note(holder, id, wishFor(holder.nodeId, dataset, durable.deployment.lease(id), cluster));
      }
      this.publish(id);
    }
    orders.send((session, wishes) => session.sendChanged(wishes));
  }

  /** Tells the subscribers how a dataset stands. */
  publish(id: DatasetId): void {
    const { durable, cluster, events, clock } = this.#parts;
    const { deployment } = durable;
    const dataset = deployment.dataset(id);
    if (dataset === undefined || durable.pending(id)) return;
    const [lease, copies] = [deployment.lease(id), deployment.copies.get(id)];
    events.publish({ name: 'dataset', data: inspectionOf(dataset, lease, copies, cluster, clock.wallMs()) });
  }
}

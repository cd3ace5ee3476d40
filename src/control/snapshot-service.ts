import type { SnapshotReport } from '../api/agent-channel.ts';
import type { CreateSnapshotBody, SnapshotView } from '../api/snapshots.ts';
import { type NewUuid, type NodeId, parseSnapshotId, type SnapshotId } from '../kit/ids.ts';
import type { Snapshot } from '../model/snapshot.ts';
import type { AgentSession } from './agent-session.ts';
import { BySession } from './by-session.ts';
import type { Decision } from './changes.ts';
import type { Cluster, LiveNode } from './cluster.ts';
import type { Reply } from './decide-datasets.ts';
import {
  decideCreateSnapshot,
  decideDeleteSnapshot,
  decideSnapshotReports,
  type SnapshotReportOn,
} from './decide-snapshots.ts';
import type { DurableDeployment } from './durable-deployment.ts';
import type { EventHub } from './event-hub.ts';
import { type SnapshotWish, snapshotWish } from './orders.ts';
import { snapshotView } from './snapshot-views.ts';

interface SnapshotServiceParts {
  readonly durable: DurableDeployment;
  readonly cluster: Cluster;
  readonly sessions: ReadonlyMap<NodeId, AgentSession>;
  readonly events: EventHub;
  readonly newUuid: NewUuid;
  /** Makes durable what is decided and announces it. */
  readonly perform: <R>(decide: () => Decision<R>) => Promise<R>;
}

/** The part of the control service that is about snapshots: requests, orders, reports, events. */
export class SnapshotService {
  readonly #parts: SnapshotServiceParts;
  /** The session that was last ordered something about a snapshot. */
  readonly #ordered = new Map<SnapshotId, AgentSession>();

  constructor(parts: SnapshotServiceParts) {
    this.#parts = parts;
  }

  create(body: CreateSnapshotBody): Promise<Reply<SnapshotView>> {
    const { durable, cluster, newUuid, perform } = this.#parts;
    return perform(() => decideCreateSnapshot(durable.deployment, cluster, body, newUuid));
  }

  remove(id: string): Promise<Reply<SnapshotView>> {
    const { durable, cluster, perform } = this.#parts;
    return perform(() => decideDeleteSnapshot(durable.deployment, cluster, id));
  }

  view(snapshot: Snapshot): SnapshotView {
    return snapshotView(snapshot, this.#parts.durable.deployment, this.#parts.cluster);
  }

  /** A node told how snapshots stand. */
  async report(session: AgentSession, node: LiveNode, reports: readonly SnapshotReport[]): Promise<void> {
    const { durable, cluster, perform } = this.#parts;
    const known = reports.flatMap((report): SnapshotReportOn[] => {
      const id = parseSnapshotId(report.snapshotId);
      const snapshot = id === undefined ? undefined : durable.deployment.snapshots.get(id);
      if (id === undefined || snapshot === undefined) return [];
      const want = session.presentSnapshotWant(id, report.order);
      if (want !== undefined) cluster.seeSnapshot(node.id, id, report.problem);
      return [{ snapshot, report, want }];
    });
    await perform(() => {
      const decision = decideSnapshotReports(node, known, durable.deployment, cluster);
      for (const id of decision.reply) session.fulfilSnapshot(id);
      return decision;
    });
    this.announce(known.map(({ snapshot }) => snapshot.id));
  }

  /** A node has its full orders: it gets those about snapshots. */
  joined(node: LiveNode): void {
    const { snapshots } = this.#parts.durable.deployment;
    this.announce([...snapshots.orderedTo(node.id), ...snapshots.doomedIn(node.pool)].map(({ id }) => id));
  }

  /** A node's connection ended: what any node of its pool can do, another one does. */
  left(session: AgentSession): void {
    const ids = [...this.#ordered].flatMap(([id, ordered]) => (ordered === session ? id : []));
    for (const id of ids) this.#ordered.delete(id);
    this.announce([...ids, ...this.#parts.durable.deployment.snapshots.orderedTo(session.nodeId).map(({ id }) => id)]);
  }

  /** Sends the orders that follow from durable changes, and tells the subscribers. */
  announce(ids: readonly SnapshotId[]): void {
    const { durable, events } = this.#parts;
    const orders = new BySession<SnapshotId, SnapshotWish>();
    for (const id of new Set(ids)) {
      const snapshot = durable.deployment.snapshots.get(id);
      // A later change of it is not durable yet; it is announced when it is.
      if (snapshot === undefined || durable.pendingSnapshot(id)) continue;
      const session = this.#sessionFor(snapshot);
      const before = this.#ordered.get(id);
      if (before !== undefined && before !== session) orders.note(before, id, undefined);
      if (session === undefined) this.#ordered.delete(id);
      else {
        this.#ordered.set(id, session);
        orders.note(session, id, snapshotWish(snapshot));
      }
      events.publish({ name: 'snapshot', data: this.view(snapshot) });
    }
    orders.send((session, wishes) => session.sendSnapshots(wishes));
  }

  /** Who is to act on it. A snapshot that is in a pool can be destroyed by any node of the pool. */
  #sessionFor(snapshot: Snapshot): AgentSession | undefined {
    const { cluster, sessions } = this.#parts;
    const { id, storage } = snapshot;
    if (snapshotWish(snapshot) === undefined || (storage.kind !== 'ordered' && storage.kind !== 'taken')) {
      return undefined;
    }
    const current = (nodeId: NodeId): AgentSession | undefined => {
      const session = sessions.get(nodeId);
      return session?.ready === true && cluster.node(nodeId)?.pool === storage.pool ? session : undefined;
    };
    if (storage.kind === 'ordered') return current(storage.node);
    const present = this.#ordered.get(id);
    if (present !== undefined && current(present.nodeId) === present) return present;
    for (const nodeId of sessions.keys()) {
      const session = current(nodeId);
      if (session !== undefined) return session;
    }
    return undefined;
  }
}

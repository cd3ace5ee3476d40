import type { CopyReport } from '../api/copy-channel.ts';
import { type DatasetId, type NodeId, parseDatasetId } from '../kit/ids.ts';
import type { AgentSession } from './agent-session.ts';
import { BySession } from './by-session.ts';
import { type Change, type Decision, datasetOf } from './changes.ts';
import type { Cluster, LiveNode } from './cluster.ts';
import { type CopyWish, copyWishes } from './copy-orders.ts';
import { type CopyReportOn, decideCopyReports } from './decide-copies.ts';
import type { DurableDeployment } from './durable-deployment.ts';

interface CopyServiceParts {
  readonly durable: DurableDeployment;
  readonly cluster: Cluster;
  readonly sessions: ReadonlyMap<NodeId, AgentSession>;
  /** Makes durable what is decided and announces it. */
  readonly perform: <R>(decide: () => Decision<R>) => Promise<R>;
  /** Tells subscribers how a dataset stands. */
  readonly publish: (id: DatasetId) => void;
}

/** The part of the control service that is about copies of volumes into other pools: orders and reports. */
export class CopyService {
  readonly #parts: CopyServiceParts;
  /** The sessions that have an order about copies of a dataset. */
  readonly #ordered = new Map<DatasetId, Set<AgentSession>>();

  constructor(parts: CopyServiceParts) {
    this.#parts = parts;
  }

  /** A node told how copies stand. */
  async report(session: AgentSession, node: LiveNode, reports: readonly CopyReport[]): Promise<void> {
    const { durable, cluster, perform, publish } = this.#parts;
    const { deployment } = durable;
    const known = reports.flatMap((report): CopyReportOn[] => {
      const id = parseDatasetId(report.datasetId);
      const dataset = id === undefined ? undefined : deployment.dataset(id);
      const want = id === undefined ? undefined : session.presentCopyWant(id, report.order);
      if (id === undefined || dataset === undefined || want === undefined) return [];
      cluster.seeCopy(node.id, id, report);
      const copies = deployment.copies.get(id);
      return copies === undefined ? [] : [{ dataset, copies, report, want }];
    });
    let changes: readonly Change[] = [];
    await perform(() => {
      const decision = decideCopyReports(node, known, cluster);
      changes = decision.changes;
      for (const change of changes) {
        const id = datasetOf(change);
        if (id !== undefined) session.fulfilCopy(id);
      }
      return decision;
    });
    const changed = new Set(changes.map(datasetOf));
    for (const { dataset } of known) if (!changed.has(dataset.id)) publish(dataset.id);
  }

  /** A node has its full orders: it gets those about copies. */
  joined(session: AgentSession, node: LiveNode): void {
    if (node.copyPort === null) return;
    const { durable, cluster } = this.#parts;
    const concerned = durable.deployment.copies.concerning(node.id, node.pool).map(({ datasetId }) => datasetId);
    const wishes = concerned.flatMap((id): [DatasetId, CopyWish][] => {
      const dataset = durable.deployment.dataset(id);
      if (dataset === undefined || durable.pending(id)) return [];
      const wish = copyWishes(dataset, durable.deployment, cluster).get(node.id);
      if (wish === undefined) return [];
      this.#sessionsOf(id).add(session);
      return [[id, wish]];
    });
    session.sendAllCopies(wishes);
    this.announce(concerned);
  }

  /** A node's connection ended: others may have to do what it did. */
  left(session: AgentSession, node: LiveNode): void {
    for (const [id, sessions] of this.#ordered) {
      sessions.delete(session);
      if (sessions.size === 0) this.#ordered.delete(id);
    }
    this.announce(
      this.#parts.durable.deployment.copies.concerning(node.id, node.pool).map(({ datasetId }) => datasetId),
    );
  }

  /** Sends the orders that follow from durable changes. */
  announce(ids: readonly DatasetId[]): void {
    const { durable, cluster, sessions } = this.#parts;
    const orders = new BySession<DatasetId, CopyWish>();
    for (const id of new Set(ids)) {
      const dataset = durable.deployment.dataset(id);
      // A later change of it is not durable yet; it is announced when it is.
      if (dataset === undefined || durable.pending(id)) continue;
      const wishes = copyWishes(dataset, durable.deployment, cluster);
      const before = this.#ordered.get(id) ?? new Set<AgentSession>();
      for (const session of [...before]) {
        if (wishes.has(session.nodeId) && sessions.get(session.nodeId) === session) continue;
        orders.note(session, id, undefined);
        before.delete(session);
      }
      for (const [node, wish] of wishes) {
        const session = sessions.get(node);
        if (session?.takesCopies !== true) continue;
        this.#sessionsOf(id).add(session);
        orders.note(session, id, wish);
      }
      if (this.#ordered.get(id)?.size === 0) this.#ordered.delete(id);
    }
    orders.send((session, wishes) => session.sendCopies(wishes));
  }

  #sessionsOf(id: DatasetId): Set<AgentSession> {
    const sessions = this.#ordered.get(id) ?? new Set<AgentSession>();
    this.#ordered.set(id, sessions);
    return sessions;
  }
}

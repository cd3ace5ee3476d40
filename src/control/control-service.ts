import type { Hello, Report, SnapshotReport, StorageReport } from '../api/agent-channel.ts';
import type { CopyReport } from '../api/copy-channel.ts';
import type { CreateDatasetBody, DatasetConfiguration, MoveDatasetBody } from '../api/datasets.ts';
import type { LeaseBody } from '../api/leases.ts';
import type { NodeDeathView } from '../api/nodes.ts';
import type { RestoredConfirmation } from '../api/restored.ts';
import type { ResizeDatasetBody } from '../api/snapshots.ts';
import type { Clock } from '../kit/clock.ts';
import { failpoint } from '../kit/failpoint.ts';
import { type DatasetId, type NewUuid, type NodeId, parseDatasetId, type SnapshotId } from '../kit/ids.ts';
import type { Logger } from '../kit/logger.ts';
import type { NodeDeath } from '../model/node-death.ts';
import type { AgentSession } from './agent-session.ts';
import { type Decision, datasetOf, snapshotOf } from './changes.ts';
import { Cluster, type ClusterView, type LiveNode, nodeOf } from './cluster.ts';
import { CopyService } from './copy-service.ts';
import { DatasetAnnouncer } from './dataset-announcer.ts';
import {
  type Conditions,
  decideCreate,
  decideDelete,
  decideMove,
  decideResize,
  type Reply,
} from './decide-datasets.ts';
import { decideDeclareDead } from './decide-death.ts';
import { decideAcquireLease, decideExpireLease, decideReleaseLease } from './decide-leases.ts';
import { decideJoin, decideReports, type ReportOn } from './decide-reports.ts';
import { decideConfirmRestored, decideDoubt } from './decide-restored.ts';
import { settlePending } from './decide-snapshots.ts';
import type { DeploymentView } from './deployment.ts';
import { DurableDeployment } from './durable-deployment.ts';
import { EventHub } from './event-hub.ts';
import { FencePolicy } from './fence-policy.ts';
import type { FenceWatch } from './fence-watch.ts';
import { LeaseClock } from './lease-clock.ts';
import type { MesosFence } from './mesos/fence-steps.ts';
import { MesosFencing } from './mesos/mesos-fencing.ts';
import { settleCopies } from './settle-copies.ts';
import { SnapshotService } from './snapshot-service.ts';
import { StorageAnnouncements } from './storage-announcements.ts';
import { poolView } from './storage-view.ts';
import type { Json, Store } from './store/store.ts';
import { nodeInspection } from './views.ts';

/** A node's facts are dropped this long after its last message (contract 1.5). */
const STATE_LIFETIME_MS = 120_000;

export interface ControlServiceOptions {
  readonly store: Store;
  readonly entries: ReadonlyMap<string, Json>;
  readonly clock: Clock;
  readonly newUuid: NewUuid;
  readonly logger: Logger;
  /** Nodes that were silent for so long are declared dead where their storage cuts them off, milliseconds; never unless given. */
  readonly fenceAfterMs?: number;
  /** At what word of a Mesos master they are; without it no master is listened to. */
  readonly mesosFence?: MesosFence;
  /** Called when the store fails: what is in memory can no longer be made durable, so the process has to end. */
  readonly onFatal: (error: unknown) => void;
}

/** Whose word a declaration of a node as dead follows. */
type DeclaredBy = 'operator' | 'silence' | 'mesos';

/** Volumes of one node that the records do not know: more than a node can have are invented. */
const MOST_UNKNOWN = 200_000;

/**
 * The control service without its listeners: takes requests and reports, decides, makes durable, then answers, orders and
 * announces. Nothing that is not on disk is ever shown to anybody.
 */
export class ControlService {
  readonly events: EventHub;
  readonly snapshots: SnapshotService;
  readonly copies: CopyService;
  /** Whom to tell what a Mesos master says; undefined unless it is to be listened to. */
  readonly mesos: MesosFencing | undefined;
  readonly #durable: DurableDeployment;
  readonly #cluster = new Cluster();
  readonly #clock: Clock;
  readonly #newUuid: NewUuid;
  readonly #logger: Logger;
  readonly #leases: LeaseClock;
  readonly #sessions = new Map<NodeId, AgentSession>();
  readonly #datasets: DatasetAnnouncer;
  readonly #expiries = new Map<NodeId, () => void>();
  readonly #storage: StorageAnnouncements;
  readonly #fencing: readonly FenceWatch[];
  readonly #declarations = { operator: 0, silence: 0, mesos: 0 };

  constructor(options: ControlServiceOptions) {
    this.#clock = options.clock;
    this.#newUuid = options.newUuid;
    this.#logger = options.logger;
    this.events = new EventHub(options.newUuid());
    this.#storage = new StorageAnnouncements(options.clock, (pool) => {
      this.#announceStorage(pool).catch(() => undefined);
    });
    this.#leases = new LeaseClock(options.clock, (lease) => {
      // A store that fails has been told to `onFatal`.
      this.#perform(() => decideExpireLease(this.deployment, lease, this.#clock.wallMs())).catch(() => undefined);
    });
    this.#durable = new DurableDeployment(options.store, options.entries, options.onFatal);
    for (const lease of this.deployment.leases()) this.#leases.watch(lease);
    this.#datasets = new DatasetAnnouncer({
      ...{ durable: this.#durable, cluster: this.#cluster, sessions: this.#sessions, events: this.events },
      clock: options.clock,
    });
    this.snapshots = new SnapshotService({
      ...{ durable: this.#durable, cluster: this.#cluster, sessions: this.#sessions, events: this.events },
      ...{ newUuid: options.newUuid, perform: (decide) => this.#perform(decide) },
    });
    this.copies = new CopyService({
      ...{ durable: this.#durable, cluster: this.#cluster, sessions: this.#sessions },
      ...{ perform: (decide) => this.#perform(decide), publish: (id) => this.#datasets.publish(id) },
    });
    const { fenceAfterMs: afterMs, mesosFence: fence } = options;
    const fencing = { deployment: this.deployment, cluster: this.#cluster, clock: this.#clock, logger: this.#logger };
    const silence =
      afterMs === undefined
        ? undefined
        : new FencePolicy({ ...fencing, afterMs, declare: (node) => this.declareDead(node, 'silence') });
    this.mesos =
      fence === undefined
        ? undefined
        : new MesosFencing({ ...fencing, fence, declare: (node) => this.declareDead(node, 'mesos') });
    this.#fencing = [silence, this.mesos].filter((one) => one !== undefined);
    const doubts = decideDoubt(this.deployment, options.clock.wallMs());
    if (doubts.length > 0) {
      options.logger.warn({ datasets: doubts.length }, 'the records are an old copy: where volumes are is in doubt');
      this.#perform(() => ({ reply: undefined, changes: doubts })).catch(() => undefined);
    }
    // A kill may have come between the end of a dataset and that of the snapshots that waited for it.
    const waited = [...this.deployment.snapshots.all()].map(({ datasetId }) => datasetId);
    this.#perform(() => ({
      reply: undefined,
      changes: settlePending(this.deployment, this.#cluster, waited),
    })).catch(() => undefined);
    this.#settleCopies([...this.deployment.copies.all()].map(({ datasetId }) => datasetId)).catch(() => undefined);
    for (const watch of this.#fencing) watch.begin();
  }

  get deployment(): DeploymentView {
    return this.#durable.deployment;
  }

  get cluster(): ClusterView {
    return this.#cluster;
  }

  createDataset(body: CreateDatasetBody, conditions: Conditions): Promise<Reply<DatasetConfiguration>> {
    return this.#perform(() => decideCreate(this.deployment, this.#cluster, body, conditions, this.#newUuid));
  }

  moveDataset(id: string, body: MoveDatasetBody, conditions: Conditions): Promise<Reply<DatasetConfiguration>> {
    return this.#perform(() => decideMove(this.deployment, this.#cluster, id, body, conditions));
  }

  resizeDataset(id: string, body: ResizeDatasetBody, conditions: Conditions): Promise<Reply<DatasetConfiguration>> {
    return this.#perform(() => decideResize(this.deployment, id, body, conditions));
  }

  deleteDataset(id: string, conditions: Conditions): Promise<Reply<DatasetConfiguration>> {
    return this.#perform(() => decideDelete(this.deployment, this.#cluster, id, conditions));
  }

  acquireLease(body: LeaseBody): Promise<Reply<LeaseBody>> {
    return this.#perform(() => decideAcquireLease(this.deployment, body, this.#clock.wallMs()));
  }

  releaseLease(id: string): Promise<Reply<LeaseBody>> {
    return this.#perform(() => decideReleaseLease(this.deployment, id, this.#clock.wallMs()));
  }

  /** How many nodes were declared dead since the start, by whose word. */
  get declarations(): Readonly<Record<DeclaredBy, number>> {
    return this.#declarations;
  }

  /** An operator, or one of our own watches, says that a node is dead. */
  declareDead(uuid: string, by: DeclaredBy = 'operator'): Promise<Reply<NodeDeathView>> {
    const world = { wallMs: this.#clock.wallMs(), newUuid: this.#newUuid };
    return this.#perform(() => {
      const decision = decideDeclareDead(this.deployment, this.#cluster, uuid, world);
      for (const change of decision.changes) {
        if (change.kind !== 'nodeDead') continue;
        const { node } = change.death;
        // What it last said is of no account any more.
        this.#cluster.expire(node);
        this.#expiries.get(node)?.();
        this.#expiries.delete(node);
        this.#declarations[by] += 1;
        this.#logger.warn({ node, by }, 'node was declared dead');
      }
      return decision;
    });
  }

  /** An operator says that every node that could have a volume is connected, or off. */
  confirmRestored(): Promise<RestoredConfirmation> {
    return this.#perform(() => decideConfirmRestored(this.deployment, this.#cluster));
  }

  /** The declaration of a node as dead that `hello` does not acknowledge: such a node must not join. */
  unacknowledgedDeath(id: NodeId, hello: Hello): NodeDeath | undefined {
    const death = this.deployment.death(id);
    return death === undefined || death.declaration === hello.acknowledges ? undefined : death;
  }

  /** Reads, and answers once everything that was read is durable. */
  async read<T>(view: () => T): Promise<T> {
    const seen = view();
    await this.#durable.settled();
    return seen;
  }

  /** A node said hello: takes in what it has, gives it what waited for it, and sends its orders. */
  async join(session: AgentSession, hello: Hello): Promise<void> {
    const node = nodeOf(session.nodeId, hello, this.#clock.wallMs());
    this.#expiries.get(node.id)?.();
    this.#expiries.delete(node.id);
    this.#sessions.set(node.id, session);
    this.#cluster.join(node);
    for (const watch of this.#fencing) watch.joined(node.id);
    const known = this.#takeIn(session, hello.has);
    const settled = [
      ...(await this.#commit(() => this.#welcome(node, known))).snapshots,
      ...(await this.#commit(() => decideJoin(this.deployment, this.#cluster, node))).snapshots,
    ];
    if (this.#sessions.get(node.id) !== session) return;
    await this.#durable.settled();
    const concerned = this.#datasets.orderAll(session);
    this.events.publish({ name: 'node', data: nodeInspection(node) });
    this.#announce([...concerned, ...known.map(({ dataset }) => dataset.id)], settled);
    this.snapshots.joined(node);
    this.copies.joined(session, node);
    await this.#settleCopies([
      ...concerned,
      ...this.deployment.freeIn(node.pool).map(({ id }) => id),
      ...this.deployment.copies.concerning(node.id, node.pool).map(({ datasetId }) => datasetId),
    ]);
    this.#logger.info({ node: node.id, host: node.host, datasets: concerned.length }, 'node connected');
  }

  /** A node reported. */
  async report(session: AgentSession, reports: readonly Report[]): Promise<void> {
    const node = this.#cluster.node(session.nodeId);
    if (node === undefined || this.#sessions.get(session.nodeId) !== session) return;
    const known = this.#takeIn(session, reports);
    failpoint('control.reported');
    const { snapshots } = await this.#commit(() => {
      const decision = this.#withTag(decideReports(node, known, this.#cluster));
      for (const id of decision.reply) session.fulfil(id);
      return decision;
    });
    this.#announce(
      known.map(({ dataset }) => dataset.id),
      snapshots,
    );
  }

  /** A node reported on snapshots. */
  async reportSnapshots(session: AgentSession, reports: readonly SnapshotReport[]): Promise<void> {
    const node = this.#cluster.node(session.nodeId);
    if (node === undefined || this.#sessions.get(session.nodeId) !== session) return;
    await this.snapshots.report(session, node, reports);
  }

  /** A node reported on copies of volumes. */
  async reportCopies(session: AgentSession, reports: readonly CopyReport[]): Promise<void> {
    const node = this.#cluster.node(session.nodeId);
    if (node === undefined || this.#sessions.get(session.nodeId) !== session) return;
    await this.copies.report(session, node, reports);
  }

  /** A node measured its pool and its volumes. */
  measured(session: AgentSession, { profiles, figures, volumes }: StorageReport): void {
    const node = this.#cluster.node(session.nodeId);
    if (node === undefined || this.#sessions.get(session.nodeId) !== session) return;
    for (const { datasetId, usedBytes, availableBytes } of volumes) {
      const id = parseDatasetId(datasetId);
      if (id !== undefined) this.#cluster.measureVolume(node.id, id, { usedBytes, availableBytes });
    }
    this.#cluster.measurePool(node.id, { profiles, figures }, this.#clock.wallMs());
    this.#storage.changed(node.pool);
  }

  async #announceStorage(pool: string): Promise<void> {
    const data = await this.read(() => poolView(pool, this.deployment, this.#cluster));
    if (data !== undefined) this.events.publish({ name: 'storage', data });
  }

  heard(session: AgentSession): void {
    if (this.#sessions.get(session.nodeId) === session) this.#cluster.heard(session.nodeId, this.#clock.wallMs());
  }

  /** A node's connection ended. What it reported stays for a while: its volumes stay mounted. */
  leave(session: AgentSession): void {
    const { nodeId } = session;
    if (this.#sessions.get(nodeId) !== session) return;
    this.#sessions.delete(nodeId);
    this.#cluster.disconnected(nodeId);
    const node = this.#cluster.node(nodeId);
    if (node === undefined) return;
    this.events.publish({ name: 'node', data: nodeInspection(node) });
    this.#announce(this.deployment.concerning(nodeId).map(({ id }) => id));
    this.snapshots.left(session);
    this.copies.left(session, node);
    const copied = this.deployment.copies.concerning(nodeId, node.pool).map(({ datasetId }) => datasetId);
    this.#settleCopies(copied).catch(() => undefined);
    const silentMs = Math.max(0, this.#clock.wallMs() - node.lastHeardMs);
    for (const watch of this.#fencing) watch.left(nodeId, silentMs);
    // The wall clock may have jumped since the node was heard.
    const leftMs = node.lastHeardMs + STATE_LIFETIME_MS - this.#clock.wallMs();
    const delayMs = Math.max(0, Math.min(STATE_LIFETIME_MS, leftMs));
    this.#expiries.set(
      nodeId,
      this.#clock.timer(delayMs, () => {
        this.#expiries.delete(nodeId);
        this.#announce(this.#cluster.expire(nodeId));
        this.#logger.warn({ node: nodeId, host: node.host }, 'node not heard for too long: its state was dropped');
      }),
    );
    this.#logger.warn({ node: nodeId, host: node.host }, 'node disconnected');
  }

  /** Stops timers and closes the store once what is under way is durable. */
  async close(): Promise<void> {
    this.#leases.close();
    for (const watch of this.#fencing) watch.close();
    this.#storage.close();
    for (const cancel of this.#expiries.values()) cancel();
    await this.#durable.close();
  }

  async #perform<R>(decide: () => Decision<R>): Promise<R> {
    const { reply, touched, snapshots } = await this.#commit(decide);
    this.#announce(touched, snapshots);
    return reply;
  }

  async #commit<R>(
    decide: () => Decision<R>,
  ): Promise<{ reply: R; touched: readonly DatasetId[]; snapshots: readonly SnapshotId[] }> {
    const decision = decide();
    const touched = decision.changes.flatMap((change) => datasetOf(change) ?? []);
    const written = [this.#durable.write(decision.changes)];
    // What becomes of snapshots that wait follows from what their datasets now are.
    const followUp = settlePending(this.deployment, this.#cluster, touched);
    if (followUp.length > 0) written.push(this.#durable.write(followUp));
    const copies = settleCopies(this.deployment, this.#cluster, touched, this.#newUuid);
    if (copies.length > 0) written.push(this.#durable.write(copies));
    for (const change of decision.changes) {
      if (change.kind === 'lease') this.#leases.watch(change.lease);
      if (change.kind === 'leaseEnded') this.#leases.forget(change.datasetId);
    }
    await Promise.all(written);
    if (decision.changes.length > 0) failpoint('control.committed');
    const snapshots = [...decision.changes, ...followUp].flatMap((change) => snapshotOf(change) ?? []);
    return { reply: decision.reply, touched, snapshots };
  }

  /** What a hello changes durably. A node that was declared dead has let go of everything, or it would not be here. */
  #welcome(node: LiveNode, reports: readonly ReportOn[]): Decision<readonly DatasetId[]> {
    const decision = this.#withTag(decideReports(node, reports, this.#cluster));
    if (this.deployment.death(node.id) === undefined) return decision;
    return { ...decision, changes: [{ kind: 'nodeBack', node: node.id }, ...decision.changes] };
  }

  /** Reports that change what is configured, as after restoring an old copy, give the configuration a new tag. */
  #withTag<R>(decision: Decision<R>): Decision<R> {
    const isConfigured = decision.changes.some(
      (change) =>
        change.kind === 'dataset' && change.dataset.primary !== this.deployment.dataset(change.dataset.id)?.primary,
    );
    if (!isConfigured) return decision;
    const revision = this.deployment.revision + 1;
    return { ...decision, changes: [...decision.changes, { kind: 'revision', revision }] };
  }

  #takeIn(session: AgentSession, reports: readonly Report[]): ReportOn[] {
    return reports.flatMap((report) => {
      const id = parseDatasetId(report.datasetId);
      const dataset = id === undefined ? undefined : this.deployment.dataset(id);
      if (id === undefined) return [];
      if (dataset === undefined && this.#cluster.sightings(session.nodeId) >= MOST_UNKNOWN)
        throw new Error(`the node reports more than ${MOST_UNKNOWN} volumes that nobody knows`);
      this.#cluster.see(session.nodeId, id, report);
      return dataset === undefined ? [] : [{ dataset, report, want: session.presentWant(id, report.order) }];
    });
  }

  /** Sends the orders that follow from durable changes, and tells the subscribers. */
  #announce(ids: readonly DatasetId[], snapshots: readonly SnapshotId[] = []): void {
    this.#datasets.announce(ids);
    const waiting = ids.flatMap((id) => this.deployment.snapshots.pendingOf(id)).map(({ id }) => id);
    this.snapshots.announce([...snapshots, ...waiting]);
    this.copies.announce(ids);
  }

  /** Begins and ends copies of these datasets, as nodes came and went. */
  async #settleCopies(ids: readonly DatasetId[]): Promise<void> {
    const changes = settleCopies(this.deployment, this.#cluster, ids, this.#newUuid);
    if (changes.length > 0) await this.#perform(() => ({ reply: undefined, changes }));
  }
}

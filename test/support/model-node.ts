import { plan } from '../../src/agent/transitions.ts';
import type {
  ControlMessage,
  Hello,
  Order,
  Report,
  SnapshotOrder,
  SnapshotReport,
} from '../../src/api/agent-channel.ts';
import type { CopyReport } from '../../src/api/copy-channel.ts';
import { AgentSession } from '../../src/control/agent-session.ts';
import type { ControlService } from '../../src/control/control-service.ts';
import type { DatasetId, NodeId, SnapshotId } from '../../src/kit/ids.ts';
import type { VolumeState } from '../../src/model/volume-state.ts';
import { helloOf, mountedState } from './fake-agent.ts';
import type { ModelDisks, StepOrder } from './model-disks.ts';
import { NodeCopies, type NodeCopiesParts } from './model-node-copies.ts';
import { NodeSnapshots } from './model-node-snapshots.ts';

/** What a volume gets that nobody gave a size for. */
const DEFAULT_BYTES = 2 ** 27;

interface Connection {
  readonly session: AgentSession;
  /** Sent by the control service and not yet read by the agent. */
  readonly orders: ControlMessage[];
  /** Sent by the agent and not yet read by the control service. */
  readonly reports: (Report[] | SnapshotReport | CopyReport)[];
  work: Promise<void>;
}

/**
 * A node agent as a model: it obeys orders by the agent's own table, one step at a time, and everything between it and the
 * control service takes as long as the test likes. Its backend protects nothing.
 */
export class ModelNode {
  readonly id: NodeId;
  readonly pool: string;
  readonly #disks: ModelDisks;
  readonly #hasCopies: boolean;
  readonly #orders = new Map<DatasetId, Order>();
  readonly #running = new Map<DatasetId, StepOrder>();
  readonly #snapshots: NodeSnapshots;
  readonly copies: NodeCopies;
  #connection: Connection | undefined;

  /** `ask` gets a copy of a volume from another node; without it the node has no part in copies. */
  constructor(id: NodeId, pool: string, disks: ModelDisks, ask: NodeCopiesParts['ask'] | undefined) {
    this.id = id;
    this.pool = pool;
    this.#disks = disks;
    this.#hasCopies = ask !== undefined;
    this.copies = new NodeCopies({
      ...{ pool, disks, ask: ask ?? (() => undefined) },
      send: (report) => void this.#connection?.reports.push(report),
    });
    this.#snapshots = new NodeSnapshots({
      ...{ nodeId: id, pool, disks, isBusy: (dataset) => this.#running.has(dataset) },
      send: (report) => void this.#connection?.reports.push(report),
    });
  }

  get connected(): boolean {
    return this.#connection !== undefined;
  }

  /** The last order the control service sent about a dataset on the present connection, read or not. */
  sentWant(id: DatasetId): Order['want'] | undefined {
    let want = this.#orders.get(id)?.want;
    for (const message of this.#connection?.orders ?? []) {
      if (message.kind !== 'orders') continue;
      if (message.full) want = undefined;
      if (message.withdrawn.includes(id)) want = undefined;
      want = message.orders.findLast(({ datasetId }) => datasetId === id)?.want ?? want;
    }
    return want;
  }

  /** Says hello on a new connection; one that was there is replaced, as after a connection that died unnoticed. */
  join(service: ControlService, onOrder: (order: Order | SnapshotOrder) => void): Promise<void> {
    const before = this.#connection;
    this.#orders.clear();
    this.#snapshots.forgetOrders();
    this.copies.lostConnection();
    const orders: ControlMessage[] = [];
    const session = new AgentSession(this.id, (message) => {
      if (message.kind === 'orders' || message.kind === 'snapshotOrders')
        for (const order of message.orders) onOrder(order);
      orders.push(message);
    });
    const ids = new Set([...this.#disks.idsOn(this.id), ...this.#running.keys()]);
    const copies = this.#hasCopies ? { copies: { port: 1 } } : {};
    let hello: Hello = helloOf({ pool: this.pool, ...copies, has: [...ids].map((id) => this.#report(id)) });
    const death = service.unacknowledgedDeath(this.id, hello);
    if (death !== undefined) {
      this.#running.clear();
      this.#snapshots.powerOff();
      this.copies.powerOff();
      this.#disks.powerOff(this.id);
      hello = { ...hello, has: [], acknowledges: death.declaration };
    }
    const work = service.join(session, hello);
    this.#connection = { session, orders, reports: [], work };
    if (before !== undefined) service.leave(before.session);
    return work;
  }

  /** The connection ends with whatever is under way on it. Steps that run go on. */
  leave(service: ControlService): void {
    if (this.#connection !== undefined) service.leave(this.#connection.session);
    this.forgetConnection();
  }

  forgetConnection(): void {
    this.#connection = undefined;
    this.#orders.clear();
    this.#snapshots.forgetOrders();
    this.copies.lostConnection();
  }

  /** Power off: nothing is attached any more, and no step runs. */
  crash(service: ControlService): void {
    this.leave(service);
    this.#running.clear();
    this.#snapshots.powerOff();
    this.copies.powerOff();
    this.#disks.powerOff(this.id);
  }

  /** The agent reads one message; false when there is none. */
  readOrders(): boolean {
    const message = this.#connection?.orders.shift();
    if (message === undefined) return false;
    if (message.kind === 'snapshotOrders') {
      this.#snapshots.takeOrders(message);
      return true;
    }
    if (message.kind === 'refused') throw new Error(`node ${this.id} was refused: ${message.reason}`);
    if (message.kind === 'copyOrders') {
      this.copies.takeOrders(message);
      return true;
    }
    if (message.full) this.#orders.clear();
    for (const id of message.withdrawn) this.#orders.delete(id as DatasetId);
    for (const order of message.orders) {
      const id = order.datasetId as DatasetId;
      this.#orders.set(id, order);
      // A new order is always answered, also when there is nothing to do or something still runs.
      if (this.#running.has(id) || this.#next(id) === undefined) this.#rest(id);
    }
    return true;
  }

  /** Begins the step that the present order asks for; false when there is none. */
  begin(id: DatasetId): boolean {
    if (this.#running.has(id) || this.#snapshots.isTaking(id)) return false;
    const step = this.#next(id);
    if (step === undefined) return false;
    this.#running.set(id, step);
    return true;
  }

  /** Ends the step under way, and reports when nothing follows; false when none was under way. */
  finish(id: DatasetId): boolean {
    const step = this.#running.get(id);
    if (step === undefined) return false;
    this.#disks.perform(step, this.id, this.pool, id);
    this.#running.delete(id);
    const next = this.#next(id);
    if (next !== undefined) this.#running.set(id, next);
    this.#rest(id);
    return true;
  }

  beginSnapshot(id: SnapshotId): boolean {
    return this.#snapshots.begin(id);
  }

  finishSnapshot(id: SnapshotId): boolean {
    return this.#snapshots.finish(id);
  }

  /** Tells how a dataset stands, whatever is going on. */
  tell(id: DatasetId): void {
    if (this.#orders.has(id)) this.#send([this.#report(id)]);
  }

  /** The control service reads one message; undefined when there is none. */
  deliverReport(service: ControlService): Promise<void> | undefined {
    const connection = this.#connection;
    const reports = connection?.reports.shift();
    if (connection === undefined || reports === undefined) return undefined;
    connection.work = connection.work.then(() =>
      Array.isArray(reports)
        ? service.report(connection.session, reports)
        : 'snapshotId' in reports
          ? service.reportSnapshots(connection.session, [reports])
          : service.reportCopies(connection.session, [reports]),
    );
    return connection.work;
  }

  /** Reports, and lets snapshots go on when nothing runs any more. */
  #rest(id: DatasetId): void {
    this.#send([this.#report(id)]);
    if (!this.#running.has(id)) this.#snapshots.noteRest(id);
  }

  #send(reports: Report[]): void {
    this.#connection?.reports.push(reports);
  }

  #next(id: DatasetId): StepOrder | undefined {
    const order = this.#orders.get(id);
    if (order === undefined) return undefined;
    const planned = plan(order, this.#state(id));
    // A lease taken while the volume was being destroyed asks for it again; for any other dataset it is a loss.
    if (planned.kind === 'blocked' && !this.#disks.mayBeLost(id)) {
      throw new Error(`node ${this.id} is blocked: ${planned.message}`);
    }
    if (planned.kind !== 'step') return undefined;
    const asked = order.want === 'mounted' ? order : undefined;
    const sizeBytes = asked?.sizeBytes ?? DEFAULT_BYTES;
    return { step: planned.step, sizeBytes, source: asked?.source as SnapshotId | undefined };
  }

  #report(id: DatasetId): Report {
    const order = this.#orders.get(id)?.order ?? 0;
    return { datasetId: id, order, busy: this.#running.has(id), state: this.#state(id), problem: null };
  }

  #state(id: DatasetId): VolumeState {
    const kind = this.#disks.stateOn(this.id, this.pool, id);
    const sizeBytes = this.#disks.sizeOf(this.pool, id);
    if (kind === 'absent') return { kind };
    return kind === 'mounted' ? mountedState(id, sizeBytes) : { kind, sizeBytes };
  }
}

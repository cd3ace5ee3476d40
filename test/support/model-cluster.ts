import { isDeepStrictEqual } from 'node:util';
import type { Order, SnapshotOrder } from '../../src/api/agent-channel.ts';
import { ControlService } from '../../src/control/control-service.ts';
import { Deployment, type DeploymentView } from '../../src/control/deployment.ts';
import { type MemoryStore, memoryStore } from '../../src/control/store/memory-store.ts';
import { readDeployment } from '../../src/control/stored-deployment.ts';
import { inspectionOf } from '../../src/control/views.ts';
import {
  type DatasetId,
  type NodeId,
  parseDatasetId,
  parseNodeId,
  parseSnapshotId,
  type SnapshotId,
} from '../../src/kit/ids.ts';
import { silentLogger } from '../../src/kit/logger.ts';
import type { Dataset } from '../../src/model/dataset.ts';
import type { Snapshot } from '../../src/model/snapshot.ts';
import { ManualClock } from './manual-clock.ts';
import { ModelDisks } from './model-disks.ts';
import { ModelNode } from './model-node.ts';

const CLUSTER_ID = '00000000-0000-4000-8000-00000000c1c1';
const NO_CONDITIONS = { tags: undefined, nameUnused: undefined };
/** Two nodes that share a pool, and one with a pool of its own. */
const POOLS = ['shared', 'shared', 'own'];
const MOST_ROUNDS = 1_000;
/** More than any volume has that nobody gave a size for. */
const LARGEST_DEFAULT_BYTES = 2 ** 28;

/** A real control service with model nodes, in one process without sockets. */
export class ModelCluster {
  readonly clock = new ManualClock();
  readonly nodes: readonly ModelNode[];
  readonly ids: DatasetId[] = [];
  readonly snapshotIds: SnapshotId[] = [];
  readonly #disks: ModelDisks;
  readonly #copies: boolean;
  /** Not in the records since they were replaced; a node may be taking one. */
  readonly #forgottenSnapshots: SnapshotId[] = [];
  readonly #underWay = new Set<Promise<unknown>>();
  #store: MemoryStore = memoryStore(CLUSTER_ID);
  #service: ControlService;
  #uuids = 0;
  /** Ids are never used again, whatever becomes of the records. */
  #created = 0;
  #copy: MemoryStore | undefined;
  #copied = { ids: 0, snapshotIds: 0 };
  readonly #everDeleted = new Set<string>();
  /** Since then the records may name volumes that are lost or lack some that exist. */
  wasRestored = false;

  /** `pools` are those of the nodes; `copies` says whether volumes are copied from one into another. */
  constructor(pools: readonly string[] = POOLS, { copies = true }: { readonly copies?: boolean } = {}) {
    this.#copies = copies;
    this.#service = this.#start();
    this.#disks = new ModelDisks({
      isDeleted: (id) => this.#everDeleted.has(id) || this.#dataset(id).deleted,
      isSnapshotDeleted: (id) => this.#everDeleted.has(id) || this.#snapshot(id).deleted,
      mayBeLost: () => this.wasRestored,
    });
    this.nodes = pools.map(
      (pool, i) =>
        new ModelNode(
          nodeId(i),
          pool,
          this.#disks,
          copies
            ? (from, id, copy) => this.nodes.find((node) => node.id === from)?.copies.give(id, copy, nodeId(i))
            : undefined,
        ),
    );
  }

  get service(): ControlService {
    return this.#service;
  }

  create(node: ModelNode): void {
    if (this.#service.deployment.restored !== undefined) return;
    const id = datasetId((this.#created += 1));
    this.ids.push(id);
    this.note(this.#service.createDataset({ primary: node.id, dataset_id: id }, NO_CONDITIONS));
  }

  /** Makes a dataset from a snapshot, if that is possible now. */
  clone(node: ModelNode, source: SnapshotId): void {
    const id = datasetId((this.#created += 1));
    const { deleted, storage } = this.#snapshot(source);
    if (deleted || storage.kind !== 'taken') return;
    this.ids.push(id);
    const body = { primary: node.id, dataset_id: id, source_snapshot: source };
    this.note(this.#service.createDataset(body, NO_CONDITIONS));
  }

  grow(id: DatasetId): void {
    const asked = this.#dataset(id).maximumSizeBytes ?? LARGEST_DEFAULT_BYTES;
    this.note(this.#service.resizeDataset(id, { maximum_size: asked + 2 ** 20 }, NO_CONDITIONS));
  }

  snapshot(id: DatasetId): void {
    if (this.#dataset(id).deleted) return;
    const snapshot_id = snapshotId((this.#created += 1));
    this.snapshotIds.push(snapshot_id);
    this.note(this.#service.snapshots.create({ dataset_id: id, snapshot_id }));
  }

  removeSnapshot(id: SnapshotId): void {
    this.note(this.#service.snapshots.remove(id));
  }

  move(id: DatasetId, node: ModelNode): void {
    this.note(this.#service.moveDataset(id, { primary: node.id }, NO_CONDITIONS));
  }

  remove(id: DatasetId): void {
    this.note(this.#service.deleteDataset(id, NO_CONDITIONS));
  }

  lease(id: DatasetId, node: ModelNode, expires: number | null): void {
    this.note(this.#service.acquireLease({ dataset_id: id, node_uuid: node.id, expires }));
  }

  release(id: DatasetId): void {
    this.note(this.#service.releaseLease(id));
  }

  /** An operator switches a node off and says so. */
  declareDead(node: ModelNode): void {
    node.crash(this.#service);
    this.note(this.#service.declareDead(node.id));
  }

  /** Copies the records, to be restored later; the copy before is thrown away. */
  async backUp(): Promise<void> {
    await this.settle();
    this.#copy = this.#store.restoredCopy();
    this.#copied = { ids: this.ids.length, snapshotIds: this.snapshotIds.length };
  }

  /** The control service dies, and its records are replaced by the copy. Nodes go on as they are. */
  async restore(): Promise<void> {
    if (this.#copy === undefined) return;
    await this.settle();
    for (const id of this.ids) if (this.#dataset(id).deleted) this.#everDeleted.add(id);
    for (const id of this.snapshotIds) if (this.#snapshot(id).deleted) this.#everDeleted.add(id);
    for (const node of this.nodes) node.forgetConnection();
    await this.#service.close();
    this.#store = this.#copy.reopened();
    this.ids.splice(this.#copied.ids);
    this.#forgottenSnapshots.push(...this.snapshotIds.splice(this.#copied.snapshotIds));
    this.wasRestored = true;
    this.#service = this.#start();
  }

  /** An operator starts all nodes and says that they are there. */
  async confirmRestored(): Promise<void> {
    for (const node of this.nodes) if (!node.connected) this.join(node);
    await this.settle();
    this.note(this.#service.confirmRestored());
  }

  /** Volumes that exist. */
  volumes(): DatasetId[] {
    return this.#disks.ids();
  }

  /** Whether it was ever deleted by the API. */
  wasDeleted(id: DatasetId): boolean {
    return this.#everDeleted.has(id) || this.#service.deployment.dataset(id)?.deleted === true;
  }

  /** Datasets of which a volume exists that their primary reaches, and which are not mounted there and nowhere else. */
  notMounted(): DatasetId[] {
    return this.ids.filter((id) => {
      const { primary, deleted } = this.#dataset(id);
      const pool = this.nodes.find((node) => node.id === primary)?.pool;
      const lease = this.#service.deployment.lease(id);
      if (deleted || this.#everDeleted.has(id) || pool !== this.#disks.poolOf(id) || lease !== undefined) return false;
      return !isDeepStrictEqual(this.#disks.mountedOn(id), [primary]);
    });
  }

  join(node: ModelNode): void {
    this.note(node.join(this.#service, (order) => this.#checkOrder(node, order)));
  }

  note(work: Promise<unknown> | undefined): void {
    if (work === undefined) return;
    this.#underWay.add(work);
    void work.finally(() => this.#underWay.delete(work));
  }

  /** Lets everything that is under way end. */
  async settle(): Promise<void> {
    while (this.#underWay.size > 0) await Promise.all(this.#underWay);
    await this.#service.read(() => undefined);
  }

  /** The control service dies and another one starts on what is durable. */
  async restart(): Promise<void> {
    await this.settle();
    for (const node of this.nodes) node.forgetConnection();
    await this.#service.close();
    this.#store = this.#store.reopened();
    this.#service = this.#start();
  }

  /** What must be true at every moment. */
  checkNow(): void {
    for (const id of this.ids) {
      const ordered = this.nodes.filter((node) => node.sentWant(id) !== undefined);
      if (ordered.length > 1) throw new Error(`${ordered.length} nodes have orders about dataset ${id}`);
    }
  }

  /** What must be true whenever nothing is being written. */
  checkSettled(): void {
    this.checkNow();
    const fresh = new Deployment(CLUSTER_ID);
    for (const change of readDeployment(this.#store.reopened().entries())) fresh.apply(change);
    const [memory, stored] = [contentsOf(this.#service.deployment), contentsOf(fresh)];
    if (!isDeepStrictEqual(memory, stored)) throw new Error('memory differs from the store');
    for (const id of this.ids) {
      const { deployment, cluster } = this.#service;
      const { status, problem } = inspectionOf(
        this.#dataset(id),
        deployment.lease(id),
        deployment.copies.get(id),
        cluster,
        this.clock.wallMs(),
      );
      if (status !== 'mounted' && status !== 'deleted' && problem === null) {
        throw new Error(`dataset ${id} is ${status} without a reason`);
      }
    }
    for (const id of this.snapshotIds) {
      const { status, problem } = this.#service.snapshots.view(this.#snapshot(id));
      if (status !== 'ready' && status !== 'deleted' && problem === null) {
        throw new Error(`snapshot ${id} is ${status} without a reason`);
      }
      if (this.wasRestored) continue;
      if (status === 'ready' && !this.#disks.hasSnapshot(id)) throw new Error(`snapshot ${id} is lost`);
      if (status === 'deleted' && this.#disks.hasSnapshot(id)) throw new Error(`snapshot ${id} is left behind`);
    }
  }

  /** Connects everybody, lets everything happen that can, and tells what is still not as configured and should be. */
  async quiesce(): Promise<string[]> {
    for (const node of this.nodes) if (!node.connected) this.join(node);
    for (let round = 0, moved = true; moved; round += 1) {
      if (round > MOST_ROUNDS) throw new Error('it never comes to rest');
      await this.settle();
      moved = false;
      for (const node of this.nodes) {
        while (node.readOrders()) moved = true;
        for (const id of this.ids) if (node.begin(id) || node.finish(id)) moved = true;
        for (const id of this.ids) if (node.copies.begin(id) || node.copies.finish(id)) moved = true;
        for (const id of this.snapshotIds) if (node.beginSnapshot(id) || node.finishSnapshot(id)) moved = true;
        for (const id of this.#forgottenSnapshots) if (node.finishSnapshot(id)) moved = true;
        for (
          let work = node.deliverReport(this.#service);
          work !== undefined;
          work = node.deliverReport(this.#service)
        ) {
          this.note(work);
          moved = true;
        }
      }
      this.checkNow();
    }
    this.checkSettled();
    const datasets = this.ids.filter((id) => !this.#converged(this.#dataset(id)) && !this.#excused(this.#dataset(id)));
    return [...datasets, ...this.snapshotIds.filter((id) => !this.#isSnapshotDone(this.#snapshot(id)))];
  }

  #start(): ControlService {
    return new ControlService({
      store: this.#store,
      entries: this.#store.entries(),
      clock: this.clock,
      newUuid: () => datasetId(9_000 + (this.#uuids += 1)),
      logger: silentLogger,
      onFatal: (error) => {
        throw error;
      },
    });
  }

  #checkOrder(node: ModelNode, order: Order | SnapshotOrder): void {
    if ('snapshotId' in order) {
      this.#checkSnapshotOrder(node, order);
      return;
    }
    const dataset = this.#dataset(order.datasetId as DatasetId);
    if (order.want === 'destroyed' && !dataset.deleted) throw new Error(`dataset ${dataset.id} ordered destroyed`);
    const { storage } = dataset;
    if (storage.kind !== 'held' || storage.node !== node.id) {
      throw new Error(`node ${node.id} is ordered ${order.want} of dataset ${dataset.id}: ${JSON.stringify(storage)}`);
    }
  }

  #checkSnapshotOrder(node: ModelNode, order: SnapshotOrder): void {
    const { deleted, storage } = this.#snapshot(order.snapshotId as SnapshotId);
    const mayTell =
      storage.kind === 'taken' ? storage.pool === node.pool : storage.kind === 'ordered' && storage.node === node.id;
    if (!mayTell || deleted !== (order.want === 'destroyed')) {
      throw new Error(
        `node ${node.id} is ordered ${order.want} of snapshot ${order.snapshotId}: ${JSON.stringify(storage)}`,
      );
    }
  }

  /** Taken, or as gone as was asked for; it may wait for a dataset that is not where a node can take it. */
  #isSnapshotDone({ id, datasetId: ofDataset, deleted, storage }: Snapshot): boolean {
    if (deleted) return storage.kind === 'gone' && !this.#disks.hasSnapshot(id);
    if (storage.kind === 'taken') return this.#disks.hasSnapshot(id);
    if (this.#disks.hasSnapshot(id)) return false;
    const dataset = this.#dataset(ofDataset);
    return storage.kind === 'failed'
      ? dataset.storage.kind === 'gone'
      : storage.kind === 'unmade' && dataset.storage.kind !== 'held';
  }

  #snapshot(id: SnapshotId): Snapshot {
    const snapshot = this.#service.deployment.snapshots.get(id);
    if (snapshot === undefined) throw new Error(`snapshot ${id} is lost`);
    return snapshot;
  }

  #dataset(id: DatasetId): Dataset {
    const dataset = this.#service.deployment.dataset(id);
    if (dataset === undefined) throw new Error(`dataset ${id} is lost`);
    return dataset;
  }

  #converged(dataset: Dataset): boolean {
    if (dataset.deleted) return dataset.storage.kind === 'gone' && !this.#disks.exists(dataset.id);
    const pool = this.#disks.poolOf(dataset.id) ?? '';
    const isLargeEnough = this.#disks.sizeOf(pool, dataset.id) >= (dataset.maximumSizeBytes ?? 0);
    if (this.#disks.poolsOf(dataset.id) > 1 && !this.wasRestored) return false;
    const isMounted = isDeepStrictEqual(this.#disks.mountedOn(dataset.id), [dataset.primary]);
    return isMounted && isLargeEnough && this.#isHeldByPrimary(dataset);
  }

  #isHeldByPrimary({ storage, primary }: Dataset): boolean {
    const node = this.#service.cluster.node(primary);
    return storage.kind === 'held' && storage.node === primary && node?.connected === true;
  }

  /** A lease keeps it where it is, or its data are where its node cannot reach them. */
  #excused({ id, storage, primary, deleted, source }: Dataset): boolean {
    const lease = this.#service.deployment.lease(id);
    if (storage.kind === 'held' && lease?.nodeId === storage.node) return true;
    const pool = this.nodes.find((node) => node.id === primary)?.pool;
    if (deleted) return false;
    if (storage.kind === 'free' && !this.#copies) return storage.pool !== pool;
    return (
      storage.kind === 'unmade' &&
      ((source !== null && source.pool !== pool) || (storage.leftIn !== undefined && storage.leftIn !== pool))
    );
  }
}

function contentsOf(deployment: DeploymentView): unknown {
  const datasets = [...deployment.datasets()].sort((a, b) => (a.id < b.id ? -1 : 1));
  const leases = [...deployment.leases()].sort((a, b) => (a.datasetId < b.datasetId ? -1 : 1));
  const snapshots = [...deployment.snapshots.all()].sort((a, b) => (a.id < b.id ? -1 : 1));
  const deaths = [...deployment.deaths()].sort((a, b) => (a.node < b.node ? -1 : 1));
  const copies = [...deployment.copies.all()].sort((a, b) => (a.datasetId < b.datasetId ? -1 : 1));
  return { datasets, leases, snapshots, copies, deaths, revision: deployment.revision, tag: deployment.tag };
}

function datasetId(number: number): DatasetId {
  const id = parseDatasetId(`00000000-0000-4000-8000-${String(number).padStart(12, '0')}`);
  if (id === undefined) throw new Error('no id');
  return id;
}

function nodeId(number: number): NodeId {
  const id = parseNodeId(`00000000-0000-4000-9000-${String(number).padStart(12, '0')}`);
  if (id === undefined) throw new Error('no id');
  return id;
}

function snapshotId(number: number): SnapshotId {
  const id = parseSnapshotId(`00000000-0000-4000-a000-${String(number).padStart(12, '0')}`);
  if (id === undefined) throw new Error('no id');
  return id;
}

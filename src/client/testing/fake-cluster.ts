import type { DatasetConfiguration, DatasetState } from '../../api/datasets.ts';
import { DESCRIPTIONS } from '../../api/errors.ts';
import type { DatasetInspection, ProblemView } from '../../api/inspection.ts';
import type { LeaseBody } from '../../api/leases.ts';
import type { NodeDeathView, NodeInspection } from '../../api/nodes.ts';
import type { Clock } from '../../kit/clock.ts';
import { type DatasetId, derivedUuid, type NewUuid, type NodeId, parseNodeId, type SnapshotId } from '../../kit/ids.ts';
import { DEFAULT_SIZE_BYTES, PROFILE_KEY } from '../../model/dataset.ts';
import { type Lease, leaseExpired } from '../../model/lease.ts';
import type { PoolReport } from '../../model/storage-state.ts';
import { needsAction, type ProblemCode } from '../../model/volume-state.ts';
import { ClientError } from '../flocker-client.ts';
import { FakeSnapshots } from './fake-snapshots.ts';

/** The one profile that no node of the fake has. */
export const NO_SUCH_PROFILE = 'no-such';

/** A pool with Flocker's three profiles, nothing else known of it. */
export const UNKNOWN_POOL: PoolReport = {
  profiles: ['gold', 'silver', 'bronze'].map((name) => ({
    ...{ name, media: null, compression: null, dedup: null, replication: null, encryption: null },
  })),
  figures: {
    totalBytes: null,
    availableBytes: null,
    usedBytes: null,
    logicalBytes: null,
    physicalBytes: null,
    compressionSavedBytes: null,
    sharedSavedBytes: null,
  },
};

type Storage = { kind: 'unmade' } | { kind: 'held'; node: NodeId } | { kind: 'free' } | { kind: 'gone' };

/** A dataset of the fake cluster; the configuration as the API shows it. */
export interface FakeDataset {
  readonly id: DatasetId;
  configuration: DatasetConfiguration & { primary: NodeId };
  /** What it begins with. */
  readonly source: SnapshotId | undefined;
  /** What it has once it is made, in bytes. */
  sizeBytes: number;
  storage: Storage;
}

/** Datasets, nodes and leases in memory, with nodes that mount and let go one step per tick, as a real cluster would. */
export class FakeCluster {
  readonly datasets = new Map<DatasetId, FakeDataset>();
  /** What all nodes say of the one pool there is. */
  storage: PoolReport = UNKNOWN_POOL;
  readonly snapshots: FakeSnapshots;
  readonly #nodes = new Set<NodeId>();
  readonly #deaths = new Map<NodeId, string>();
  readonly #leases = new Map<DatasetId, Lease>();
  readonly #timers = new Map<DatasetId, () => void>();
  readonly #listeners = new Set<() => void>();
  readonly #clock: Clock;
  readonly #newUuid: NewUuid;
  #version = 0;
  #settling = false;

  constructor(clock: Clock, newUuid: NewUuid) {
    this.#clock = clock;
    this.#newUuid = newUuid;
    this.snapshots = new FakeSnapshots(this.datasets, newUuid);
  }

  get tag(): string {
    return this.#version.toString(16).padStart(32, '0');
  }

  get nodes(): readonly NodeId[] {
    return [...this.#nodes];
  }

  /** A new node, or `node` back again. */
  addNode(node = parseNodeId(this.#newUuid())): NodeId {
    if (node === undefined) throw new Error('newUuid made something that is no UUIDv4');
    this.#nodes.add(node);
    this.#deaths.delete(node);
    this.changed();
    return node;
  }

  /** The node stops reporting; what it has mounted, it keeps. */
  removeNode(node: NodeId): void {
    this.#nodes.delete(node);
    this.changed();
  }

  /** As the control service: whatever the node had is free, and its leases end. */
  declareDead(node: NodeId): NodeDeathView {
    if (this.#nodes.has(node)) throw new ClientError('in_use', DESCRIPTIONS.nodeConnected);
    const before = this.#deaths.get(node);
    if (before !== undefined) return { uuid: node, declared_dead: before, datasets: [], leases: [] };
    const all = [...this.datasets.values()];
    const held = all.filter(({ storage }) => storage.kind === 'held' && storage.node === node);
    const leases = this.leases().filter(({ node_uuid }) => node_uuid === node);
    const isPrimary = all.some(({ configuration }) => configuration.primary === node);
    if (!isPrimary && held.length + leases.length === 0) throw new ClientError('not_found', DESCRIPTIONS.nodeUnknown);
    const declaredDead = new Date(this.#clock.wallMs()).toISOString();
    this.#deaths.set(node, declaredDead);
    for (const dataset of held) dataset.storage = { kind: 'free' };
    for (const { dataset_id } of leases) this.dropLease(dataset_id as DatasetId);
    this.configured();
    const ids = { datasets: held.map(({ id }) => id), leases: leases.map(({ dataset_id }) => dataset_id) };
    return { uuid: node, declared_dead: declaredDead, ...ids };
  }

  eraOf(node: NodeId): string {
    return derivedUuid('era', node);
  }

  leaseOf(id: DatasetId): Lease | undefined {
    const lease = this.#leases.get(id);
    if (lease === undefined || !leaseExpired(lease, this.#clock.wallMs())) return lease;
    this.dropLease(id);
    return undefined;
  }

  leases(): LeaseBody[] {
    return [...this.#leases.keys()].flatMap((id) => {
      const lease = this.leaseOf(id);
      return lease === undefined ? [] : [this.leaseBody(lease)];
    });
  }

  leaseBody({ datasetId, nodeId, expiresAtMs }: Lease): LeaseBody {
    const expires = expiresAtMs === null ? null : (expiresAtMs - this.#clock.wallMs()) / 1000;
    return { dataset_id: datasetId, node_uuid: nodeId, expires };
  }

  putLease(id: DatasetId, nodeId: NodeId, expiresSeconds: number | null): Lease {
    const nowMs = this.#clock.wallMs();
    const expiresAtMs = expiresSeconds === null ? null : nowMs + expiresSeconds * 1000;
    const lease: Lease = { datasetId: id, nodeId, expiresAtMs };
    this.#leases.set(id, lease);
    this.#watchLease(lease);
    this.configured();
    return lease;
  }

  /** A timer may fire a little before its time by the wall clock: then it is set again. */
  #watchLease(lease: Lease): void {
    const { datasetId, expiresAtMs } = lease;
    this.#timers.get(datasetId)?.();
    this.#timers.delete(datasetId);
    if (expiresAtMs === null) return;
    const cancel = this.#clock.timer(Math.max(1, expiresAtMs - this.#clock.wallMs() + 1), () => {
      if (this.leaseOf(datasetId) === lease) this.#watchLease(lease);
    });
    this.#timers.set(datasetId, cancel);
  }

  dropLease(id: DatasetId): void {
    this.#timers.get(id)?.();
    this.#timers.delete(id);
    this.#leases.delete(id);
    this.configured();
  }

  stateOf({ id, sizeBytes: maximum_size, storage }: FakeDataset): DatasetState | undefined {
    if (storage.kind === 'free') return { dataset_id: id, maximum_size };
    if (storage.kind !== 'held' || !this.#nodes.has(storage.node)) return undefined;
    return { dataset_id: id, primary: storage.node, path: `/flocker/${id}`, maximum_size };
  }

  inspect(dataset: FakeDataset): DatasetInspection {
    const { id, configuration, storage, source } = dataset;
    const lease = this.leaseOf(id);
    const { dataset_id: _, ...state } = this.stateOf(dataset) ?? { dataset_id: id };
    return {
      configuration,
      status: statusOf(dataset),
      state: this.stateOf(dataset) === undefined ? null : state,
      holder: storage.kind === 'held' ? storage.node : null,
      lease: lease === undefined ? null : { node_uuid: lease.nodeId, expires: this.leaseBody(lease).expires },
      ...(source === undefined ? {} : { source_snapshot: source }),
      problem: this.#problemOf(dataset),
    };
  }

  inspectNode(node: NodeId): NodeInspection {
    return {
      uuid: node,
      host: '192.0.2.1',
      connected: true,
      last_heard: new Date(this.#clock.wallMs()).toISOString(),
      era: this.eraOf(node),
      version: '0.0.0',
      backend: 'fake',
      pool: 'fake',
      profiles: [],
    };
  }

  /** Calls `listener` after every change until the returned function is called. */
  listen(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** The configuration changed, and with it the tag. */
  configured(): void {
    this.#version += 1;
    this.changed();
  }

  changed(): void {
    for (const listener of this.#listeners) listener();
    if (this.#settling) return;
    this.#settling = true;
    setImmediate(() => {
      this.#settling = false;
      const steps = [...this.datasets.values()].filter((dataset) => this.#step(dataset));
      const isLive = ({ storage }: FakeDataset): boolean => storage.kind === 'held' && this.#nodes.has(storage.node);
      const moved = this.snapshots.step(isLive, this.#nodes.size > 0, this.#clock.wallMs());
      if (steps.length > 0 || moved) this.changed();
    });
  }

  close(): void {
    for (const cancel of this.#timers.values()) cancel();
    this.#timers.clear();
  }

  /** One step of one dataset towards its configuration; false when there is none to take. */
  #step(dataset: FakeDataset): boolean {
    const { id, configuration, storage } = dataset;
    if (storage.kind === 'gone') return false;
    if (storage.kind === 'held') {
      const stays = storage.node === configuration.primary && !configuration.deleted;
      const askedBytes = configuration.maximum_size ?? 0;
      if (stays && askedBytes > dataset.sizeBytes && this.#nodes.has(storage.node)) {
        dataset.sizeBytes = askedBytes;
        return true;
      }
      if (stays || this.leaseOf(id)?.nodeId === storage.node || !this.#nodes.has(storage.node)) return false;
      dataset.storage = { kind: 'free' };
      return true;
    }
    if (configuration.deleted) {
      if (storage.kind === 'free' && this.#nodes.size === 0) return false;
      dataset.storage = { kind: 'gone' };
      return true;
    }
    const mountable = this.#nodes.has(configuration.primary) && configuration.metadata[PROFILE_KEY] !== NO_SUCH_PROFILE;
    if (!mountable) return false;
    if (storage.kind === 'unmade') dataset.sizeBytes = configuration.maximum_size ?? DEFAULT_SIZE_BYTES;
    dataset.storage = { kind: 'held', node: configuration.primary };
    return true;
  }

  #problemOf({ id, configuration, storage }: FakeDataset): ProblemView | null {
    const { primary, deleted, metadata } = configuration;
    if (storage.kind === 'gone') return null;
    if (storage.kind === 'held') {
      if (storage.node === primary && !deleted) return null;
      if (!this.#nodes.has(storage.node)) {
        return problem('node_away', `Node ${storage.node} has dataset ${id} and is away`);
      }
      const leased = this.leaseOf(id)?.nodeId === storage.node;
      return leased ? problem('waiting_for_lease', `Node ${storage.node} holds a lease on dataset ${id}`) : null;
    }
    if (deleted) return null;
    if (!this.#nodes.has(primary)) return problem('node_unknown', `Node ${primary} of dataset ${id} has not reported`);
    if (metadata[PROFILE_KEY] === NO_SUCH_PROFILE) {
      return problem('no_such_profile', `Node ${primary} has no profile "${NO_SUCH_PROFILE}" for dataset ${id}`);
    }
    return problem('in_progress', `Node ${primary} has not mounted dataset ${id} yet`);
  }
}

function problem(code: ProblemCode, message: string): ProblemView {
  return { code, message, needs_action: needsAction(code) };
}

function statusOf({ configuration, storage }: FakeDataset): DatasetInspection['status'] {
  if (storage.kind === 'gone') return 'deleted';
  if (configuration.deleted) return 'deleting';
  if (storage.kind === 'held') return storage.node === configuration.primary ? 'mounted' : 'moving';
  return storage.kind === 'free' ? 'detached' : 'pending';
}

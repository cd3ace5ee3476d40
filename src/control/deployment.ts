import { createHash } from 'node:crypto';
import type { DatasetId, NodeId } from '../kit/ids.ts';
import { type Dataset, nameOf } from '../model/dataset.ts';
import type { Lease } from '../model/lease.ts';
import type { NodeDeath } from '../model/node-death.ts';
import type { Change, Restored } from './changes.ts';
import { Copies, type CopiesView } from './copies.ts';
import { IndexMap } from './index-map.ts';
import { Provisioned, type ProvisionedView } from './provisioned.ts';
import { Snapshots, type SnapshotsView } from './snapshots.ts';

/** The deployment as decisions read it. */
export interface DeploymentView {
  dataset(id: DatasetId): Dataset | undefined;
  datasets(): Iterable<Dataset>;
  lease(id: DatasetId): Lease | undefined;
  leases(): Iterable<Lease>;
  /** Datasets of this name that are not deleted. */
  named(name: string): readonly Dataset[];
  /** Datasets held by or configured onto a node, except those that are gone. */
  concerning(node: NodeId): readonly Dataset[];
  /** Deleted datasets that exist in a pool and that no node has. */
  doomedIn(pool: string): readonly Dataset[];
  /** Datasets that exist in a pool and that no node has, without deleted ones. */
  freeIn(pool: string): readonly Dataset[];
  /** The declaration of a node as dead, while it is in force. */
  death(node: NodeId): NodeDeath | undefined;
  deaths(): Iterable<NodeDeath>;
  /** Set while the records are an old copy that is not confirmed yet. */
  readonly restored: Restored | undefined;
  /** Datasets of which nobody knows who has them. */
  unconfirmed(): readonly Dataset[];
  /** Datasets and the bytes promised to them. */
  readonly provisioned: ProvisionedView;
  readonly snapshots: SnapshotsView;
  readonly copies: CopiesView;
  readonly revision: number;
  readonly tag: string;
}

/**
 * The durable deployment in memory, with the indexes that keep the cost of one change independent of the number of
 * datasets and nodes. Only {@link Deployment.apply} alters it.
 */
export class Deployment implements DeploymentView {
  readonly snapshots = new Snapshots();
  readonly copies = new Copies();
  readonly #clusterId: string;
  readonly #datasets = new Map<DatasetId, Dataset>();
  readonly #leases = new Map<DatasetId, Lease>();
  readonly #byName = new IndexMap<string, DatasetId>();
  readonly #byNode = new IndexMap<NodeId, DatasetId>();
  readonly #doomed = new IndexMap<string, DatasetId>();
  readonly #free = new IndexMap<string, DatasetId>();
  readonly #deaths = new Map<NodeId, NodeDeath>();
  readonly provisioned = new Provisioned();
  readonly #unconfirmed = new Set<DatasetId>();
  #restored: Restored | undefined;
  #revision = 0;

  constructor(clusterId: string) {
    this.#clusterId = clusterId;
  }

  get revision(): number {
    return this.#revision;
  }

  get tag(): string {
    return createHash('sha256').update(`${this.#clusterId}/${this.#revision}`).digest('hex').slice(0, 32);
  }

  dataset(id: DatasetId): Dataset | undefined {
    return this.#datasets.get(id);
  }

  datasets(): Iterable<Dataset> {
    return this.#datasets.values();
  }

  lease(id: DatasetId): Lease | undefined {
    return this.#leases.get(id);
  }

  leases(): Iterable<Lease> {
    return this.#leases.values();
  }

  named(name: string): readonly Dataset[] {
    return this.#resolve(this.#byName.get(name));
  }

  concerning(node: NodeId): readonly Dataset[] {
    return this.#resolve(this.#byNode.get(node));
  }

  doomedIn(pool: string): readonly Dataset[] {
    return this.#resolve(this.#doomed.get(pool));
  }

  freeIn(pool: string): readonly Dataset[] {
    return this.#resolve(this.#free.get(pool));
  }

  death(node: NodeId): NodeDeath | undefined {
    return this.#deaths.get(node);
  }

  deaths(): Iterable<NodeDeath> {
    return this.#deaths.values();
  }

  get restored(): Restored | undefined {
    return this.#restored;
  }

  unconfirmed(): readonly Dataset[] {
    return this.#resolve(this.#unconfirmed);
  }

  apply(change: Change): void {
    switch (change.kind) {
      case 'dataset': {
        const before = this.#datasets.get(change.dataset.id);
        if (before !== undefined) this.#index(before, 'remove');
        this.#datasets.set(change.dataset.id, change.dataset);
        this.#index(change.dataset, 'add');
        return;
      }
      case 'lease':
        this.#leases.set(change.lease.datasetId, change.lease);
        return;
      case 'leaseEnded':
        this.#leases.delete(change.datasetId);
        return;
      case 'snapshot':
        this.snapshots.put(change.snapshot);
        return;
      case 'copies':
        this.copies.put(change.copies);
        return;
      case 'nodeDead':
        this.#deaths.set(change.death.node, change.death);
        return;
      case 'nodeBack':
        this.#deaths.delete(change.node);
        return;
      case 'restored':
        this.#restored = change.restored;
        return;
      case 'revision':
        this.#revision = change.revision;
    }
  }

  #index(dataset: Dataset, operation: 'add' | 'remove'): void {
    const { id, storage } = dataset;
    this.provisioned[operation](dataset);
    this.snapshots.noteDataset(dataset, operation);
    const name = nameOf(dataset.metadata);
    if (name !== undefined && !dataset.deleted) this.#byName[operation](name, id);
    if (storage.kind === 'gone') return;
    this.#byNode[operation](dataset.primary, id);
    const known = storage.kind === 'unconfirmed' ? storage.was : storage;
    if (known.kind === 'held') this.#byNode[operation](known.node, id);
    if (storage.kind === 'unconfirmed') this.#unconfirmed[operation === 'add' ? 'add' : 'delete'](id);
    if (storage.kind === 'free') (dataset.deleted ? this.#doomed : this.#free)[operation](storage.pool, id);
  }

  #resolve(ids: Iterable<DatasetId>): readonly Dataset[] {
    return [...ids].flatMap((id) => this.#datasets.get(id) ?? []);
  }
}

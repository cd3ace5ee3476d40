import type { DatasetId, NodeId, SnapshotId } from '../../src/kit/ids.ts';
import type { VolumeState } from '../../src/model/volume-state.ts';

/** More than any volume has that nobody gave a size for. */
export const DEFAULT_BYTES = 2 ** 28;

interface Volume {
  readonly pool: string;
  sizeBytes: number;
  /** Written by tasks, and synced. */
  records: number;
  /** Whose it is in the pool: the storage keeps it when the machine goes off. */
  readonly owners: Set<NodeId>;
  readonly mountedOn: Set<NodeId>;
}

/** What users asked for, for whoever wants to destroy something. */
export interface Asked {
  readonly deletions: ReadonlySet<string>;
}

/**
 * The storage that the nodes of a pool share. A guarded one refuses to attach what another node has, as `loopback` does; one
 * without a guard lets everybody do everything. Both throw a {@link Violation} at the first thing that would have cost somebody
 * their data.
 */
export class SimEngine {
  readonly isGuarded: boolean;
  readonly volumes = new Map<DatasetId, Volume>();
  readonly snapshots = new Map<SnapshotId, { readonly pool: string; readonly sizeBytes: number }>();
  readonly #asked: Asked;
  readonly #destroyed = new Set<DatasetId>();
  readonly #made = new Set<DatasetId>();

  constructor(isGuarded: boolean, asked: Asked) {
    this.isGuarded = isGuarded;
    this.#asked = asked;
  }

  stateOn(node: NodeId, pool: string, id: DatasetId): VolumeState {
    const volume = this.volumes.get(id);
    if (volume === undefined || volume.pool !== pool) return { kind: 'absent' };
    const { sizeBytes } = volume;
    if (volume.mountedOn.has(node)) return { kind: 'mounted', sizeBytes, path: `/flocker/${id}` };
    if (volume.owners.has(node)) return { kind: 'attached', sizeBytes };
    const [owner] = volume.owners;
    return this.isGuarded && owner !== undefined
      ? { kind: 'elsewhere', instance: owner }
      : { kind: 'detached', sizeBytes };
  }

  /** Its mounts are gone; what it owned in a pool that knows owners is its own still. */
  powerOff(node: NodeId): void {
    for (const volume of this.volumes.values()) {
      volume.mountedOn.delete(node);
      if (!this.isGuarded) volume.owners.delete(node);
    }
  }

  create(pool: string, id: DatasetId, sizeBytes: number, source: SnapshotId | undefined): void {
    if (this.#made.has(id) && !this.#destroyed.has(id)) {
      const where = this.volumes.get(id)?.pool;
      if (where === pool) return;
      throw new Violation(`dataset ${id} is in ${where} and is made anew in ${pool}`);
    }
    if (this.#destroyed.has(id)) throw new Violation(`dataset ${id} was destroyed and is made anew`);
    const from = source === undefined ? undefined : this.snapshots.get(source);
    if (source !== undefined && from?.pool !== pool) throw new Error(`there is no snapshot ${source} in ${pool}`);
    this.#made.add(id);
    this.volumes.set(id, {
      ...{ pool, sizeBytes: Math.max(sizeBytes, from?.sizeBytes ?? 0), records: 0 },
      ...{ owners: new Set(), mountedOn: new Set() },
    });
  }

  attach(node: NodeId, id: DatasetId): void {
    const volume = this.#volume(id);
    const others = [...volume.owners].filter((owner) => owner !== node);
    if (others.length > 0 && this.isGuarded) throw new Error(`${others.join()} has dataset ${id}`);
    volume.owners.add(node);
    if (volume.owners.size > 1) throw new Violation(`dataset ${id} is attached to ${[...volume.owners].join(' and ')}`);
  }

  seize(node: NodeId, id: DatasetId, from: readonly string[], isOff: (node: NodeId) => boolean): void {
    const volume = this.#volume(id);
    for (const owner of volume.owners) {
      if (!from.includes(owner) || owner === node) continue;
      if (!isOff(owner) && volume.mountedOn.has(owner))
        throw new Violation(`dataset ${id} is seized from ${owner}, which lives`);
      volume.owners.delete(owner);
    }
    this.attach(node, id);
  }

  mount(node: NodeId, id: DatasetId): void {
    const volume = this.#volume(id);
    if (!volume.owners.has(node)) throw new Error(`dataset ${id} is not attached`);
    volume.mountedOn.add(node);
    if (volume.mountedOn.size > 1)
      throw new Violation(`dataset ${id} is mounted on ${[...volume.mountedOn].join(' and ')}`);
  }

  unmount(node: NodeId, id: DatasetId): void {
    this.#volume(id).mountedOn.delete(node);
  }

  detach(node: NodeId, id: DatasetId): void {
    const volume = this.#volume(id);
    if (volume.mountedOn.has(node)) throw new Violation(`dataset ${id} is detached while it is mounted`);
    volume.owners.delete(node);
  }

  grow(node: NodeId, id: DatasetId, sizeBytes: number): void {
    const volume = this.#volume(id);
    if (!volume.owners.has(node)) throw new Violation(`dataset ${id} grows on a node that does not have it`);
    volume.sizeBytes = Math.max(volume.sizeBytes, sizeBytes);
  }

  destroy(id: DatasetId): void {
    if (!this.#asked.deletions.has(id)) throw new Violation(`dataset ${id} is destroyed and nobody asked for that`);
    const volume = this.volumes.get(id);
    if (volume === undefined) return;
    if (volume.owners.size > 0)
      throw new Violation(`dataset ${id} is destroyed while ${[...volume.owners].join()} has it`);
    this.#destroyed.add(id);
    this.volumes.delete(id);
  }

  takeSnapshot(node: NodeId, pool: string, snapshot: SnapshotId, id: DatasetId): void {
    if (!this.#volume(id).owners.has(node)) throw new Violation(`snapshot ${snapshot} is taken without the dataset`);
    const before = this.snapshots.get(snapshot);
    if (before !== undefined && before.pool !== pool) throw new Violation(`snapshot ${snapshot} is in two pools`);
    if (before === undefined) this.snapshots.set(snapshot, { pool, sizeBytes: this.#volume(id).sizeBytes });
  }

  destroySnapshot(pool: string, snapshot: SnapshotId): void {
    if (!this.#asked.deletions.has(snapshot)) throw new Violation(`snapshot ${snapshot} is destroyed unasked`);
    if (this.snapshots.get(snapshot)?.pool === pool) this.snapshots.delete(snapshot);
  }

  #volume(id: DatasetId): Volume {
    const volume = this.volumes.get(id);
    if (volume === undefined) throw new Error(`there is no volume of dataset ${id}`);
    return volume;
  }
}

/** A rule that is never broken was broken. */
export class Violation extends Error {
  override readonly name = 'Violation';
}

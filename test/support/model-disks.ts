import type { SnapshotStep } from '../../src/agent/snapshot-transitions.ts';
import type { Step } from '../../src/agent/transitions.ts';
import type { DatasetId, NodeId, SnapshotId } from '../../src/kit/ids.ts';

interface Volume {
  readonly pool: string;
  /** The copy from another pool that it was made from. */
  readonly copy: string | undefined;
  sizeBytes: number;
  /** Larger after each time that a task may have written to it. */
  content: number;
  readonly attachedTo: Set<NodeId>;
  readonly mountedOn: Set<NodeId>;
}

/** What a node reads for another one. */
export interface ReadVolume {
  readonly content: number;
  readonly sizeBytes: number;
}

interface Stored {
  readonly pool: string;
  readonly sizeBytes: number;
}

/** What the API says, for whoever wants to destroy something. */
export interface Deletions {
  /** Whether the API marked a dataset deleted. */
  readonly isDeleted: (id: DatasetId) => boolean;
  readonly isSnapshotDeleted: (id: SnapshotId) => boolean;
  /** Whether the records may name volumes that do not exist. */
  readonly mayBeLost: () => boolean;
}

/** What a step is told beside the dataset. */
export interface StepOrder {
  readonly step: Step;
  readonly sizeBytes: number;
  readonly source: SnapshotId | undefined;
}

/** Disks that let everybody do everything, and note the first thing that would have cost somebody their data. */
export class ModelDisks {
  /** By dataset and pool. */
  readonly #volumes = new Map<DatasetId, Map<string, Volume>>();
  /** What each dataset holds after the last write. */
  readonly #newest = new Map<DatasetId, number>();
  readonly #snapshots = new Map<SnapshotId, Stored>();
  readonly #deletions: Deletions;

  constructor(deletions: Deletions) {
    this.#deletions = deletions;
  }

  isDeleted(id: DatasetId): boolean {
    return this.#deletions.isDeleted(id);
  }

  /** Whether a node may find nothing where it was told that there is a volume. */
  mayBeLost(id: DatasetId): boolean {
    return this.isDeleted(id) || this.#deletions.mayBeLost();
  }

  /** Datasets of which there is a volume. */
  ids(): DatasetId[] {
    return [...this.#volumes.keys()];
  }

  exists(id: DatasetId): boolean {
    return this.#volumes.has(id);
  }

  /** The pool with what was written last. */
  poolOf(id: DatasetId): string | undefined {
    const all = [...(this.#volumes.get(id)?.values() ?? [])];
    return all.find(({ content }) => content === this.#newest.get(id))?.pool;
  }

  /** How many pools have a volume of a dataset. */
  poolsOf(id: DatasetId): number {
    return this.#volumes.get(id)?.size ?? 0;
  }

  sizeOf(pool: string, id: DatasetId): number {
    return this.#volumes.get(id)?.get(pool)?.sizeBytes ?? 0;
  }

  hasSnapshot(id: SnapshotId): boolean {
    return this.#snapshots.has(id);
  }

  /** Bytes of a snapshot within reach of a pool; undefined when it is not there. */
  snapshotIn(pool: string, id: SnapshotId): number | undefined {
    const stored = this.#snapshots.get(id);
    return stored?.pool === pool ? stored.sizeBytes : undefined;
  }

  mountedOn(id: DatasetId): readonly NodeId[] {
    return [...(this.#volumes.get(id)?.values() ?? [])].flatMap(({ mountedOn }) => [...mountedOn]);
  }

  /** Datasets attached to a node. */
  idsOn(node: NodeId): DatasetId[] {
    return this.ids().filter((id) =>
      [...(this.#volumes.get(id)?.values() ?? [])].some(({ attachedTo }) => attachedTo.has(node)),
    );
  }

  stateOn(node: NodeId, pool: string, id: DatasetId): 'absent' | 'detached' | 'attached' | 'mounted' {
    const volume = this.#volumes.get(id)?.get(pool);
    if (volume === undefined) return 'absent';
    if (volume.mountedOn.has(node)) return 'mounted';
    return volume.attachedTo.has(node) ? 'attached' : 'detached';
  }

  powerOff(node: NodeId): void {
    for (const volumes of this.#volumes.values()) {
      for (const { attachedTo, mountedOn } of volumes.values()) {
        attachedTo.delete(node);
        mountedOn.delete(node);
      }
    }
  }

  /** What a detached volume holds; undefined when it is not there, or somebody has it. */
  read(pool: string, id: DatasetId): ReadVolume | undefined {
    const volume = this.#volumes.get(id)?.get(pool);
    return volume === undefined || volume.attachedTo.size > 0 ? undefined : volume;
  }

  /** Makes a volume of a copy. A backend refuses where there is one already. */
  publish(pool: string, id: DatasetId, copy: string, { content, sizeBytes }: ReadVolume): void {
    if (this.#volumes.get(id)?.has(pool) === true) return;
    this.#put(id, { pool, copy, content, sizeBytes, attachedTo: new Set(), mountedOn: new Set() });
  }

  /** Whether the pool has a volume of a dataset, whoever made it. */
  isThere(pool: string, id: DatasetId): boolean {
    return this.#volumes.get(id)?.has(pool) === true;
  }

  /** The copy that a detached volume was made from. */
  copyIn(pool: string, id: DatasetId): string | undefined {
    const volume = this.#volumes.get(id)?.get(pool);
    return volume === undefined || volume.attachedTo.size > 0 ? undefined : volume.copy;
  }

  /** Destroys what is left of a volume; false when somebody has it, as a backend refuses that. */
  clear(pool: string, id: DatasetId): boolean {
    const volume = this.#volumes.get(id)?.get(pool);
    if (volume === undefined) return true;
    if (volume.attachedTo.size > 0) return false;
    this.#remove(id, pool);
    if (!this.isDeleted(id) && this.poolOf(id) === undefined) throw new Error(`the data of ${id} were cleared away`);
    return true;
  }

  #put(id: DatasetId, volume: Volume): void {
    const volumes = this.#volumes.get(id) ?? new Map<string, Volume>();
    volumes.set(volume.pool, volume);
    this.#volumes.set(id, volumes);
  }

  #remove(id: DatasetId, pool: string): void {
    this.#volumes.get(id)?.delete(pool);
    if (this.#volumes.get(id)?.size === 0) this.#volumes.delete(id);
  }

  perform({ step, sizeBytes, source }: StepOrder, node: NodeId, pool: string, id: DatasetId): void {
    const volume = this.#volumes.get(id)?.get(pool);
    if (step === 'create') {
      if (this.exists(id)) throw new Error(`dataset ${id} exists and is made anew in ${pool}`);
      const from = source === undefined ? undefined : this.snapshotIn(pool, source);
      if (source !== undefined && from === undefined) {
        // The backend fails; only whoever deleted the dataset may have deleted its source before it was made.
        if (this.isDeleted(id)) return;
        throw new Error(`dataset ${id} is to be made from snapshot ${source}, which ${pool} does not have`);
      }
      if (sizeBytes < (from ?? 0)) throw new Error(`dataset ${id} is made smaller than snapshot ${source}`);
      this.#newest.set(id, 0);
      this.#put(id, { pool, copy: undefined, content: 0, sizeBytes, attachedTo: new Set(), mountedOn: new Set() });
      return;
    }
    if (volume === undefined) throw new Error(`${step} of dataset ${id}, which does not exist`);
    switch (step) {
      case 'seize':
        // Powering a node off detaches here what it had.
        throw new Error(`dataset ${id} is taken over though nobody has it`);
      case 'attach':
        volume.attachedTo.add(node);
        if (volume.attachedTo.size > 1)
          throw new Error(`dataset ${id} is attached twice: ${[...volume.attachedTo].join()}`);
        return;
      case 'grow':
        if (!volume.attachedTo.has(node)) throw new Error(`dataset ${id} grows on a node that does not have it`);
        if (sizeBytes < volume.sizeBytes) throw new Error(`dataset ${id} is made smaller`);
        volume.sizeBytes = sizeBytes;
        return;
      case 'mount':
        this.#write(id, volume);
        volume.mountedOn.add(node);
        return;
      case 'unmount':
        volume.mountedOn.delete(node);
        return;
      case 'detach':
        volume.attachedTo.delete(node);
        return;
      case 'destroy':
        if (!this.isDeleted(id)) throw new Error(`dataset ${id} is destroyed and was not deleted`);
        if (volume.attachedTo.size > 0) throw new Error(`dataset ${id} is destroyed while somebody has it`);
        this.#remove(id, pool);
    }
  }

  /** Whoever mounts it may write to it, and has to find what was written before. */
  #write(id: DatasetId, volume: Volume): void {
    const newest = this.#newest.get(id) ?? 0;
    if (volume.content !== newest && !this.#deletions.mayBeLost())
      throw new Error(`dataset ${id} is mounted in ${volume.pool} as it was before the last write`);
    volume.content = Math.max(newest, volume.content) + 1;
    this.#newest.set(id, volume.content);
  }

  performOnSnapshot(
    step: SnapshotStep,
    node: NodeId,
    pool: string,
    id: SnapshotId,
    dataset: DatasetId | undefined,
  ): void {
    if (step === 'destroy') {
      if (!this.#deletions.isSnapshotDeleted(id)) throw new Error(`snapshot ${id} is destroyed and was not deleted`);
      if (this.snapshotIn(pool, id) !== undefined) this.#snapshots.delete(id);
      return;
    }
    const volume = dataset === undefined ? undefined : this.#volumes.get(dataset)?.get(pool);
    if (volume?.attachedTo.has(node) !== true) throw new Error(`snapshot ${id} is taken by a node without the dataset`);
    const stored = this.#snapshots.get(id);
    // Old records may have it taken again, in the pool that its dataset was copied to meanwhile.
    if (stored !== undefined && stored.pool !== pool && !this.#deletions.mayBeLost())
      throw new Error(`snapshot ${id} is in two pools`);
    if (stored === undefined) this.#snapshots.set(id, { pool, sizeBytes: volume.sizeBytes });
  }
}

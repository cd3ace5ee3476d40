import type { SnapshotStep } from '../../src/agent/snapshot-transitions.ts';
import type { Step } from '../../src/agent/transitions.ts';
import type { DatasetId, NodeId, SnapshotId } from '../../src/kit/ids.ts';

interface Volume {
  readonly pool: string;
  sizeBytes: number;
  readonly attachedTo: Set<NodeId>;
  readonly mountedOn: Set<NodeId>;
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
  readonly #volumes = new Map<DatasetId, Volume>();
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

  /** All volumes. */
  ids(): DatasetId[] {
    return [...this.#volumes.keys()];
  }

  exists(id: DatasetId): boolean {
    return this.#volumes.has(id);
  }

  poolOf(id: DatasetId): string | undefined {
    return this.#volumes.get(id)?.pool;
  }

  sizeOf(id: DatasetId): number {
    return this.#volumes.get(id)?.sizeBytes ?? 0;
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
    return [...(this.#volumes.get(id)?.mountedOn ?? [])];
  }

  /** Datasets attached to a node. */
  idsOn(node: NodeId): DatasetId[] {
    return [...this.#volumes].filter(([, { attachedTo }]) => attachedTo.has(node)).map(([id]) => id);
  }

  stateOn(node: NodeId, pool: string, id: DatasetId): 'absent' | 'detached' | 'attached' | 'mounted' {
    const volume = this.#volumes.get(id);
    if (volume === undefined || volume.pool !== pool) return 'absent';
    if (volume.mountedOn.has(node)) return 'mounted';
    return volume.attachedTo.has(node) ? 'attached' : 'detached';
  }

  powerOff(node: NodeId): void {
    for (const { attachedTo, mountedOn } of this.#volumes.values()) {
      attachedTo.delete(node);
      mountedOn.delete(node);
    }
  }

  perform({ step, sizeBytes, source }: StepOrder, node: NodeId, pool: string, id: DatasetId): void {
    const volume = this.#volumes.get(id);
    if (step === 'create') {
      if (volume !== undefined) throw new Error(`dataset ${id} exists in ${volume.pool} and is made anew in ${pool}`);
      const from = source === undefined ? undefined : this.snapshotIn(pool, source);
      if (source !== undefined && from === undefined) {
        // The backend fails; only whoever deleted the dataset may have deleted its source before it was made.
        if (this.isDeleted(id)) return;
        throw new Error(`dataset ${id} is to be made from snapshot ${source}, which ${pool} does not have`);
      }
      if (sizeBytes < (from ?? 0)) throw new Error(`dataset ${id} is made smaller than snapshot ${source}`);
      this.#volumes.set(id, { pool, sizeBytes, attachedTo: new Set(), mountedOn: new Set() });
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
        this.#volumes.delete(id);
    }
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
    const volume = dataset === undefined ? undefined : this.#volumes.get(dataset);
    if (volume?.attachedTo.has(node) !== true) throw new Error(`snapshot ${id} is taken by a node without the dataset`);
    const stored = this.#snapshots.get(id);
    if (stored !== undefined && stored.pool !== pool) throw new Error(`snapshot ${id} is in two pools`);
    if (stored === undefined) this.#snapshots.set(id, { pool, sizeBytes: volume.sizeBytes });
  }
}

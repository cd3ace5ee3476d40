import type { Step } from '../../src/agent/transitions.ts';
import type { DatasetId, NodeId } from '../../src/kit/ids.ts';

interface Volume {
  readonly pool: string;
  readonly attachedTo: Set<NodeId>;
  readonly mountedOn: Set<NodeId>;
}

/** Disks that let everybody do everything, and note the first thing that would have cost somebody their data. */
export class ModelDisks {
  readonly #volumes = new Map<DatasetId, Volume>();
  /** Whether the API marked a dataset deleted. */
  readonly isDeleted: (id: DatasetId) => boolean;

  constructor(isDeleted: (id: DatasetId) => boolean) {
    this.isDeleted = isDeleted;
  }

  exists(id: DatasetId): boolean {
    return this.#volumes.has(id);
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

  perform(step: Step, node: NodeId, pool: string, id: DatasetId): void {
    const volume = this.#volumes.get(id);
    if (step === 'create') {
      if (volume !== undefined) throw new Error(`dataset ${id} exists in ${volume.pool} and is made anew in ${pool}`);
      this.#volumes.set(id, { pool, attachedTo: new Set(), mountedOn: new Set() });
      return;
    }
    if (volume === undefined) throw new Error(`${step} of dataset ${id}, which does not exist`);
    switch (step) {
      case 'attach':
        volume.attachedTo.add(node);
        if (volume.attachedTo.size > 1)
          throw new Error(`dataset ${id} is attached twice: ${[...volume.attachedTo].join()}`);
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
}

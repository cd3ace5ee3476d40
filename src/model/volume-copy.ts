import type { DatasetId, NodeId } from '../kit/ids.ts';

/** A copy of a volume into another pool, where its primary is. The volume stays what it is until the copy is whole. */
export interface VolumeCopy {
  /** Of this copy and of no other: what a node made for an earlier one is never taken for it. */
  readonly id: string;
  /** The node that reads the volume. */
  readonly from: NodeId;
  readonly fromPool: string;
  /** The node that writes the copy. */
  readonly to: NodeId;
  readonly pool: string;
}

/**
 * A pool in which an old or unfinished copy of a dataset's volume may lie, to be destroyed. Only `node` can tell that it is gone,
 * as it may be writing it; null means any node of the pool.
 */
export interface VolumeRemains {
  readonly pool: string;
  readonly node: NodeId | null;
}

/** What there is of a dataset beside its volume, as far as is durably known. */
export interface DatasetCopies {
  readonly datasetId: DatasetId;
  readonly underWay: VolumeCopy | null;
  readonly remains: readonly VolumeRemains[];
}

export const NO_COPIES: Omit<DatasetCopies, 'datasetId'> = { underWay: null, remains: [] };

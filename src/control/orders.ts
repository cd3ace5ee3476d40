import type { Order, SnapshotOrder } from '../api/agent-channel.ts';
import type { NodeId } from '../kit/ids.ts';
import type { Dataset } from '../model/dataset.ts';
import type { Lease } from '../model/lease.ts';
import type { Snapshot } from '../model/snapshot.ts';
import type { ClusterView } from './cluster.ts';

type WithoutNumber<T> = T extends unknown ? Omit<T, 'order'> : never;
/** An order before it is numbered for a connection. */
export type Wish = WithoutNumber<Order>;
export type SnapshotWish = WithoutNumber<SnapshotOrder>;

/**
 * What a node should do about a dataset; undefined when it is not the node's business and stays as it is there.
 *
 * A lease for the node keeps a dataset mounted that already is mounted there, against a move or a deletion (contract 1.6).
 */
export function wishFor(
  node: NodeId,
  dataset: Dataset,
  lease: Lease | undefined,
  cluster: ClusterView,
): Wish | undefined {
  const { storage } = dataset;
  if (storage.kind !== 'held' || storage.node !== node) return undefined;
  const keptByLease = lease?.nodeId === node && cluster.sighting(node, dataset.id)?.restingState.kind === 'mounted';
  if (keptByLease || (!dataset.deleted && dataset.primary === node)) {
    return {
      want: 'mounted',
      datasetId: dataset.id,
      mayCreate: !storage.made,
      sizeBytes: dataset.maximumSizeBytes,
      metadata: dataset.metadata,
      ...(dataset.source === null ? {} : { source: dataset.source.snapshotId }),
      ...leftWith(storage),
    };
  }
  if (!dataset.deleted) return { want: 'released', datasetId: dataset.id };
  return { want: 'destroyed', datasetId: dataset.id, ...leftWith(storage) };
}

/** The same list as a message has it. */
function leftWith({ leftBy }: { readonly leftBy?: readonly NodeId[] }): { leftBy?: string[] } {
  return leftBy === undefined ? {} : { leftBy: [...leftBy] };
}

/** What is to be done about a snapshot by the node that was chosen for it; undefined when it stays as it is. */
export function snapshotWish({ id, datasetId, deleted, storage }: Snapshot): SnapshotWish | undefined {
  if (storage.kind !== 'ordered' && storage.kind !== 'taken') return undefined;
  if (deleted) return { want: 'destroyed', snapshotId: id };
  return storage.kind === 'ordered' ? { want: 'taken', snapshotId: id, datasetId } : undefined;
}

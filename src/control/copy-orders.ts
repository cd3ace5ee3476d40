import type { CopyOrder } from '../api/copy-channel.ts';
import type { NodeId } from '../kit/ids.ts';
import type { Dataset } from '../model/dataset.ts';
import type { ClusterView } from './cluster.ts';
import { mayClear } from './decide-copies.ts';
import type { DeploymentView } from './deployment.ts';

type WithoutNumber<T> = T extends unknown ? Omit<T, 'order'> : never;
/** An order about a copy before it is numbered for a connection. */
export type CopyWish = WithoutNumber<CopyOrder>;

/** What each node is to do about the copies of a dataset; nodes that are not named leave them as they are. */
export function copyWishes(
  dataset: Dataset,
  deployment: DeploymentView,
  cluster: ClusterView,
): ReadonlyMap<NodeId, CopyWish> {
  const wishes = new Map<NodeId, CopyWish>();
  const copies = deployment.copies.get(dataset.id);
  if (copies === undefined) return wishes;
  const { underWay, remains } = copies;
  const datasetId = dataset.id;
  const isDead = (id: NodeId): boolean => deployment.death(id) !== undefined;
  const cleared = new Set<string>();
  for (const node of cluster.nodes()) {
    if (!node.connected || node.copyPort === null || cleared.has(node.pool)) continue;
    if (!mayClear(node, remains, isDead)) continue;
    // One node of each pool does it.
    cleared.add(node.pool);
    wishes.set(node.id, { want: 'cleared', datasetId });
  }
  const source = underWay === null ? undefined : cluster.node(underWay.from);
  if (underWay === null || source?.connected !== true || source.copyPort === null) return wishes;
  const leftBy = dataset.storage.kind === 'free' ? (dataset.storage.leftBy ?? []) : [];
  const copy = underWay.id;
  wishes.set(underWay.from, { want: 'given', datasetId, copy, to: underWay.to, leftBy: [...leftBy] });
  const from = { node: underWay.from, host: source.host, port: source.copyPort };
  wishes.set(underWay.to, { want: 'fetched', datasetId, copy, from });
  return wishes;
}

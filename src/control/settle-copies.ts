import type { DatasetId, NewUuid } from '../kit/ids.ts';
import type { Dataset } from '../model/dataset.ts';
import { type DatasetCopies, NO_COPIES, type VolumeCopy, type VolumeRemains } from '../model/volume-copy.ts';
import type { Change } from './changes.ts';
import type { ClusterView, LiveNode } from './cluster.ts';
import type { DeploymentView } from './deployment.ts';

/**
 * Begins the copies that are needed and ends those that no longer are: of volumes that nobody has, whose primary does not reach
 * their pool. The only place where a copy begins.
 */
export function settleCopies(
  deployment: DeploymentView,
  cluster: ClusterView,
  datasets: readonly DatasetId[],
  newUuid: NewUuid,
): Change[] {
  return [...new Set(datasets)].flatMap((id): Change[] => {
    const dataset = deployment.dataset(id);
    if (dataset === undefined) return [];
    const before = deployment.copies.get(id) ?? { datasetId: id, ...NO_COPIES };
    const after = settled(dataset, before, cluster, newUuid);
    return after === before ? [] : [{ kind: 'copies', copies: after }];
  });
}

function settled(dataset: Dataset, before: DatasetCopies, cluster: ClusterView, newUuid: NewUuid): DatasetCopies {
  const { underWay } = before;
  if (underWay !== null && isWanted(underWay, dataset, cluster)) {
    const source = sourceOf(underWay.fromPool, cluster.node(underWay.to)?.backend, cluster, underWay);
    if (source === undefined || source.id === underWay.from) return before;
    return { ...before, underWay: { ...underWay, from: source.id } };
  }
  const stopped = underWay === null ? before : withoutCopy(before, underWay);
  const copy = neededCopy(dataset, stopped.remains, cluster, newUuid);
  return copy === undefined ? stopped : { ...stopped, underWay: copy };
}

/** Whether a copy that is under way is what the dataset needs still. A node that is away may come back and go on. */
function isWanted(copy: VolumeCopy, { storage, deleted, primary }: Dataset, cluster: ClusterView): boolean {
  if (deleted || primary !== copy.to || storage.kind !== 'free' || storage.pool !== copy.fromPool) return false;
  const target = cluster.node(copy.to);
  return target?.connected !== true || target.pool === copy.pool;
}

/** The node may have all of it, and not have told yet. */
function withoutCopy({ datasetId, remains }: DatasetCopies, { to, pool }: VolumeCopy): DatasetCopies {
  return { datasetId, underWay: null, remains: [...remains.filter((each) => each.pool !== pool), { pool, node: to }] };
}

function neededCopy(
  { storage, deleted, primary }: Dataset,
  remains: readonly VolumeRemains[],
  cluster: ClusterView,
  newUuid: NewUuid,
): VolumeCopy | undefined {
  if (deleted || storage.kind !== 'free') return undefined;
  const target = cluster.node(primary);
  if (target?.connected !== true || target.copyPort === null || target.pool === storage.pool) return undefined;
  // What lies there would be taken for the copy.
  if (remains.some(({ pool }) => pool === target.pool)) return undefined;
  const source = sourceOf(storage.pool, target.backend, cluster);
  if (source === undefined) return undefined;
  return { id: newUuid(), from: source.id, fromPool: storage.pool, to: target.id, pool: target.pool };
}

/** A connected node that can read the pool's volumes for a node with this backend; the one that does it already, if it can. */
function sourceOf(
  pool: string,
  backend: string | undefined,
  cluster: ClusterView,
  present?: VolumeCopy,
): LiveNode | undefined {
  const candidates = [...cluster.nodes()].filter(
    (node) =>
      node.connected && node.copyPort !== null && node.pool === pool && (backend ?? node.backend) === node.backend,
  );
  return candidates.find(({ id }) => id === present?.from) ?? candidates[0];
}

import type { NodeId } from '../kit/ids.ts';
import { formatSize } from '../kit/sizes.ts';
import { type Dataset, nameOf } from '../model/dataset.ts';
import type { Lease } from '../model/lease.ts';
import type { DatasetCopies } from '../model/volume-copy.ts';
import type { Problem, ProblemCode } from '../model/volume-state.ts';
import type { ClusterView, LiveNode } from './cluster.ts';

/** A problem and the node it is about. */
export interface Explanation extends Problem {
  readonly node: NodeId;
}

/**
 * Why a dataset is not as it is configured; undefined when it is. Whoever waits for a volume learns here what it waits for:
 * there is no pending volume without a reason.
 */
export function explain(
  dataset: Dataset,
  lease: Lease | undefined,
  cluster: ClusterView,
  copies?: DatasetCopies,
): Explanation | undefined {
  return (
    conflict(dataset, cluster) ??
    unconfirmed(dataset) ??
    (dataset.deleted ? whyNotGone(dataset, lease, cluster) : whyNotMounted(dataset, lease, cluster, copies))
  );
}

function unconfirmed(dataset: Dataset): Explanation | undefined {
  if (dataset.storage.kind !== 'unconfirmed') return undefined;
  return problem(
    'unconfirmed',
    dataset.primary,
    `The control service was restored from an old copy, and no node has reported since that it has ${called(dataset)}. Start the ` +
      'agents of all nodes; when each is connected, or surely off, say so with "flockerctl restored confirm".',
  );
}

function whyNotMounted(
  dataset: Dataset,
  lease: Lease | undefined,
  cluster: ClusterView,
  copies: DatasetCopies | undefined,
): Explanation | undefined {
  const { storage, primary } = dataset;
  if (storage.kind === 'held' && storage.node !== primary) return whyNotReleased(dataset, storage.node, lease, cluster);
  const node = cluster.node(primary);
  if (storage.kind === 'held') {
    const sighting = cluster.sighting(primary, dataset.id);
    if (sighting?.problem && !growthOf(dataset, cluster)) return { ...sighting.problem, node: primary };
    if (sighting?.state.kind === 'mounted' && node?.connected === true) return undefined;
    if (sighting?.state.kind === 'mounted')
      return away(dataset, primary, node, 'It was mounted there when it was last heard.');
    if (node?.connected === true)
      return problem('in_progress', primary, `${node.host} was told to mount ${called(dataset)}.`);
    return away(dataset, primary, node, 'It holds the volume and mounts it when it is back.');
  }
  if (node?.connected !== true) return away(dataset, primary, node, 'The volume is made or mounted when it connects.');
  if (storage.kind === 'free' && storage.pool !== node.pool) {
    return whyNotCopied(dataset, storage.pool, node, copies, cluster);
  }
  if (storage.kind === 'unmade' && dataset.source !== null && dataset.source.pool !== node.pool) {
    return problem(
      'pool_unreachable',
      primary,
      `${called(dataset)} is to be made from snapshot ${dataset.source.snapshotId}, which is in pool ${dataset.source.pool}, ` +
        `and ${node.host} reaches only pool ${node.pool}. Move the dataset to a node of that pool, or delete it.`,
    );
  }
  if (storage.kind === 'unmade' && storage.leftIn !== undefined && storage.leftIn !== node.pool) {
    return problem(
      'pool_unreachable',
      primary,
      `A node died before it told whether it made ${called(dataset)}, which may be in pool ${storage.leftIn}; ${node.host} reaches ` +
        `only pool ${node.pool}. Move the dataset to a node of that pool, or delete it.`,
    );
  }
  return problem('in_progress', primary, `${node.host} is being told to mount ${called(dataset)}.`);
}

/** Why a volume is not where its primary, which does not reach its pool, could have it. */
function whyNotCopied(
  dataset: Dataset,
  pool: string,
  target: LiveNode,
  copies: DatasetCopies | undefined,
  cluster: ClusterView,
): Explanation {
  const where = `The data of ${called(dataset)} are in pool ${pool}, and ${target.host} reaches only pool ${target.pool}.`;
  if (copies?.underWay?.to === target.id) {
    const { from, id } = copies.underWay;
    const source = cluster.node(from);
    if (source?.connected !== true)
      return away(dataset, from, source, 'It copies the data to another pool, or any other node of its pool does.');
    const sighting = cluster.copySighting(target.id, dataset.id);
    if (sighting?.copy === id && sighting.problem !== null) return { ...sighting.problem, node: target.id };
    const part = sighting?.copy === id && sighting.state.kind === 'part' ? sighting.state : undefined;
    const ofTotal = part?.totalBytes ? ` of about ${formatSize(part.totalBytes)}` : '';
    const came = part === undefined ? '' : `: ${formatSize(part.bytes)}${ofTotal} have come`;
    return problem('in_progress', target.id, `${where} They are being copied there from ${source.host}${came}.`);
  }
  const reach = [...cluster.nodes()].filter((node) => node.pool === pool);
  const isOurs = target.copyPort !== null && reach.every(({ backend }) => backend === target.backend);
  if (!isOurs || reach.some((node) => node.connected && node.copyPort === null))
    return problem('pool_unreachable', target.id, `${where} Move the dataset to a node of its pool.`);
  const remains = copies?.remains.find((each) => each.pool === target.pool);
  if (remains !== undefined) {
    const clearer = cluster.node(remains.node ?? target.id);
    const sighting = clearer === undefined ? undefined : cluster.copySighting(clearer.id, dataset.id);
    if (sighting !== undefined && sighting.problem !== null) return { ...sighting.problem, node: target.id };
    if (clearer?.connected !== true)
      return away(dataset, remains.node ?? target.id, clearer, 'It has to destroy an old copy of the volume first.');
    return problem('in_progress', target.id, `${where} An old copy of it is being destroyed there first.`);
  }
  const [source] = reach;
  if (source !== undefined) return away(dataset, source.id, source, 'It copies the data when it is back.');
  return problem(
    'node_away',
    target.id,
    `${where} They are copied there when a node of their pool connects. Check the agents there.`,
  );
}

/**
 * Why a dataset that is mounted where it belongs has less than it was asked to have; undefined when it has not. It is apart
 * from other problems, since the mount is as good as any.
 */
export function growthOf(dataset: Dataset, cluster: ClusterView): Explanation | undefined {
  const { storage, primary, maximumSizeBytes } = dataset;
  if (dataset.deleted || maximumSizeBytes === null || storage.kind !== 'held' || storage.node !== primary) {
    return undefined;
  }
  const node = cluster.node(primary);
  const sighting = cluster.sighting(primary, dataset.id);
  if (sighting?.state.kind !== 'mounted' || sighting.state.sizeBytes >= maximumSizeBytes) return undefined;
  if (node?.connected !== true) return away(dataset, primary, node, 'It grows the volume when it is back.');
  // A busy node, or one that could not look, tells of more than of growth.
  if (sighting.busy && sighting.problem) return undefined;
  if (sighting.problem) return { ...sighting.problem, node: primary };
  return problem('in_progress', primary, `${node.host} was told to make ${called(dataset)} larger.`);
}

function whyNotGone(dataset: Dataset, lease: Lease | undefined, cluster: ClusterView): Explanation | undefined {
  const { storage, primary } = dataset;
  if (storage.kind === 'gone') return undefined;
  if (storage.kind === 'held') return whyNotReleased(dataset, storage.node, lease, cluster);
  const node = cluster.node(primary);
  if (storage.kind === 'free' && node?.connected === true) {
    return problem(
      'node_away',
      primary,
      `The data of ${called(dataset)} are in pool ${storage.pool}, which no connected node reaches, ${node.host} neither. ` +
        'They are destroyed when a node of that pool connects. Check the agents there.',
    );
  }
  return away(dataset, primary, node, 'The volume is destroyed when it, or another node of its pool, connects.');
}

function whyNotReleased(dataset: Dataset, holder: NodeId, lease: Lease | undefined, cluster: ClusterView): Explanation {
  const node = cluster.node(holder);
  const sighting = cluster.sighting(holder, dataset.id);
  if (node?.connected !== true) {
    return away(
      dataset,
      holder,
      node,
      'It has the volume and has not confirmed letting it go, so no other node may attach it. Bring the node back; or, when ' +
        'the machine is off or cannot write to the storage, say so with "flockerctl node declare-dead".',
    );
  }
  // A lease keeps only what is mounted.
  if (lease?.nodeId === holder && sighting?.restingState.kind === 'mounted') {
    return problem(
      'waiting_for_lease',
      holder,
      `${node.host} holds a lease on ${called(dataset)}: it lets go when the lease is released or expires.`,
    );
  }
  if (sighting?.problem) return { ...sighting.problem, node: holder };
  return problem('waiting_for_release', holder, `${node.host} was told to let go of ${called(dataset)}.`);
}

function conflict(dataset: Dataset, cluster: ClusterView): Explanation | undefined {
  const { storage } = dataset;
  for (const node of cluster.havers(dataset.id)) {
    if (storage.kind === 'held' && storage.node === node) continue;
    const host = cluster.node(node)?.host ?? node;
    return problem(
      'conflict',
      node,
      `${host} reports that it has ${called(dataset)}, but it is not the node that may have it. Stop what uses it there, ` +
        'and unmount it by hand.',
    );
  }
  return undefined;
}

function away(dataset: Dataset, id: NodeId, node: LiveNode | undefined, consequence: string): Explanation {
  if (node === undefined) {
    return problem(
      'node_unknown',
      id,
      `Node ${id}, which ${called(dataset)} needs, has not connected to this control service since it started. ` +
        `${consequence} Check the agent there, or move the dataset.`,
    );
  }
  const since = new Date(node.lastHeardMs).toISOString();
  return problem(
    'node_away',
    id,
    `${node.host} (node ${id}), which ${called(dataset)} needs, has not been heard since ${since}. ${consequence} ` +
      'Check the agent there.',
  );
}

function called(dataset: Dataset): string {
  const name = nameOf(dataset.metadata);
  return name === undefined ? `dataset ${dataset.id}` : `volume ${name} (dataset ${dataset.id})`;
}

function problem(code: ProblemCode, node: NodeId, message: string): Explanation {
  return { code, node, message };
}

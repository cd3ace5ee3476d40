import type { SnapshotStatus, SnapshotView } from '../api/snapshots.ts';
import { nameOf } from '../model/dataset.ts';
import type { Snapshot } from '../model/snapshot.ts';
import { needsAction, type Problem } from '../model/volume-state.ts';
import type { ClusterView } from './cluster.ts';
import type { DeploymentView } from './deployment.ts';
import { type Explanation, explain } from './explain.ts';
import { problemView } from './views.ts';

/** A snapshot as the API shows it. */
export function snapshotView(snapshot: Snapshot, deployment: DeploymentView, cluster: ClusterView): SnapshotView {
  const { id, datasetId, metadata, storage } = snapshot;
  const taken = storage.kind === 'taken' ? storage : undefined;
  return {
    snapshot_id: id,
    dataset_id: datasetId,
    metadata: { ...metadata },
    status: statusOf(snapshot),
    pool: taken?.pool ?? null,
    size: taken?.sizeBytes ?? null,
    taken: taken === undefined ? null : new Date(taken.takenAtMs).toISOString(),
    problem: problemOf(snapshot, deployment, cluster),
  };
}

function statusOf({ deleted, storage }: Snapshot): SnapshotStatus {
  if (storage.kind === 'gone') return 'deleted';
  if (deleted) return 'deleting';
  if (storage.kind === 'taken') return 'ready';
  return storage.kind === 'failed' ? 'failed' : 'pending';
}

function problemOf(snapshot: Snapshot, deployment: DeploymentView, cluster: ClusterView): SnapshotView['problem'] {
  const { storage, deleted } = snapshot;
  switch (storage.kind) {
    case 'gone':
      return null;
    case 'failed': {
      const { code, message } = storage.problem;
      return { code, message, needs_action: true };
    }
    case 'unmade':
      return whyUnmade(snapshot, deployment, cluster);
    case 'ordered':
      return whyNotDone(snapshot, storage, cluster);
    case 'taken':
      return deleted ? whyNotDestroyed(snapshot, storage.pool, cluster) : null;
  }
}

/** It waits for its dataset, so the reason is whatever keeps that from its node. */
function whyUnmade(
  { id, datasetId }: Snapshot,
  deployment: DeploymentView,
  cluster: ClusterView,
): SnapshotView['problem'] {
  const dataset = deployment.dataset(datasetId);
  const why = dataset === undefined ? undefined : explain(dataset, deployment.lease(datasetId), cluster);
  const what = `Snapshot ${id} is taken when a node has ${dataset === undefined ? datasetId : (nameOf(dataset.metadata) ?? datasetId)}.`;
  return why === undefined
    ? { code: 'in_progress', message: what, needs_action: false }
    : problemView({ ...why, message: `${what} ${why.message}` });
}

function whyNotDone(
  { id, deleted, datasetId }: Snapshot,
  { node: nodeId, pool }: { readonly node: Explanation['node']; readonly pool: string },
  cluster: ClusterView,
): SnapshotView['problem'] {
  const node = cluster.node(nodeId);
  const said = cluster.snapshotProblem(id);
  const what = deleted ? `destroy snapshot ${id}` : `take snapshot ${id} of dataset ${datasetId}`;
  if (node?.connected !== true) {
    const who = node === undefined ? `Node ${nodeId}` : `${node.host} (node ${nodeId})`;
    const since = node === undefined ? '' : ` since ${new Date(node.lastHeardMs).toISOString()}`;
    const message = `${who} was told to ${what}, and has not been heard${since}. It tells when it is back. Check the agent there.`;
    return problemView({ code: node === undefined ? 'node_unknown' : 'node_away', node: nodeId, message });
  }
  if (node.pool !== pool) {
    const message = `${node.host} was told to ${what} in pool ${pool}, and now reaches only pool ${node.pool}. Give it that pool back.`;
    return problemView({ code: 'pool_unreachable', node: nodeId, message });
  }
  return inProgress(said, node.host, nodeId, what);
}

function whyNotDestroyed({ id }: Snapshot, pool: string, cluster: ClusterView): SnapshotView['problem'] {
  for (const node of cluster.nodes()) {
    if (!node.connected || node.pool !== pool) continue;
    return inProgress(cluster.snapshotProblem(id), node.host, node.id, `destroy snapshot ${id}`);
  }
  const message = `Snapshot ${id} is in pool ${pool}, which no connected node reaches. It is destroyed when one of them connects. Check the agents there.`;
  return { code: 'node_away', message, needs_action: needsAction('node_away') };
}

function inProgress(
  said: (Problem & { readonly node: Explanation['node'] }) | undefined,
  host: string,
  node: Explanation['node'],
  what: string,
): SnapshotView['problem'] {
  return problemView(said ?? { code: 'in_progress', node, message: `${host} was told to ${what}.` });
}

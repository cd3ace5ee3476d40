import type { DeploymentView } from '../../src/control/deployment.ts';
import { type Dataset, NAME_KEY } from '../../src/model/dataset.ts';
import type { Snapshot } from '../../src/model/snapshot.ts';
import type { SimCluster } from './sim-cluster.ts';

/** What is wrong at this moment, whatever happens: the rules of one writer and of durable answers. */
export function brokenRule(cluster: SimCluster): string | undefined {
  const [violation] = cluster.violations;
  if (violation !== undefined) return violation.message;
  for (const [id, { mountedOn }] of cluster.engine.volumes) {
    if (mountedOn.size > 1) return `dataset ${id} is mounted on ${[...mountedOn].join(' and ')}`;
  }
  for (const { tasks } of cluster.nodes) {
    const fault = tasks.fault();
    if (fault !== undefined) return fault;
  }
  for (const [id, records] of cluster.written) {
    if (cluster.deletions.has(id) || (cluster.engine.volumes.get(id)?.records ?? 0) >= records) continue;
    return `of ${records} records that were written to dataset ${id} some are lost`;
  }
  const deployment = cluster.control.service?.deployment;
  if (deployment === undefined) return undefined;
  const { made, deleted } = cluster.acknowledged;
  for (const id of new Set([...made, ...deleted])) {
    const dataset = deployment.dataset(id as Dataset['id']);
    if (dataset === undefined && made.has(id)) return `the creation of dataset ${id} was answered and is forgotten`;
    if (dataset?.deleted === false && deleted.has(id))
      return `the deletion of dataset ${id} was answered and is forgotten`;
  }
  const named = new Set<string>();
  for (const dataset of deployment.datasets()) {
    const name = dataset.metadata[NAME_KEY];
    if (name !== undefined && !dataset.deleted) {
      if (named.has(name)) return `there are two datasets named ${name}`;
      named.add(name);
    }
    const wrong = wrongGrant(cluster, deployment, dataset);
    if (wrong !== undefined) return wrong;
  }
  return undefined;
}

/** Nobody is granted, and nothing is taken for free, what a node has that lives. */
function wrongGrant({ engine }: SimCluster, deployment: DeploymentView, { id, storage }: Dataset): string | undefined {
  const volume = engine.volumes.get(id);
  for (const owner of volume?.owners ?? []) {
    const isHolder = storage.kind === 'held' && storage.node === owner;
    const isDead =
      deployment.death(owner) !== undefined || ('leftBy' in storage && (storage.leftBy ?? []).includes(owner));
    if (!isHolder && !isDead)
      return `dataset ${id} is with node ${owner}, and the records say ${JSON.stringify(storage)}`;
  }
  return undefined;
}

/** What is not as it was asked for and has no reason to be so. Empty when everything has converged. */
export function unfinished(cluster: SimCluster): string[] {
  const { service } = cluster.control;
  if (service === undefined) return ['the control service is down'];
  const { deployment } = service;
  const datasets = [...deployment.datasets()].filter((dataset) => !isDone(cluster, deployment, dataset));
  const snapshots = [...deployment.snapshots.all()].filter(
    (snapshot) => !isSnapshotDone(cluster, deployment, snapshot),
  );
  const holding = cluster.nodes.filter(({ volumes }) => volumes === undefined || volumes.list().length > 0);
  const away = cluster.nodes.filter(({ id }) => service.cluster.node(id)?.connected !== true);
  return [
    ...away.map(({ id }) => `node ${id} is not connected`),
    ...holding.map(({ id, volumes }) => `node ${id} holds ${JSON.stringify(volumes?.list())}`),
    ...datasets.map((dataset) => `dataset ${JSON.stringify(dataset)}`),
    ...snapshots.map((snapshot) => `snapshot ${JSON.stringify(snapshot)}`),
  ];
}

function isDone({ engine, nodes }: SimCluster, deployment: DeploymentView, dataset: Dataset): boolean {
  const { id, primary, deleted, storage, source, maximumSizeBytes } = dataset;
  const volume = engine.volumes.get(id);
  const lease = deployment.lease(id);
  // A lease keeps it where it is.
  if (storage.kind === 'held' && lease?.nodeId === storage.node) return true;
  if (deleted) return storage.kind === 'gone' && volume === undefined;
  const pool = nodes.find((node) => node.id === primary)?.pool;
  // Its data are where its node cannot reach them.
  if (storage.kind === 'free' && storage.pool !== pool) return true;
  if (storage.kind === 'unmade' && source !== null && source.pool !== pool) return true;
  if (storage.kind === 'unmade' && storage.leftIn !== undefined && storage.leftIn !== pool) return true;
  const isMounted = volume?.mountedOn.size === 1 && volume.mountedOn.has(primary);
  const isLargeEnough = volume !== undefined && volume.sizeBytes >= (maximumSizeBytes ?? 0);
  return isMounted && isLargeEnough && storage.kind === 'held' && storage.node === primary;
}

function isSnapshotDone({ engine }: SimCluster, deployment: DeploymentView, snapshot: Snapshot): boolean {
  const { id, datasetId, deleted, storage } = snapshot;
  const exists = engine.snapshots.has(id);
  if (deleted) return storage.kind === 'gone' && !exists;
  if (storage.kind === 'taken') return exists;
  if (exists) return false;
  const dataset = deployment.dataset(datasetId);
  return storage.kind === 'failed'
    ? dataset?.storage.kind === 'gone'
    : storage.kind === 'unmade' && dataset?.storage.kind !== 'held';
}

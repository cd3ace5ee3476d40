import { DESCRIPTIONS } from '../api/errors.ts';
import type { NodeDeathView } from '../api/nodes.ts';
import { type NewUuid, type NodeId, parseNodeId } from '../kit/ids.ts';
import type { Dataset, KnownStorage, Storage } from '../model/dataset.ts';
import type { NodeDeath } from '../model/node-death.ts';
import type { Change, Decision } from './changes.ts';
import type { ClusterView, LiveNode } from './cluster.ts';
import type { Reply } from './decide-datasets.ts';
import type { DeploymentView } from './deployment.ts';
import { settle } from './settle.ts';

/** What of the world the declaration needs. */
export interface DeclarationWorld {
  readonly wallMs: number;
  readonly newUuid: NewUuid;
}

/**
 * Takes everything from a node that an operator says is dead: its volumes may be granted to others, its leases end. Refused
 * while the node is connected, as it could go on writing, and for nodes that nothing is known of.
 */
export function decideDeclareDead(
  deployment: DeploymentView,
  cluster: ClusterView,
  uuid: string,
  { wallMs, newUuid }: DeclarationWorld,
): Decision<Reply<NodeDeathView>> {
  const node = parseNodeId(uuid);
  if (node === undefined) return reject(400, DESCRIPTIONS.schema);
  const present = deployment.death(node);
  if (present !== undefined) return { reply: { status: 200, body: view(present, [], []) }, changes: [] };
  const live = cluster.node(node);
  if (live?.connected === true) {
    const advice =
      `${live.host} answers, so it is not dead: switch it off, or make sure that it cannot write to the storage and stop its ` +
      'agent; then declare it dead';
    return { reply: { status: 409, body: { description: DESCRIPTIONS.nodeConnected, errors: [advice] } }, changes: [] };
  }
  const leases = [...deployment.leases()].filter(({ nodeId }) => nodeId === node).map(({ datasetId }) => datasetId);
  const concerned = deployment.concerning(node);
  const isKnown = cluster.wasHeard(node) || leases.length > 0 || concerned.length > 0;
  if (!isKnown) return reject(404, DESCRIPTIONS.nodeUnknown);

  const death: NodeDeath = { node, declaration: newUuid(), declaredAtMs: wallMs };
  const taken = concerned.filter(({ storage }) => {
    const known = storage.kind === 'unconfirmed' ? storage.was : storage;
    return known.kind === 'held' && known.node === node;
  });
  const changes: Change[] = [
    { kind: 'nodeDead', death },
    ...leases.map((datasetId): Change => ({ kind: 'leaseEnded', datasetId })),
    ...leftSnapshots(deployment, node, cluster.nodes()),
    ...taken.map((dataset): Change => ({ kind: 'dataset', dataset: takenFrom(dataset, node, cluster) })),
    { kind: 'revision', revision: deployment.revision + 1 },
  ];
  const ids = taken.map(({ id }) => id);
  return { reply: { status: 200, body: view(death, ids, leases) }, changes };
}

function takenFrom(dataset: Dataset, node: NodeId, cluster: ClusterView): Dataset {
  const { storage } = dataset;
  if (storage.kind === 'unconfirmed') {
    // Where it is stays in doubt; but that this node holds it is no obstacle any more.
    const was = storage.was.kind === 'held' ? leftStorage(storage.was, node) : storage.was;
    return { ...dataset, storage: { kind: 'unconfirmed', was } };
  }
  return storage.kind === 'held' ? settle({ ...dataset, storage: leftStorage(storage, node) }, cluster) : dataset;
}

function leftStorage(storage: Extract<Storage, { kind: 'held' }>, node: NodeId): KnownStorage {
  // It was granted what an earlier dead node had, and perhaps did not take it over: it may lie with either.
  const leftBy = [...(storage.leftBy ?? []).filter((id) => id !== node), node];
  // One that was never seen to exist may have been made nevertheless.
  return storage.made && storage.pool !== null
    ? { kind: 'free', pool: storage.pool, sizeBytes: storage.sizeBytes, leftBy }
    : { kind: 'unmade', leftBy, ...(storage.pool === null ? {} : { leftIn: storage.pool }) };
}

/**
 * Snapshots that a dead node was told to take or to destroy. Whether it did, any node of the pool can see, and goes on from there;
 * while none is connected they wait.
 */
export function leftSnapshots(deployment: DeploymentView, dead: NodeId, nodes: Iterable<LiveNode>): Change[] {
  const connected = [...nodes].filter((node) => node.connected && node.id !== dead);
  return deployment.snapshots.orderedTo(dead).flatMap((snapshot): Change[] => {
    const { storage } = snapshot;
    const heir = storage.kind === 'ordered' ? connected.find(({ pool }) => pool === storage.pool) : undefined;
    if (heir === undefined) return [];
    return [
      { kind: 'snapshot', snapshot: { ...snapshot, storage: { kind: 'ordered', node: heir.id, pool: heir.pool } } },
    ];
  });
}

function view(death: NodeDeath, datasets: readonly string[], leases: readonly string[]): NodeDeathView {
  return {
    uuid: death.node,
    declared_dead: new Date(death.declaredAtMs).toISOString(),
    datasets: [...datasets],
    leases: [...leases],
  };
}

function reject(status: number, description: string): Decision<Reply<never>> {
  return { reply: { status, body: { description } }, changes: [] };
}

import type { DatasetState } from '../api/datasets.ts';
import type { DatasetInspection, DatasetStatus, ProblemView } from '../api/inspection.ts';
import type { MesosAgentView, NodeInspection, NodeState } from '../api/nodes.ts';
import type { Dataset } from '../model/dataset.ts';
import type { Lease } from '../model/lease.ts';
import type { NodeDeath } from '../model/node-death.ts';
import type { DatasetCopies } from '../model/volume-copy.ts';
import { needsAction } from '../model/volume-state.ts';
import type { ClusterView, LiveNode } from './cluster.ts';
import { configurationOf } from './decide-datasets.ts';
import { type Explanation, explain, growthOf } from './explain.ts';
import type { Match } from './mesos/match-agents.ts';

/** A dataset's reported state (contract 1.5); undefined while no volume is known to exist. */
export function stateOf(dataset: Dataset, cluster: ClusterView): DatasetState | undefined {
  const { storage } = dataset;
  if (storage.kind === 'unmade' || storage.kind === 'unconfirmed' || storage.kind === 'gone') return undefined;
  const sighting = storage.kind === 'held' ? cluster.sighting(storage.node, dataset.id) : undefined;
  if (storage.kind === 'held' && sighting?.state.kind === 'mounted') {
    const { path, sizeBytes } = sighting.state;
    return { dataset_id: dataset.id, primary: storage.node, path, maximum_size: sizeBytes };
  }
  if (storage.kind === 'held' && (!storage.made || sighting?.state.kind === 'absent')) return undefined;
  return { dataset_id: dataset.id, ...(storage.sizeBytes === null ? {} : { maximum_size: storage.sizeBytes }) };
}

/** Everything that is known of a dataset. */
export function inspectionOf(
  dataset: Dataset,
  lease: Lease | undefined,
  copies: DatasetCopies | undefined,
  cluster: ClusterView,
  wallMs: number,
): DatasetInspection {
  const state = stateOf(dataset, cluster);
  const explanation = explain(dataset, lease, cluster, copies);
  const growth = growthOf(dataset, cluster);
  return {
    configuration: configurationOf(dataset),
    status: statusOf(dataset, cluster),
    state: state === undefined ? null : withoutId(state),
    holder: dataset.storage.kind === 'held' ? dataset.storage.node : null,
    lease:
      lease === undefined
        ? null
        : {
            node_uuid: lease.nodeId,
            expires: lease.expiresAtMs === null ? null : (lease.expiresAtMs - wallMs) / 1000,
          },
    ...usageOf(dataset, cluster),
    ...(dataset.source === null ? {} : { source_snapshot: dataset.source.snapshotId }),
    ...(growth === undefined ? {} : { growth: problemView(growth) }),
    ...copyOf(dataset, copies, cluster),
    problem: explanation === undefined ? null : problemView(explanation),
  };
}

export function problemView({ code, message, node }: Explanation): ProblemView {
  return { code, message, needs_action: needsAction(code), node_uuid: node };
}

export function nodeState(node: LiveNode): NodeState {
  return { uuid: node.id, host: node.host };
}

/** Of a node; `agents` are those of Mesos on it, where a master is listened to. */
export function nodeInspection(node: LiveNode, death?: NodeDeath, agents?: readonly Match[]): NodeInspection {
  return {
    uuid: node.id,
    host: node.host,
    connected: node.connected,
    last_heard: new Date(node.lastHeardMs).toISOString(),
    era: node.era,
    version: node.version,
    backend: node.backend,
    pool: node.pool,
    profiles: [...node.profiles],
    ...(death === undefined ? {} : { declared_dead: new Date(death.declaredAtMs).toISOString() }),
    ...(agents === undefined ? {} : { mesos_agents: agents.map(mesosAgentView) }),
  };
}

function mesosAgentView({ agent: { id, hostname }, others }: Match): MesosAgentView {
  return { id, hostname, ...(others.length === 0 ? {} : { also_fits: [...others] }) };
}

function statusOf(dataset: Dataset, cluster: ClusterView): DatasetStatus {
  const { storage } = dataset;
  if (storage.kind === 'gone') return 'deleted';
  if (dataset.deleted) return 'deleting';
  if (storage.kind === 'held' && storage.node !== dataset.primary) return 'moving';
  if (storage.kind === 'held' && cluster.sighting(storage.node, dataset.id)?.state.kind === 'mounted') return 'mounted';
  return storage.kind === 'free' ? 'detached' : 'pending';
}

function usageOf({ id, storage }: Dataset, cluster: ClusterView): Pick<DatasetInspection, 'usage'> {
  const usage = storage.kind === 'held' ? cluster.sighting(storage.node, id)?.usage : undefined;
  return usage === undefined ? {} : { usage: { used: usage.usedBytes, available: usage.availableBytes } };
}

function copyOf(
  { id }: Dataset,
  copies: DatasetCopies | undefined,
  cluster: ClusterView,
): Pick<DatasetInspection, 'copy'> {
  const underWay = copies?.underWay ?? null;
  if (underWay === null) return {};
  const { from, to } = underWay;
  const sighting = cluster.copySighting(to, id);
  const part = sighting?.copy === underWay.id && sighting.state.kind === 'part' ? sighting.state : undefined;
  return { copy: { from, to, bytes: part?.bytes ?? 0, total: part?.totalBytes ?? null } };
}

function withoutId(state: DatasetState): Omit<DatasetState, 'dataset_id'> {
  const { dataset_id: _, ...rest } = state;
  return rest;
}

import { type DatasetId, type NodeId, parseDatasetId, parseNodeId } from '../../kit/ids.ts';
import type { Dataset, Storage } from '../../model/dataset.ts';
import type { VolumeState } from '../../model/volume-state.ts';
import { Cluster, type LiveNode } from '../cluster.ts';

export const DATASET = sampleDatasetId(1);
export const A = sampleNodeId(1);
export const B = sampleNodeId(2);

export function sampleDatasetId(number: number): DatasetId {
  const id = parseDatasetId(`00000000-0000-4000-8000-${String(number).padStart(12, '0')}`);
  if (id === undefined) throw new Error('no id');
  return id;
}

export function sampleNodeId(number: number): NodeId {
  const id = parseNodeId(`00000000-0000-4000-9000-${String(number).padStart(12, '0')}`);
  if (id === undefined) throw new Error('no id');
  return id;
}

export function dataset(fields: Partial<Dataset> = {}): Dataset {
  return {
    id: DATASET,
    primary: A,
    deleted: false,
    metadata: {},
    maximumSizeBytes: null,
    source: null,
    storage: { kind: 'unmade' },
    ...fields,
  };
}

export function held(node: NodeId, fields: Partial<Extract<Storage, { kind: 'held' }>> = {}): Storage {
  return { kind: 'held', node, made: true, pool: 'pool-a', sizeBytes: 1024, ...fields };
}

export function node(id: NodeId, fields: Partial<LiveNode> = {}): LiveNode {
  return {
    id,
    host: `host-of-${id}`,
    era: id,
    version: '0',
    backend: 'loopback',
    pool: 'pool-a',
    profiles: [],
    connected: true,
    fences: false,
    copyPort: null,
    lastHeardMs: 0,
    ...fields,
  };
}

export const mounted: VolumeState = { kind: 'mounted', sizeBytes: 1024, path: '/flocker/x' };

/** A cluster of these nodes, that have reported these states of {@link DATASET}. */
export function clusterOf(
  nodes: readonly LiveNode[],
  states: readonly (readonly [NodeId, VolumeState])[] = [],
): Cluster {
  const cluster = new Cluster();
  for (const each of nodes) {
    cluster.join(each);
    if (!each.connected) cluster.disconnected(each.id);
  }
  for (const [id, state] of states) {
    cluster.see(id, DATASET, { datasetId: DATASET, order: 1, busy: false, state, problem: null });
  }
  return cluster;
}

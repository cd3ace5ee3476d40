import fc from 'fast-check';
import type { DatasetId, SnapshotId } from '../../src/kit/ids.ts';
import type { ModelCluster } from './model-cluster.ts';
import type { ModelNode } from './model-node.ts';

type Acts = (cluster: ModelCluster, node: ModelNode, id: DatasetId) => void;

const ON_DATASETS = {
  move: (cluster, node, id) => cluster.move(id, node),
  remove: (cluster, _, id) => cluster.remove(id),
  lease: (cluster, node, id) => cluster.lease(id, node, null),
  leaseShortly: (cluster, node, id) => cluster.lease(id, node, 10),
  release: (cluster, _, id) => cluster.release(id),
  begin: (_, node, id) => void node.begin(id),
  finish: (_, node, id) => void node.finish(id),
  tell: (_, node, id) => node.tell(id),
  beginCopy: (_, node, id) => void node.copies.begin(id),
  finishCopy: (_, node, id) => void node.copies.finish(id),
  everything: doEverything,
  grow: (cluster, _, id) => cluster.grow(id),
  snapshot: (cluster, _, id) => {
    if (cluster.snapshotIds.length < 4) cluster.snapshot(id);
  },
} satisfies Record<string, Acts>;

const ON_SNAPSHOTS = {
  clone: (cluster, node, id) => {
    if (cluster.ids.length < 5) cluster.clone(node, id);
  },
  removeSnapshot: (cluster, _, id) => cluster.removeSnapshot(id),
  beginSnapshot: (_, node, id) => void node.beginSnapshot(id),
  finishSnapshot: (_, node, id) => void node.finishSnapshot(id),
} satisfies Record<string, (cluster: ModelCluster, node: ModelNode, id: SnapshotId) => void>;

const ON_NODES = {
  create: (cluster, node) => {
    if (cluster.ids.length < 3) cluster.create(node);
  },
  join: (cluster, node) => cluster.join(node),
  leave: (cluster, node) => node.leave(cluster.service),
  crash: (cluster, node) => node.crash(cluster.service),
  declareDead: (cluster, node) => cluster.declareDead(node),
  readOrders: (_, node) => void node.readOrders(),
  deliverReport: (cluster, node) => cluster.note(node.deliverReport(cluster.service)),
  pass: (cluster) => cluster.clock.advance(7_000),
  restart: (cluster) => cluster.restart(),
} satisfies Record<string, (cluster: ModelCluster, node: ModelNode) => void | Promise<void>>;

type Operation = keyof typeof ON_DATASETS | keyof typeof ON_NODES | keyof typeof ON_SNAPSHOTS;
const OPERATIONS = [ON_DATASETS, ON_NODES, ON_SNAPSHOTS].flatMap(Object.keys) as Operation[];

/** One thing that happens to a cluster. */
export interface Step {
  readonly operation: Operation;
  readonly node: number;
  readonly dataset: number;
  /** Whether to wait until what was begun is durable. */
  readonly settle: boolean;
}

/** Any thing that may happen. */
export const step: fc.Arbitrary<Step> = fc.record({
  // What agents do is chosen more often than what users do, or nothing ever gets anywhere.
  operation: fc.oneof(
    {
      weight: 6,
      arbitrary: fc.constantFrom<Operation>('readOrders', 'begin', 'finish', 'deliverReport', 'everything'),
    },
    { weight: 2, arbitrary: fc.constantFrom<Operation>('snapshot', 'beginSnapshot', 'finishSnapshot') },
    { weight: 1, arbitrary: fc.constantFrom<Operation>('clone', 'removeSnapshot') },
    { weight: 2, arbitrary: fc.constantFrom<Operation>('beginCopy', 'finishCopy') },
    { weight: 3, arbitrary: fc.constantFrom<Operation>('move', 'join') },
    { weight: 1, arbitrary: fc.constant<Operation>('declareDead') },
    { weight: 2, arbitrary: fc.constantFrom(...OPERATIONS) },
  ),
  // Mostly one dataset between two nodes that share a pool: that is where harm can come from.
  node: fc.oneof({ weight: 6, arbitrary: fc.nat({ max: 1 }) }, { weight: 2, arbitrary: fc.constant(2) }),
  dataset: fc.oneof({ weight: 5, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.nat({ max: 2 }) }),
  settle: fc.boolean(),
});

/** What may happen while a volume moves between two pools that two nodes each reach. */
export const copyStep: fc.Arbitrary<Step> = fc.record({
  operation: fc.oneof(
    {
      weight: 8,
      arbitrary: fc.constantFrom<Operation>('beginCopy', 'finishCopy', 'readOrders', 'deliverReport', 'move'),
    },
    { weight: 3, arbitrary: fc.constantFrom<Operation>('begin', 'finish', 'everything', 'join') },
    { weight: 1, arbitrary: fc.constantFrom<Operation>('leave', 'crash', 'declareDead', 'restart', 'remove') },
  ),
  node: fc.nat({ max: 3 }),
  dataset: fc.constant(0),
  settle: fc.boolean(),
});

/** Lets it happen. */
export async function take(cluster: ModelCluster, { operation, node: nodeIndex, dataset }: Step): Promise<void> {
  const node = cluster.nodes[nodeIndex];
  if (node === undefined) throw new Error('no node');
  const id = cluster.ids[dataset % Math.max(1, cluster.ids.length)];
  const snapshotId = cluster.snapshotIds[dataset % Math.max(1, cluster.snapshotIds.length)];
  if (isOnNodes(operation)) await ON_NODES[operation](cluster, node);
  else if (isOnSnapshots(operation)) {
    if (snapshotId !== undefined) ON_SNAPSHOTS[operation](cluster, node, snapshotId);
  } else if (id !== undefined) ON_DATASETS[operation](cluster, node, id);
}

function isOnSnapshots(operation: Operation): operation is keyof typeof ON_SNAPSHOTS {
  return operation in ON_SNAPSHOTS;
}

function isOnNodes(operation: Operation): operation is keyof typeof ON_NODES {
  return operation in ON_NODES;
}

/** A node that is not interrupted. */
function doEverything(cluster: ModelCluster, node: ModelNode, id: DatasetId): void {
  if (!node.connected) cluster.join(node);
  const onSnapshots = (): boolean =>
    cluster.snapshotIds.some((snapshot) => node.beginSnapshot(snapshot) || node.finishSnapshot(snapshot));
  while (
    node.readOrders() ||
    node.begin(id) ||
    node.finish(id) ||
    node.copies.begin(id) ||
    node.copies.finish(id) ||
    onSnapshots()
  );
  for (let work = node.deliverReport(cluster.service); work !== undefined; work = node.deliverReport(cluster.service)) {
    cluster.note(work);
  }
}

import type { NodeId } from '../kit/ids.ts';
import type { Dataset, Storage } from '../model/dataset.ts';
import type { ClusterView } from './cluster.ts';

/**
 * Hands a dataset that nobody has to the node that should have it next. This is the only place where a node is allowed to
 * touch a volume, and it does so only from `unmade` and `free`: rule 1, one writer.
 */
export function settle(dataset: Dataset, cluster: ClusterView): Dataset {
  const { storage } = dataset;
  switch (storage.kind) {
    case 'held':
    case 'unconfirmed':
    case 'gone':
      return dataset;
    case 'unmade': {
      if (dataset.deleted) return settle({ ...dataset, storage: afterDeletion(storage) }, cluster);
      const node = cluster.node(dataset.primary);
      if (node?.connected !== true) return dataset;
      if (dataset.source !== null && dataset.source.pool !== node.pool) return dataset;
      // It may be there: made in another pool as well, there would be two.
      if (storage.leftIn !== undefined && storage.leftIn !== node.pool) return dataset;
      const held = { kind: 'held', node: node.id, made: false, pool: node.pool, sizeBytes: null } as const;
      return { ...dataset, storage: { ...held, ...leftOf(storage) } };
    }
    case 'free': {
      const node = dataset.deleted ? anyNodeOfPool(dataset, storage.pool, cluster) : cluster.node(dataset.primary);
      if (node?.connected !== true || node.pool !== storage.pool) return dataset;
      const { pool, sizeBytes } = storage;
      const held = { kind: 'held', node: node.id, made: true, pool, sizeBytes } as const;
      return { ...dataset, storage: { ...held, ...leftOf(storage) } };
    }
  }
}

/** What was never seen to exist is gone, unless a node that died may have made it: then its pool is to be looked through. */
function afterDeletion({ leftBy, leftIn }: Extract<Storage, { kind: 'unmade' }>): Storage {
  if (leftBy === undefined || leftIn === undefined) return { kind: 'gone' };
  return { kind: 'free', pool: leftIn, sizeBytes: null, leftBy };
}

interface Left {
  readonly leftBy?: readonly NodeId[];
}

/** Who left the volume, where that still matters. */
export function leftOf({ leftBy }: Left): Left {
  return leftBy === undefined ? {} : { leftBy };
}

function anyNodeOfPool(dataset: Dataset, pool: string, cluster: ClusterView): ReturnType<ClusterView['node']> {
  const primary = cluster.node(dataset.primary);
  if (primary?.connected === true && primary.pool === pool) return primary;
  for (const node of cluster.nodes()) if (node.connected && node.pool === pool) return node;
  return undefined;
}

import type { DatasetInspection } from '../../api/inspection.ts';
import type { PoolView, StorageView } from '../../api/storage.ts';
import type { NodeId } from '../../kit/ids.ts';
import { DEFAULT_SIZE_BYTES } from '../../model/dataset.ts';

/** The pool of a node; undefined while the node has not reported one. */
export function poolOf(view: StorageView, node: string): PoolView | undefined {
  const pool = view.nodes.find(({ uuid }) => uuid.toLowerCase() === node.toLowerCase())?.pool;
  return view.pools.find((one) => one.pool === pool);
}

/**
 * Bytes that can still be promised in the pool of a node, below 0 when more is promised than there is: the size of the pool
 * less the sizes of all its volumes, and no more than can be written less what its volumes have yet to write. Undefined while
 * the node has not reported its pool; 0 when nothing is known, as a promise that cannot be kept is worse than none.
 */
export function spareBytesOf(
  view: StorageView,
  inspections: readonly DatasetInspection[],
  node: NodeId,
): number | undefined {
  const pool = poolOf(view, node);
  if (pool === undefined) return undefined;
  const { total, available, provisioned } = pool.figures;
  const unpromised = total === null ? null : total - provisioned;
  const writable = available === null ? null : available - unwrittenBytes(view, pool, inspections);
  const known = [unpromised, writable].filter((figure) => figure !== null);
  return known.length === 0 ? 0 : Math.min(...known);
}

/** What the volumes of a pool may still write. Of a volume whose use is not known nothing counts as written. */
function unwrittenBytes(view: StorageView, pool: PoolView, inspections: readonly DatasetInspection[]): number {
  const { physical, provisioned } = pool.figures;
  if (physical !== null) return Math.max(0, provisioned - physical);
  const sizes = inspections
    .filter(({ configuration: { deleted, primary } }) => !deleted && poolOf(view, primary) === pool)
    .map(({ configuration, state, usage }) => {
      const sizeBytes = state?.maximum_size ?? configuration.maximum_size ?? DEFAULT_SIZE_BYTES;
      return Math.max(0, sizeBytes - (usage?.used ?? 0));
    });
  return sizes.reduce((sum, size) => sum + size, 0);
}

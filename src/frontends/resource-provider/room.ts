import type { PoolView, StorageView } from '../../api/storage.ts';
import type { NodeId } from '../../kit/ids.ts';

/** The pool of a node; undefined while the node has not reported one. */
export function poolOf(view: StorageView, node: NodeId): PoolView | undefined {
  const pool = view.nodes.find(({ uuid }) => uuid.toLowerCase() === node)?.pool;
  return view.pools.find((one) => one.pool === pool);
}

/**
 * Bytes that can still be promised: what the pool has, less the sizes of all volumes in it; and never more than what can be
 * written, less what its volumes have yet to write when that is known. 0 when nothing is known, as a promise that cannot be
 * kept is worse than none.
 */
export function freeBytesOf({ figures: { total, available, provisioned, physical } }: PoolView): number {
  const unpromised = total === null ? null : total - provisioned;
  const unwritten = physical === null ? 0 : Math.max(0, provisioned - physical);
  const writable = available === null ? null : available - unwritten;
  const known = [unpromised, writable].filter((figure) => figure !== null);
  return known.length === 0 ? 0 : Math.max(0, Math.min(...known));
}

/** Whether more is promised than the pool has. */
export function isOverpromised({ figures: { total, provisioned } }: PoolView): boolean {
  return total !== null && provisioned > total;
}

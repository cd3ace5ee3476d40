import type { DatasetId, NodeId } from '../kit/ids.ts';

/** A promise that a dataset stays on a node: while it is mounted there, a move or a deletion waits. */
export interface Lease {
  readonly datasetId: DatasetId;
  readonly nodeId: NodeId;
  /** Wall clock, milliseconds since the epoch; null never expires. */
  readonly expiresAtMs: number | null;
}

/** Whether the lease is over at `wallMs`. */
export function leaseExpired(lease: Lease, wallMs: number): boolean {
  return lease.expiresAtMs !== null && lease.expiresAtMs < wallMs;
}

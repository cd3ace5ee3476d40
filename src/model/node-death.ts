import type { NodeId } from '../kit/ids.ts';

/**
 * An operator's word that a node is off, or cut off from the storage, for good or until it has let go of everything. Until
 * its agent has acknowledged this very declaration, the node is given nothing.
 */
export interface NodeDeath {
  readonly node: NodeId;
  /** A new one for each declaration: an acknowledgement of an earlier one does not count. */
  readonly declaration: string;
  /** Wall clock, milliseconds since the epoch. */
  readonly declaredAtMs: number;
}

import type { NodeId } from '../kit/ids.ts';

/** Who may declare nodes dead without a person, and is told which nodes are connected. */
export interface FenceWatch {
  /** The control service starts: nodes that hold volumes may never come. */
  begin(): void;
  /** A node's connection ended; it had been silent for a while then. */
  left(node: NodeId, silentMs: number): void;
  joined(node: NodeId): void;
  close(): void;
}

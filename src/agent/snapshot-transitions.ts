import type { SnapshotOrder, SnapshotReport } from '../api/agent-channel.ts';

/** One step of a snapshot. */
export type SnapshotStep = 'take' | 'destroy';

/** The whole policy for snapshots. `destroy` stands in one place only: deleted by the API. */
export const SNAPSHOT_TRANSITIONS: Readonly<
  Record<SnapshotOrder['want'], Readonly<Record<SnapshotReport['state']['kind'], SnapshotStep | 'nothing'>>>
> = {
  taken: { absent: 'take', present: 'nothing' },
  destroyed: { absent: 'nothing', present: 'destroy' },
};

/**
 * The next step towards an order. `wasPresent`: the snapshot was seen under this order. One that is absent after that was
 * deleted and destroyed by another node of the pool, and this node has not read yet that its order is withdrawn.
 */
export function nextSnapshotStep(
  want: SnapshotOrder['want'],
  state: SnapshotReport['state']['kind'],
  wasPresent: boolean,
): SnapshotStep | 'nothing' {
  return want === 'taken' && wasPresent ? 'nothing' : SNAPSHOT_TRANSITIONS[want][state];
}

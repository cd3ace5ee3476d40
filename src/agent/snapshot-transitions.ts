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

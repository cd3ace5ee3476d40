import type { Clock } from '../../kit/clock.ts';
import { orAbort, withDeadline } from '../../kit/deadline.ts';
import type { Holding } from '../../volumes/holding.ts';
import type { Volumes } from '../../volumes/volumes.ts';
import { holdingsOf } from './container-holdings.ts';
import type { DiskStatistics, UsageAnswer } from './isolator-schemas.ts';
import type { VolumeProbe } from './volume-probe.ts';

/** Storage that does not answer this fast is left out: the Mesos agent waits for the statistics of all isolators. */
const LOOK_MS = 2_000;

/** How much of its volumes a container uses, as the filesystems say. */
export async function usageOf(
  holderId: string,
  { volumes, probe, clock }: { readonly volumes: Volumes; readonly probe: VolumeProbe; readonly clock: Clock },
): Promise<UsageAnswer> {
  const statistics = await Promise.all(
    holdingsOf(volumes, holderId).map(({ holding }) =>
      withDeadline(clock, LOOK_MS, 'looking at a volume', undefined, (signal) =>
        orAbort(statisticsOf(holding, probe), signal),
      ).catch(() => undefined),
    ),
  );
  return { timestamp: clock.wallMs() / 1000, disk_statistics: statistics.flatMap((one) => one ?? []) };
}

async function statisticsOf(holding: Holding, probe: VolumeProbe): Promise<DiskStatistics | undefined> {
  const { path, volume, datasetId } = holding;
  if (path === null) return undefined;
  const { limitBytes, usedBytes, inodes, usedInodes } = await probe.use(path);
  const labels = [
    { key: 'flocker:inodes', value: String(inodes) },
    { key: 'flocker:inodes-used', value: String(usedInodes) },
  ];
  return {
    persistence: { id: volume },
    source: { type: 'MOUNT', mount: { root: path }, id: datasetId, metadata: { labels } },
    limit_bytes: limitBytes,
    used_bytes: usedBytes,
  };
}

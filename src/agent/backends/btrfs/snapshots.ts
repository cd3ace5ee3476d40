import type { Clock } from '../../../kit/clock.ts';
import type { Btrfs } from '../../host/btrfs.ts';
import { BackendError } from '../backend.ts';
import type { PoolLayout } from '../pool-layout.ts';
import { PoolSnapshots } from '../pool-snapshots.ts';
import type { PoolSteps } from '../pool-steps.ts';
import { readVolumeRecord } from '../volume-record.ts';
import type { Quota } from './quota.ts';
import { bytesPath } from './subvolumes.ts';

interface SnapshotSources {
  readonly layout: PoolLayout;
  readonly steps: PoolSteps;
  readonly btrfs: Btrfs;
  readonly quota: Quota;
  readonly clock: Clock;
}

/** Snapshots that are read-only subvolumes. Their bytes become durable with the commit that gives them their name. */
export function btrfsSnapshots({ layout, steps, btrfs, quota, clock }: SnapshotSources): PoolSnapshots {
  return new PoolSnapshots(layout, async (datasetId, directory) => {
    const volume = await steps.attachedDirectory('take a snapshot of', datasetId);
    const { sizeBytes, filesystem } = await readVolumeRecord(volume, datasetId);
    const source = bytesPath(volume);
    if ((await btrfs.subvolumeId(source)) === undefined) {
      const text = `volume ${datasetId}: ${source} is missing or no subvolume; restore it from a copy`;
      throw new BackendError('volume_lost', text);
    }
    await quota.withRoom(source, () => btrfs.snapshot(source, bytesPath(directory), 'read-only'));
    return { sizeBytes, filesystem, takenAtMs: clock.wallMs() };
  });
}

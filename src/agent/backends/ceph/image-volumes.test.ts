import { join } from 'node:path';
import { afterAll } from 'vitest';
import { backendContract } from '../../../../test/contract/backend.ts';
import { CephCluster, cephSkipReason } from '../../../../test/support/ceph-cluster.ts';

const skip = await cephSkipReason();
const cluster = skip === null ? await CephCluster.start() : undefined;

afterAll(async () => {
  await cluster?.stop();
});

backendContract('ceph with images', {
  section: { backend: 'ceph', image_pool: CephCluster.imagePool },
  bytesName: 'image',
  skip,
  mountsEndWithTheMachine: true,
  snapshotsAreInstants: true,
  fences: true,
  // Half a second each.
  kills: { every: 3, stretch: 20 },
  poolIsCovered: true,
  place: (directory) => {
    if (cluster === undefined) throw new Error('there is no cluster');
    return cluster.place(directory);
  },
  mountedWithoutVolumes: ({ directory }) => [join(directory, 'ceph/a'), join(directory, 'mounts-a')],
});

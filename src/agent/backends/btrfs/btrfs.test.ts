import { access } from 'node:fs/promises';
import { join } from 'node:path';
import { geteuid } from 'node:process';
import { backendContract } from '../../../../test/contract/backend.ts';
import type { WorldPlace } from '../../../../test/contract/backend-world.ts';

async function skipReason(): Promise<string | null> {
  if (geteuid?.() !== 0) return ' (skipped: needs root)';
  for (const path of ['/dev/loop-control', '/sys/fs/btrfs/features', '/usr/sbin/mkfs.btrfs']) {
    const there = await access(path).then(
      () => true,
      () => false,
    );
    if (!there) return ` (skipped: ${path} is not there)`;
  }
  return null;
}

const skip = await skipReason();

const place = (directory: string): WorldPlace => {
  const disk = join(directory, 'disk');
  return {
    rootPath: join(disk, 'pool'),
    section: { pool_file: join(directory, 'pool.img'), pool_size: '1GiB', pool_mount: disk },
  };
};

backendContract('btrfs', {
  section: { backend: 'btrfs' },
  bytesName: 'data',
  skip,
  mountsEndWithTheMachine: true,
  place,
  mountedWithoutVolumes: ({ directory }) => [
    ...[join(directory, 'disk'), join(directory, 'pool.img'), join(directory, 'mounts-a')],
  ],
});

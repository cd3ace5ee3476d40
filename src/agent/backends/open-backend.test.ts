import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Backend } from './backend.ts';
import { openBackend } from './open-backend.ts';

describe('openBackend', () => {
  let directory: string;

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'settings-'));
  });
  afterEach(() => rm(directory, { recursive: true }));

  const openWith = (section: Readonly<Record<string, unknown>>): Promise<Backend> =>
    openBackend(
      { root_path: join(directory, 'pool'), ...section },
      { mountRoot: join(directory, 'mounts'), instance: 'node' },
    );

  it.each<[Readonly<Record<string, unknown>>, string]>([
    [{}, 'dataset.backend is missing'],
    [{ backend: 'aws' }, 'dataset.backend must be one of loopback, directory, btrfs, ceph, not "aws"'],
    [{ backend: 'loopback', region: 'x' }, 'unknown key dataset.region; known are backend'],
    [{ backend: 'directory', filesystem: 'ext4' }, 'unknown key dataset.filesystem'],
    [{ backend: 'loopback', root_path: 'relative' }, 'dataset.root_path must be an absolute path, not "relative"'],
    [{ backend: 'loopback', root_path: 7 }, 'dataset.root_path must be a text'],
    [{ backend: 'loopback', allocation_unit: 0 }, 'dataset.allocation_unit must be a size above 0'],
    [
      { backend: 'loopback', default_size: 'big' },
      'dataset.default_size must be a size above 0 such as 10GiB, not "big"',
    ],
    [{ backend: 'loopback', filesystem: 'btrfs' }, 'dataset.filesystem must be one of ext4, xfs'],
    [{ backend: 'loopback', profiles: ['gold'] }, 'dataset.profiles must be a mapping'],
    [{ backend: 'loopback', profiles: { gold: 'xfs' } }, 'dataset.profiles.gold must be a mapping'],
    [{ backend: 'loopback', profiles: { gold: { disk: 'ssd' } } }, 'unknown key dataset.profiles.gold.disk'],
    [
      { backend: 'directory', profiles: { gold: { filesystem: 'xfs' } } },
      'dataset.profiles.gold.filesystem; known are media',
    ],
    [{ backend: 'loopback', media: 'tape' }, 'dataset.media must be one of ssd, hdd, nvme, not "tape"'],
    [
      { backend: 'directory', profiles: { gold: { replication: 0 } } },
      'dataset.profiles.gold.replication must be a whole number above 0, not 0',
    ],
    [
      { backend: 'directory', profiles: { gold: { replication: '2' } } },
      'dataset.profiles.gold.replication must be a whole number above 0, not "2"',
    ],
    [
      { backend: 'loopback', profiles: { gold: { encryption: 'luks' } } },
      'dataset.profiles.gold.encryption must be true or false, not "luks"',
    ],
    [
      { backend: 'loopback', profiles: { gold: { dedup: 'yes' } } },
      'dataset.profiles.gold.dedup must be one of none, offline, inline, not "yes"',
    ],
    [
      { backend: 'ceph', ceph_user: 'n', profiles: { gold: { data_pool: 'a', image_pool: 'b' } } },
      'dataset.profiles.gold has a data_pool and an image_pool',
    ],
    [
      { backend: 'ceph', ceph_user: 'n', profiles: { gold: { filesystem: 'xfs' } } },
      'dataset.profiles.gold.filesystem is for images',
    ],
    [{ backend: 'btrfs', device: '/dev/x' }, 'exactly one of dataset.root_path'],
    [{ backend: 'btrfs', root_path: undefined }, 'exactly one of dataset.root_path'],
    [{ backend: 'btrfs', pool_size: '1GiB' }, 'dataset.pool_size goes with dataset.pool_file only'],
    [{ backend: 'btrfs', make_filesystem: true }, 'dataset.make_filesystem goes with dataset.device only'],
    [{ backend: 'btrfs', zstd_level: 3 }, 'dataset.zstd_level is for a pool that the agent mounts'],
    [{ backend: 'btrfs', quota: 'half' }, 'dataset.quota must be one of full, simple, none'],
    [{ backend: 'btrfs', compression: 'gzip' }, 'dataset.compression must be one of none, lzo, zstd'],
    [{ backend: 'btrfs', profiles: { gold: { compression: 'zstd:9' } } }, 'the level as dataset.zstd_level'],
  ])('refuses %j', async (section, message) => {
    const opening = openWith(section);
    await expect(opening).rejects.toMatchObject({ code: 'bad_settings' });
    await expect(opening).rejects.toThrow(message);
  });

  it('opens either backend, and no pool of the other', async () => {
    const loopback = await openWith({ backend: 'loopback', profiles: { fast: { filesystem: 'xfs' } } });
    expect(loopback).toMatchObject({ kind: 'loopback', profiles: ['fast'] });
    await expect(openWith({ backend: 'directory' })).rejects.toMatchObject({ code: 'pool_unreachable' });
    const directoryPool = await openWith({ backend: 'directory', root_path: join(directory, 'other') });
    expect(directoryPool).toMatchObject({ kind: 'directory', profiles: ['gold', 'silver', 'bronze'] });
  });

  it('takes a compute_instance_id for the name of the node, if it can be a directory', async () => {
    const first = await openWith({ backend: 'directory', compute_instance_id: 'i-1' });
    const second = await openWith({ backend: 'directory', compute_instance_id: 'i-2' });
    expect(first.pool).toBe(second.pool);
    await expect(openWith({ backend: 'directory', compute_instance_id: '../up' })).rejects.toThrow(
      '"../up" cannot name',
    );
  });
});

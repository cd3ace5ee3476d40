import { randomUUID } from 'node:crypto';
import { mkdtemp, rename, rm, statfs } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { newDatasetId } from '../../kit/ids.ts';
import type { PoolReport } from '../../model/storage-state.ts';
import { mediaOf } from '../host/media.ts';
import type { Backend } from './backend.ts';
import { openBackend } from './open-backend.ts';

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'file-pool-'));
});
afterEach(() => rm(directory, { recursive: true }));

const open = (section: Readonly<Record<string, unknown>>): Promise<Backend> =>
  openBackend(
    { root_path: join(directory, 'pool'), ...section },
    { mountRoot: join(directory, 'mounts'), instance: 'node' },
  );
const describeWith = async (section: Readonly<Record<string, unknown>>): Promise<PoolReport> => {
  const backend = await open(section);
  const report = await backend.describePool?.(AbortSignal.timeout(20_000));
  if (report === undefined) throw new Error('the backend does not describe its pool');
  return report;
};

describe.each(['directory', 'loopback'])('a pool of files (%s)', (backend) => {
  it('has the figures of its filesystem, and tells nothing that it does not know', async () => {
    const { profiles, figures } = await describeWith({ backend });
    const { blocks, bsize, type } = await statfs(directory);
    expect(figures).toMatchObject({ totalBytes: blocks * bsize, logicalBytes: null, physicalBytes: null });
    const { totalBytes, availableBytes, usedBytes } = figures;
    expect(usedBytes).toBeGreaterThan(0);
    expect((availableBytes ?? 0) + (usedBytes ?? 0)).toBeLessThanOrEqual(totalBytes ?? 0);
    const isExt = type === 0xef53;
    expect(figures.compressionSavedBytes).toBe(isExt ? 0 : expect.toSatisfy((saved) => saved === 0 || saved === null));
    const media = await mediaOf(directory);
    expect(profiles.map(({ name }) => name)).toEqual(['gold', 'silver', 'bronze']);
    for (const profile of profiles) expect(profile).toMatchObject({ media, replication: null, encryption: null });
  });

  it('has the traits that its operator states', async () => {
    const gold = { media: 'nvme', compression: 'zstd:3', dedup: 'inline', replication: 3, encryption: true };
    const { profiles, figures } = await describeWith({ backend, media: 'hdd', profiles: { gold, bronze: null } });
    expect(profiles[0]).toEqual({ name: 'gold', ...gold });
    expect(profiles[1]).toMatchObject({ name: 'bronze', media: 'hdd', replication: null, encryption: null });
    // Something compresses and shares blocks here, and nobody knows with what success.
    expect(figures).toMatchObject({ compressionSavedBytes: null, sharedSavedBytes: null });
  });

  it('is not described when it is not there, as a filesystem that is not mounted', async () => {
    const opened = await open({ backend });
    await rename(join(directory, 'pool'), join(directory, 'elsewhere'));
    await expect(opened.describePool?.(AbortSignal.timeout(20_000))).rejects.toMatchObject({
      code: 'pool_unreachable',
    });
  });
});

it('a directory has no size of its own to measure; a volume that is not mounted has none either', async () => {
  expect('usage' in (await open({ backend: 'directory' }))).toBe(false);
  const loopback = await open({ backend: 'loopback', root_path: join(directory, 'images') });
  expect(await loopback.usage?.(newDatasetId(randomUUID), AbortSignal.timeout(20_000))).toBeUndefined();
});

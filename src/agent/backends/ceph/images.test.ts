import { randomBytes, randomUUID } from 'node:crypto';
import { readFile, stat, statfs, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { kill } from 'node:process';
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest';
import { BackendWorld } from '../../../../test/contract/backend-world.ts';
import { expectCode } from '../../../../test/contract/expect-code.ts';
import { CephCluster, cephSkipReason } from '../../../../test/support/ceph-cluster.ts';
import { systemClock } from '../../../kit/clock.ts';
import { errorCode } from '../../../kit/coded-error.ts';
import { type DatasetId, newDatasetId, parseSnapshotId, type SnapshotId } from '../../../kit/ids.ts';
import { Gate } from '../../host/gate.ts';
import { readMountTable } from '../../host/mount-table.ts';
import type { Backend } from '../backend.ts';
import { FuseProcesses } from './fuse-processes.ts';
import { bindImages } from './librbd.ts';

const MIB = 2 ** 20;
const TIMEOUT_MS = 90_000;
const skip = await cephSkipReason();
const cluster = skip === null ? await CephCluster.start() : undefined;

afterAll(async () => {
  await cluster?.stop();
});

const PROFILES = {
  files: {},
  database: { image_pool: CephCluster.imagePool, filesystem: 'xfs' },
  archive: { data_pool: CephCluster.dataPool },
  small: { image_pool: CephCluster.imagePool },
};

const SMALL = { 'clusterhq:flocker:profile': 'small' };

describe.skipIf(skip !== null)(`images among directories, by profile${skip ?? ''}`, () => {
  let world: BackendWorld;
  let a: Backend;

  beforeEach(async () => {
    world = await BackendWorld.make({ backend: 'ceph', profiles: PROFILES }, (directory) =>
      must(cluster).place(directory),
    );
    a = await world.node('a');
  }, TIMEOUT_MS);

  afterEach(async () => {
    const problems: unknown[] = [];
    for (const instance of ['a', 'b']) problems.push(...(await world.teardown(instance)));
    expect([...problems, ...(await world.close())]).toEqual([]);
  }, TIMEOUT_MS);

  const mounted = async (
    profile: keyof typeof PROFILES,
    sizeBytes: number | null,
    more: { readonly source?: SnapshotId } = {},
  ): Promise<DatasetId> => {
    const datasetId = newDatasetId(randomUUID);
    const metadata = { 'clusterhq:flocker:profile': profile };
    await a.create({ datasetId, sizeBytes, metadata, ...more }, world.signal);
    await a.attach(datasetId, world.signal);
    await a.mount(datasetId, world.signal);
    return datasetId;
  };
  const gone = async (id: DatasetId): Promise<void> => {
    await a.unmount(id, world.signal);
    await a.detach(id, world.signal);
    await a.destroy(id, world.signal);
  };
  const path = (id: DatasetId, file = ''): string => join(world.mountRoot('a'), id, file);
  const filesystemOf = async (id: DatasetId): Promise<string | undefined> =>
    (await readMountTable()).find(({ mountPoint }) => mountPoint === path(id))?.type;
  const images = async (): Promise<readonly string[]> => {
    const pool = await must(cluster).rados.openPool(CephCluster.imagePool);
    try {
      return await bindImages(pool.pointer, new Gate(1)).list();
    } finally {
      pool.close();
    }
  };

  it('are what their profile says, grow, and share one node with what was made from them', {
    timeout: TIMEOUT_MS,
  }, async () => {
    const [files, database, small] = [
      await mounted('files', 16 * MIB),
      await mounted('database', 300 * MIB),
      await mounted('small', 16 * MIB),
    ];
    expect(await Promise.all([files, database, small].map(filesystemOf))).toEqual(['fuse.ceph-fuse', 'xfs', 'ext4']);
    expect((await stat(path(database))).mode & 0o7777).toBe(0o777);
    const refused = newDatasetId(randomUUID);
    const metadata = { 'clusterhq:flocker:profile': 'database' };
    await expectCode(
      a.create({ datasetId: refused, sizeBytes: 200 * MIB, metadata }, world.signal),
      'bad_size',
      refused,
    );
    const bytes = randomBytes(8 * MIB);
    await writeFile(path(database, 'bytes'), bytes);
    const snapshotId = must(parseSnapshotId(randomUUID()));
    await a.snapshots?.take(snapshotId, database, world.signal);
    await writeFile(path(database, 'bytes'), 'later');
    const copy = await mounted('database', 400 * MIB, { source: snapshotId });
    expect((await readFile(path(copy, 'bytes'))).equals(bytes)).toBe(true);
    const { blocks, bsize } = await statfs(path(copy));
    expect(blocks * bsize).toBeGreaterThan(320 * MIB);
    const other = newDatasetId(randomUUID);
    const asDirectory = { 'clusterhq:flocker:profile': 'archive' };
    const mixed = a.create(
      { datasetId: other, sizeBytes: null, metadata: asDirectory, source: snapshotId },
      world.signal,
    );
    expect(await expectCode(mixed, 'no_such_profile', other)).toContain('is of an image');
    await a.grow?.(database, 600 * MIB, world.signal);
    const grown = await statfs(path(database));
    expect(grown.blocks * grown.bsize).toBeGreaterThan(500 * MIB);
    const full = writeFile(path(small, 'much'), Buffer.alloc(32 * MIB, 1), { flush: true });
    await expect(full).rejects.toThrow('ENOSPC');

    // Each is kept for as long as somebody needs it, and no longer.
    await gone(database);
    await a.snapshots?.destroy(snapshotId, world.signal);
    expect((await readFile(path(copy, 'bytes'))).equals(bytes)).toBe(true);
    expect((await images()).filter((name) => name.startsWith('flocker-gone.'))).toHaveLength(1);
    for (const id of [copy, small, files]) await gone(id);
    expect(await images()).toEqual([]);
  });

  it('wait while Ceph is full, lose nothing, and can be destroyed to make room', { timeout: TIMEOUT_MS }, async () => {
    const [id, other] = [await mounted('small', 16 * MIB), await mounted('small', 16 * MIB)];
    await a.unmount(other, world.signal);
    await a.detach(other, world.signal);
    const ratios = ['nearfull', 'backfillfull', 'full'];
    const set = async (...values: readonly number[]): Promise<void> => {
      for (const [at, ratio] of values.entries()) await must(cluster).mon(`osd set-${ratios[at]}-ratio`, { ratio });
    };
    const created = (): Promise<unknown> =>
      a
        .create({ datasetId: newDatasetId(randomUUID), sizeBytes: 16 * MIB, metadata: SMALL }, world.signal)
        .then(() => 'made', errorCode);
    let written: Promise<void> | undefined;
    await set(0.01, 0.011, 0.012);
    try {
      await expect.poll(created, { timeout: TIMEOUT_MS / 2 }).toBe('no_space');
      written = writeFile(path(id, 'file'), 'kept', { flush: true });
      await a.destroy(other, world.signal);
      expect(await a.discover(other)).toEqual({ kind: 'absent' });
    } finally {
      await set(0.85, 0.9, 0.95);
    }
    await written;
    await a.unmount(id, world.signal);
    await a.mount(id, world.signal);
    expect(await readFile(path(id, 'file'), 'utf8')).toBe('kept');
  });

  it('are whole again after what serves them was killed', { timeout: TIMEOUT_MS }, async () => {
    const id = await mounted('small', 16 * MIB);
    await writeFile(path(id, 'synced'), 'kept', { flush: true });
    const socketDirectory = join(world.directory, 'ceph/run/a');
    const processes = new FuseProcesses({ socketDirectory, clock: systemClock, newUuid: randomUUID });
    const [server] = await processes.at(path(id));
    kill(must(server).pid, 'SIGKILL');
    await expect(writeFile(path(id, 'lost'), 'lost', { flush: true })).rejects.toThrow(/EIO|EROFS/);
    expect((await a.discover(id)).kind).toBe('attached');
    await a.mount(id, world.signal);
    expect(await readFile(path(id, 'synced'), 'utf8')).toBe('kept');
    await writeFile(path(id, 'more'), 'kept', { flush: true });
  });
});

function must<T>(value: T | undefined): T {
  if (value === undefined) throw new Error('a value is missing');
  return value;
}

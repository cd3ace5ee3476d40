import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdir, open, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { BackendWorld } from '../../../../test/contract/backend-world.ts';
import { expectCode } from '../../../../test/contract/expect-code.ts';
import { btrfsPlace, btrfsSkipReason } from '../../../../test/support/btrfs.ts';
import { newDatasetId } from '../../../kit/ids.ts';
import { mountsAt, readMountTable } from '../../host/mount-table.ts';
import type { Backend } from '../backend.ts';

const run = promisify(execFile);
const MIB = 2 ** 20;
const skip = await btrfsSkipReason('/usr/bin/btrfs');

describe.skipIf(skip !== null)(`pools on btrfs${skip ?? ''}`, () => {
  let world: BackendWorld;
  let devices: string[];

  beforeEach(async () => {
    world = await BackendWorld.make({ backend: 'btrfs' }, btrfsPlace);
    devices = [];
  });

  afterEach(async () => {
    for (const device of devices) await run('losetup', ['--detach', device]);
    expect(await world.close()).toEqual([]);
  });

  const optionsAt = async (mountPoint: string): Promise<readonly string[]> =>
    mountsAt(await readMountTable(), mountPoint)
      .filter(({ type }) => type === 'btrfs')
      .map(({ options }) => options);
  const ended = async (...backends: readonly Backend[]): Promise<void> => {
    for (const backend of backends) await backend.close?.(world.signal);
  };
  /** A block device with nothing on it. */
  const blankDevice = async (sizeBytes: number): Promise<string> => {
    const file = join(world.directory, `device-${devices.length}`);
    await run('truncate', ['-s', String(sizeBytes), file]);
    const { stdout } = await run('losetup', ['--find', '--show', file]);
    devices.push(stdout.trim());
    return stdout.trim();
  };
  const onDevice = (
    device: string,
    more: Readonly<Record<string, unknown>> = {},
  ): Readonly<Record<string, unknown>> => ({
    ...{ pool_file: undefined, pool_size: undefined, device },
    ...more,
  });

  it('agrees on one file and one device with other agents that start at the same time', async () => {
    const names = ['a', 'b', 'c', 'd', 'e'];
    const nodes = await Promise.all(
      names.map((name) => world.start(name, { pool_mount: join(world.directory, `disk-${name}`) })),
    );
    expect(new Set(nodes.map(({ pool }) => pool)).size).toBe(1);
    expect((await readdir(world.directory)).filter((name) => name.startsWith('pool.img'))).toEqual(['pool.img']);
    const table = await readMountTable();
    const mounts = table.filter(({ type, mountPoint }) => type === 'btrfs' && mountPoint.startsWith(world.directory));
    expect(mounts).toHaveLength(5);
    expect(new Set(mounts.map(({ source }) => source)).size).toBe(1);
    await ended(...nodes);
    expect(await world.leftovers()).toEqual([]);
  });

  it('is thin, and mounted with what the operator set', async () => {
    const node = await world.node('a', { zstd_level: 9 });
    const disk = join(world.directory, 'disk');
    expect((await stat(join(world.directory, 'pool.img'))).blocks * 512).toBeLessThan(64 * MIB);
    const [options] = await optionsAt(disk);
    expect(options).toMatch(/compress=zstd:9.*user_subvol_rm_allowed/);
    const report = await node.describePool?.(world.signal);
    expect(report?.profiles.map(({ compression }) => compression)).toEqual(['none', 'lzo', 'zstd:9']);
    expect(report?.figures.totalBytes).toBe(1024 * MIB);
    await world.node('a', { zstd_level: 4 });
    expect(await optionsAt(disk)).toMatchObject([expect.stringContaining('compress=zstd:4')]);
    expect(await world.teardown('a')).toEqual([]);
  });

  it('never makes a filesystem over anything', async () => {
    const file = join(world.directory, 'pool.img');
    for (const content of [Buffer.alloc(MIB, 7), Buffer.alloc(200 * MIB)]) {
      await writeFile(file, content);
      await expectCode(world.start('a'), 'pool_unreachable', null);
      expect((await readFile(file)).equals(content)).toBe(true);
    }
    expect(await world.leftovers()).toEqual([]);
  });

  it('makes no file without a size for it', async () => {
    expect(await expectCode(world.start('a', { pool_size: undefined }), 'pool_unreachable', null)).toContain(
      'dataset.pool_size',
    );
    expect(await expectCode(world.start('a', { pool_size: '100MiB' }), 'bad_size', null)).toContain('128 MiB');
    expect(await readdir(world.directory)).toEqual([]);
  });

  it('takes a device that has btrfs, and makes one on a blank device only when told to', async () => {
    const device = await blankDevice(512 * MIB);
    const refusal = await expectCode(world.start('a', onDevice(device)), 'pool_unreachable', null);
    expect(refusal).toContain('dataset.make_filesystem');
    const made = await world.start('a', onDevice(device, { make_filesystem: true }));
    await ended(made);
    const again = await world.start('a', onDevice(device));
    expect(again.pool).toBe(made.pool);
    await ended(again);
  });

  it('leaves a device alone that has a mark of something at either end', async () => {
    for (const at of [0, 1024, 512 * MIB - 4096]) {
      const device = await blankDevice(512 * MIB);
      const handle = await open(device, 'r+');
      await handle.write(Buffer.alloc(512, 1), 0, 512, at);
      await handle.sync();
      await handle.close();
      const opening = world.start('a', onDevice(device, { make_filesystem: true }));
      expect(await expectCode(opening, 'pool_unreachable', null)).toContain('never overwritten');
    }
  });

  it('refuses a directory that is not on btrfs, and takes one that is', async () => {
    const plain = { pool_file: undefined, pool_size: undefined, pool_mount: undefined };
    const directory = join(world.directory, 'directory');
    const refused = world.start('a', { ...plain, root_path: directory });
    expect(await expectCode(refused, 'pool_unreachable', null)).toContain('is not on btrfs');
    const owner = await world.start('a');
    const inside = join(world.directory, 'disk', 'elsewhere');
    const node = await world.node('b', { ...plain, root_path: inside });
    const id = newDatasetId(randomUUID);
    await node.create({ datasetId: id, sizeBytes: null, metadata: {} }, world.signal);
    expect(await readdir(join(inside, 'unattached'))).toEqual([id]);
    await run('umount', [world.mountRoot('b')]);
    await ended(node, owner);
  });

  it('is refused where something else is mounted', async () => {
    const disk = join(world.directory, 'disk');
    await mkdir(disk);
    await run('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'none', disk]);
    expect(await expectCode(world.start('a'), 'pool_unreachable', null)).toContain('something else');
    await run('umount', [disk]);
  });

  it('says who keeps it from being closed', async () => {
    const node = await world.start('a');
    const holder = await world.hold('tail', ['-f', join(world.rootPath, 'pool.json')]);
    const refusal = await expectCode(node.close?.(world.signal) ?? Promise.resolve(), 'volume_in_use', null);
    expect(refusal).toContain(`pid ${holder.pid} (tail)`);
    await world.end(holder);
    await ended(node);
  });

  it.each([
    ['simple', 'full'],
    ['full', 'simple'],
  ])('enforces sizes with %s quotas, and does not turn them into %s', async (quota, other) => {
    const node = await world.node('a', { quota });
    const id = newDatasetId(randomUUID);
    await node.create({ datasetId: id, sizeBytes: 8 * MIB, metadata: {} }, world.signal);
    await node.attach(id, world.signal);
    await node.mount(id, world.signal);
    const file = join(world.mountRoot('a'), id, 'file');
    await expect(writeFile(file, Buffer.alloc(12 * MIB, 1))).rejects.toThrow(/-122|EDQUOT/);
    expect(await expectCode(world.start('a', { quota: other }), 'pool_unreachable', null)).toContain(quota);
    await node.unmount(id, world.signal);
    await run('umount', [world.mountRoot('a')]);
    await ended(node);
  });

  it('stays within what offline tools can check by default', async () => {
    await ended(await world.start('a'));
    const { stdout } = await run('btrfs', ['check', join(world.directory, 'pool.img')]);
    expect(stdout).toContain('no error found');
  });

  it('enforces nothing without quotas, and knows no use', async () => {
    const node = await world.node('a', { quota: 'none' });
    const id = newDatasetId(randomUUID);
    await node.create({ datasetId: id, sizeBytes: 8 * MIB, metadata: {} }, world.signal);
    await node.attach(id, world.signal);
    await node.mount(id, world.signal);
    await writeFile(join(world.mountRoot('a'), id, 'file'), Buffer.alloc(12 * MIB, 1));
    expect(await node.usage?.(id, world.signal)).toMatchObject({ usedBytes: null });
    // Turned on later, they hold for what is mounted from then on.
    await node.unmount(id, world.signal);
    const limited = await world.node('a');
    await limited.mount(id, world.signal);
    await run('sync', ['-f', join(world.directory, 'disk')]);
    await run('btrfs', ['quota', 'rescan', '-w', join(world.directory, 'disk')]);
    const more = writeFile(join(world.mountRoot('a'), id, 'more'), Buffer.alloc(MIB, 1));
    await expect(more).rejects.toThrow(/-122|EDQUOT/);
    expect(await world.teardown('a')).toEqual([]);
  });
});

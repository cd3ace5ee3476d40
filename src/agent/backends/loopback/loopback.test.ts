import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { access, mkdir, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { geteuid } from 'node:process';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { backendContract } from '../../../../test/contract/backend.ts';
import { BackendWorld } from '../../../../test/contract/backend-world.ts';
import { expectCode } from '../../../../test/contract/expect-code.ts';
import { type DatasetId, newDatasetId } from '../../../kit/ids.ts';
import { readMountTable } from '../../host/mount-table.ts';
import type { Backend } from '../backend.ts';

const run = promisify(execFile);
const MIB = 2 ** 20;

async function skipReason(): Promise<string | null> {
  if (geteuid?.() !== 0) return ' (skipped: needs root)';
  try {
    await access('/dev/loop-control');
    return null;
  } catch {
    return ' (skipped: this kernel has no loop devices)';
  }
}

const skip = await skipReason();
const hasXfs = await access('/usr/sbin/mkfs.xfs').then(
  () => true,
  () => false,
);

backendContract('loopback', {
  section: { backend: 'loopback' },
  bytesName: 'image',
  skip,
  mountsEndWithTheMachine: true,
  mountedWithoutVolumes: (world) => [world.mountRoot('a')],
  snapshotsAreInstants: true,
});

describe.skipIf(skip !== null)(`loopback${skip ?? ''}`, () => {
  let world: BackendWorld;
  let a: Backend;

  beforeEach(async () => {
    world = await BackendWorld.make({ backend: 'loopback' });
    a = await world.node('a');
  });

  afterEach(async () => {
    const problems: readonly unknown[] = await world.teardown('a');
    expect([...problems, ...(await world.close())]).toEqual([]);
  });

  const mounted = async (sizeBytes: number, metadata: Record<string, string> = {}, backend = a): Promise<DatasetId> => {
    const datasetId = newDatasetId(randomUUID);
    await backend.create({ datasetId, sizeBytes, metadata }, world.signal);
    await backend.attach(datasetId, world.signal);
    await backend.mount(datasetId, world.signal);
    return datasetId;
  };
  const path = (datasetId: DatasetId, ...rest: readonly string[]): string =>
    join(world.mountRoot('a'), datasetId, ...rest);
  const image = (datasetId: DatasetId): string => join(world.rootPath, 'attached', 'a', datasetId, 'image');
  const filesystemAt = async (mountPoint: string): Promise<string | undefined> =>
    (await readMountTable()).find((entry) => entry.mountPoint === mountPoint)?.type;
  const devicesOf = async (file: string): Promise<readonly string[]> => {
    const { stdout } = await run('losetup', ['--list', '--noheadings', '--output', 'NAME', '--associated', file]);
    return stdout.split('\n').flatMap((line) => line.trim() || []);
  };

  it('enforces the size and stays sparse', async () => {
    const id = await mounted(16 * MIB);
    expect((await stat(image(id))).size).toBe(16 * MIB);
    expect((await stat(image(id))).blocks * 512).toBeLessThan(4 * MIB);
    await expect(writeFile(path(id, 'big'), Buffer.alloc(20 * MIB))).rejects.toThrow('ENOSPC');
  });

  it('tells how full a volume is while it is mounted', async () => {
    const id = await mounted(64 * MIB);
    const usage = (): ReturnType<NonNullable<Backend['usage']>> =>
      a.usage?.(id, world.signal) ?? Promise.reject(new Error('loopback measures volumes'));
    const before = await usage();
    await writeFile(path(id, 'big'), Buffer.alloc(20 * MIB, 1), { flush: true });
    const after = await usage();
    expect((after?.usedBytes ?? 0) - (before?.usedBytes ?? 0)).toBeGreaterThanOrEqual(20 * MIB);
    expect((before?.availableBytes ?? 0) - (after?.availableBytes ?? 0)).toBeGreaterThanOrEqual(20 * MIB);
    expect((after?.usedBytes ?? 0) + (after?.availableBytes ?? 0)).toBeLessThanOrEqual(64 * MIB);
    await a.unmount(id, world.signal);
    expect(await usage()).toBeUndefined();
  });

  it('gives deleted space back to the pool', async () => {
    const id = await mounted(64 * MIB);
    await writeFile(path(id, 'big'), Buffer.alloc(32 * MIB, 1));
    await run('sync', ['-f', path(id)]);
    expect((await stat(image(id))).blocks * 512).toBeGreaterThan(32 * MIB);
    await rm(path(id, 'big'));
    await run('sync', ['-f', path(id)]);
    // ext4 discards in the background once the deletion is committed.
    await expect.poll(async () => (await stat(image(id))).blocks * 512, { timeout: 10_000 }).toBeLessThan(16 * MIB);
  });

  it.skipIf(!hasXfs)('makes the filesystem that the metadata, then the profile, then the node asks for', async () => {
    const profiles = { dense: { filesystem: 'xfs' }, plain: null };
    const backend = await world.node('a', { profiles });
    const ofProfile = await mounted(320 * MIB, { 'clusterhq:flocker:profile': 'dense' }, backend);
    const ofMetadata = { 'clusterhq:flocker:profile': 'dense', 'flocker:filesystem': 'ext4' };
    expect(await filesystemAt(path(ofProfile))).toBe('xfs');
    expect(await filesystemAt(path(await mounted(16 * MIB, ofMetadata, backend)))).toBe('ext4');
    expect((await stat(path(ofProfile))).mode & 0o7777).toBe(0o777);
    const byDefault = await world.node('a', { filesystem: 'xfs' });
    expect(await filesystemAt(path(await mounted(300 * MIB, {}, byDefault)))).toBe('xfs');
    await a.unmount(ofProfile, world.signal);
    await a.mount(ofProfile, world.signal);
  });

  it('refuses filesystems it lacks and sizes they cannot have', async () => {
    const refuse = (sizeBytes: number, filesystem: string): Promise<void> => {
      const metadata = { 'flocker:filesystem': filesystem };
      return a.create({ datasetId: newDatasetId(randomUUID), sizeBytes, metadata }, world.signal);
    };
    expect(await expectCode(refuse(16 * MIB, 'ntfs'), 'no_such_profile', null)).toContain('ext4, xfs');
    expect(await expectCode(refuse(299 * MIB, 'xfs'), 'bad_size', null)).toContain('300 MiB');
    expect(await expectCode(refuse(1024, 'ext4'), 'bad_size', null)).toContain('8 MiB');
    expect(await readdir(join(world.rootPath, 'creating', 'a'))).toEqual([]);
  });

  it('stays in use while another mount namespace has it, and can be mounted again meanwhile', async () => {
    const id = await mounted(16 * MIB);
    await writeFile(path(id, 'file'), 'kept');
    const holder = await world.holdMounts('a');
    const devices = await devicesOf(image(id));
    expect(devices).toHaveLength(1);
    for (let round = 0; round < 2; round += 1) {
      const refusal = await expectCode(a.unmount(id, world.signal), 'volume_in_use', id);
      expect(refusal).toContain(`mount namespace of pid ${holder.pid} (sh)`);
      expect(await filesystemAt(path(id))).toBeUndefined();
      expect((await a.discover(id)).kind).toBe('attached');
      await expectCode(a.detach(id, world.signal), 'volume_in_use', id);
    }
    await a.mount(id, world.signal);
    expect(await devicesOf(image(id))).toEqual(devices);
    expect(await readFile(path(id, 'file'), 'utf8')).toBe('kept');
    await writeFile(path(id, 'file'), 'from outside');
    const inside = await run('nsenter', ['-t', String(holder.pid), '-m', 'cat', path(id, 'file')]);
    expect(inside.stdout).toBe('from outside');
    await expectCode(a.unmount(id, world.signal), 'volume_in_use', id);
    await world.end(holder);
    await a.unmount(id, world.signal);
    expect(await devicesOf(image(id))).toEqual([]);
    expect(await readdir(world.mountRoot('a'))).toEqual([]);
    await a.detach(id, world.signal);
  });

  it('stays in use while it is mounted a second time on this machine', async () => {
    const id = await mounted(16 * MIB);
    const second = join(world.directory, 'second');
    await mkdir(second);
    await run('mount', ['--bind', path(id), second]);
    expect(await expectCode(a.unmount(id, world.signal), 'volume_in_use', id)).toContain(`mount at ${second}`);
    await run('umount', [second]);
    await a.unmount(id, world.signal);
  });

  it('shows its mounts to namespaces that follow the mount root', async () => {
    const script = ['-m', '--propagation', 'slave', 'sh', '-c', 'echo in && read line'];
    const follower = await world.hold('unshare', script);
    const id = await mounted(16 * MIB);
    await writeFile(path(id, 'file'), 'seen');
    const inside = await run('nsenter', ['-t', String(follower.pid), '-m', 'cat', path(id, 'file')]);
    expect(inside.stdout).toBe('seen');
    await a.unmount(id, world.signal);
    await world.end(follower);
  });

  it('mounts nothing whose image was cut short', async () => {
    const id = await mounted(16 * MIB);
    await a.unmount(id, world.signal);
    await truncate(image(id), 8 * MIB);
    const refusal = await expectCode(a.mount(id, world.signal), 'volume_lost', id);
    expect(refusal).toContain(`${8 * MIB} bytes instead of ${16 * MIB}`);
    expect(await a.discover(id)).toEqual({ kind: 'attached', sizeBytes: 16 * MIB });
    expect((await stat(image(id))).size).toBe(8 * MIB);
  });

  it('mounts nothing that is no filesystem, and changes none of it', async () => {
    const id = await mounted(16 * MIB);
    await a.unmount(id, world.signal);
    const ruined = Buffer.alloc(16 * MIB, 7);
    await writeFile(image(id), ruined);
    await expectCode(a.mount(id, world.signal), 'backend_failed', id);
    expect((await readFile(image(id))).equals(ruined)).toBe(true);
    expect(await devicesOf(image(id))).toEqual([]);
  });

  it('keeps a volume mounted whose image was removed, since its data is nowhere else', async () => {
    const id = await mounted(16 * MIB);
    await writeFile(path(id, 'file'), 'kept');
    await rm(image(id));
    expect((await a.discover(id)).kind).toBe('mounted');
    expect(await expectCode(a.unmount(id, world.signal), 'volume_lost', id)).toContain('copy it from there');
    expect(await readFile(path(id, 'file'), 'utf8')).toBe('kept');
    await run('umount', [path(id)]);
  });

  it('does not bind an image that somebody bound by hand', async () => {
    const id = await mounted(16 * MIB);
    await a.unmount(id, world.signal);
    const { stdout } = await run('losetup', ['--find', '--show', image(id)]);
    try {
      expect(await expectCode(a.mount(id, world.signal), 'volume_in_use', id)).toContain(stdout.trim());
      await expectCode(a.detach(id, world.signal), 'volume_in_use', id);
    } finally {
      await run('losetup', ['--detach', stdout.trim()]);
    }
    await a.mount(id, world.signal);
  });

  it('leaves alone what else is mounted where a volume belongs', async () => {
    const id = await mounted(16 * MIB);
    await a.unmount(id, world.signal);
    await mkdir(path(id));
    await run('mount', ['-t', 'tmpfs', 'none', path(id)]);
    expect(await expectCode(a.mount(id, world.signal), 'backend_failed', id)).toContain('something else (tmpfs');
    await expectCode(a.unmount(id, world.signal), 'backend_failed', id);
    expect(await filesystemAt(path(id))).toBe('tmpfs');
    expect((await a.listHere()).get(id)).toEqual({ kind: 'attached', sizeBytes: 16 * MIB });
    await run('umount', [path(id)]);
  });

  it('says that the pool is full, leaves nothing of the try, and works again with space', async () => {
    const pool = join(world.directory, 'small');
    await mkdir(pool);
    await run('mount', ['-t', 'tmpfs', '-o', 'size=4m', 'none', pool]);
    const backend = await world.node('a', { root_path: pool });
    await writeFile(join(pool, 'ballast'), Buffer.alloc(4 * MIB - 64 * 1024));
    const id = newDatasetId(randomUUID);
    const recipe = { datasetId: id, sizeBytes: 64 * MIB, metadata: {} };
    await expectCode(backend.create(recipe, world.signal), 'no_space', id);
    expect(await readdir(join(pool, 'creating', 'a'))).toEqual([]);
    await rm(join(pool, 'ballast'));
    await backend.create(recipe, world.signal);
    await backend.attach(id, world.signal);
    await backend.mount(id, world.signal);
    await backend.unmount(id, world.signal);
    await run('umount', [pool]);
  });

  it('makes up for a first mount that was interrupted', async () => {
    const id = await mounted(16 * MIB);
    await a.unmount(id, world.signal);
    await writeFile(join(world.rootPath, 'attached', 'a', id, 'fresh'), '');
    await a.mount(id, world.signal);
    expect(await readdir(path(id))).toEqual([]);
    await expect(access(join(world.rootPath, 'attached', 'a', id, 'fresh'))).rejects.toThrow('ENOENT');
  });

  it('keeps files that somebody put under a mount point', async () => {
    const id = await mounted(16 * MIB);
    await a.unmount(id, world.signal);
    await mkdir(path(id));
    await writeFile(path(id, 'stray'), 'mine');
    await a.mount(id, world.signal);
    expect(await readdir(path(id))).toEqual([]);
    await a.unmount(id, world.signal);
    expect(await readFile(path(id, 'stray'), 'utf8')).toBe('mine');
    await rm(path(id), { recursive: true });
  });
});

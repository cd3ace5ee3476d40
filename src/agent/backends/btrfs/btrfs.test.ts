import { execFile } from 'node:child_process';
import { randomBytes, randomUUID } from 'node:crypto';
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { backendContract } from '../../../../test/contract/backend.ts';
import { BackendWorld } from '../../../../test/contract/backend-world.ts';
import { expectCode } from '../../../../test/contract/expect-code.ts';
import { btrfsPlace, btrfsSkipReason, compsize } from '../../../../test/support/btrfs.ts';
import { type DatasetId, newDatasetId, parseSnapshotId, type SnapshotId } from '../../../kit/ids.ts';
import type { PoolFigures } from '../../../model/storage-state.ts';
import { readMountTable } from '../../host/mount-table.ts';
import type { Backend } from '../backend.ts';

const run = promisify(execFile);
const MIB = 2 ** 20;
const skip = await btrfsSkipReason('/usr/sbin/compsize', '/usr/bin/btrfs');

backendContract('btrfs', {
  section: { backend: 'btrfs' },
  bytesName: 'data',
  skip,
  mountsEndWithTheMachine: true,
  // Of what was not synced, a part may be in it, as after a power cut.
  snapshotsAreInstants: false,
  place: btrfsPlace,
  mountedWithoutVolumes: ({ directory }) => [
    ...[join(directory, 'disk'), join(directory, 'disk'), join(directory, 'pool.img'), join(directory, 'mounts-a')],
  ],
});

describe.skipIf(skip !== null)(`btrfs${skip ?? ''}`, () => {
  let world: BackendWorld;
  let a: Backend;

  beforeEach(async () => {
    world = await BackendWorld.make({ backend: 'btrfs' }, btrfsPlace);
    a = await world.node('a');
  });

  afterEach(async () => {
    const problems: readonly unknown[] = await world.teardown('a');
    expect([...problems, ...(await world.close())]).toEqual([]);
  });

  const mounted = async (sizeBytes: number, profile?: string, backend = a): Promise<DatasetId> => {
    const datasetId = newDatasetId(randomUUID);
    const metadata = profile === undefined ? {} : { 'clusterhq:flocker:profile': profile };
    await backend.create({ datasetId, sizeBytes, metadata }, world.signal);
    await backend.attach(datasetId, world.signal);
    await backend.mount(datasetId, world.signal);
    return datasetId;
  };
  const path = (datasetId: DatasetId, ...rest: readonly string[]): string =>
    join(world.mountRoot('a'), datasetId, ...rest);
  const data = (datasetId: DatasetId): string => join(world.rootPath, 'attached', 'a', datasetId, 'data');
  const released = async (datasetId: DatasetId): Promise<void> => {
    await a.unmount(datasetId, world.signal);
    await a.detach(datasetId, world.signal);
  };
  /** Figures of a walk that saw everything there is. */
  const measured = async (): Promise<PoolFigures> => {
    await run('sync', ['-f', world.rootPath]);
    const fresh = await world.start('a');
    for (;;) {
      const report = await fresh.describePool?.(world.signal);
      if (report === undefined) throw new Error('btrfs describes no pool');
      if (report.figures.logicalBytes !== null) return report.figures;
    }
  };

  it('enforces the size, and lets go of it when files are removed', async () => {
    const id = await mounted(16 * MIB);
    await expect(writeFile(path(id, 'big'), randomBytes(20 * MIB))).rejects.toThrow(/-122|EDQUOT/);
    const other = await mounted(16 * MIB);
    await writeFile(path(other, 'small'), randomBytes(8 * MIB));
    await rm(path(id, 'big'));
    await run('sync', ['-f', path(id)]);
    await writeFile(path(id, 'small'), randomBytes(8 * MIB));
  });

  it('takes every step of a volume that is full', async () => {
    const id = await mounted(16 * MIB);
    await expect(writeFile(path(id, 'big'), randomBytes(20 * MIB))).rejects.toThrow(/-122|EDQUOT/);
    await run('sync', ['-f', path(id)]);
    await fillUp(path(id));
    const snapshotId = parseSnapshotId(randomUUID()) as SnapshotId;
    await a.snapshots?.take(snapshotId, id, world.signal);
    await released(id);
    const clone = newDatasetId(randomUUID);
    const metadata = { 'clusterhq:flocker:profile': 'bronze' };
    await a.create({ datasetId: clone, sizeBytes: null, source: snapshotId, metadata }, world.signal);
    for (const one of [id, clone]) {
      await a.attach(one, world.signal);
      await a.mount(one, world.signal);
      await expect(writeFile(path(one, 'more'), randomBytes(MIB))).rejects.toThrow(/-122|EDQUOT/);
      await a.grow?.(one, 20 * MIB, world.signal);
      await writeFile(path(one, 'more'), randomBytes(MIB));
      await released(one);
      await a.destroy(one, world.signal);
    }
    await a.snapshots?.destroy(snapshotId, world.signal);
  });

  /** Makes files until not even an empty one has room. */
  const fillUp = async (directory: string): Promise<void> => {
    for (let count = 0; ; count += 1) {
      try {
        await writeFile(join(directory, `tiny-${count}`), 'x'.repeat(1000));
      } catch {
        return;
      }
    }
  };

  it('counts what is stored: more than its size fits in a volume that is compressed', async () => {
    const id = await mounted(16 * MIB, 'bronze');
    await writeFile(path(id, 'text'), 'the same line again\n'.repeat(3_000_000));
    await run('sync', ['-f', path(id)]);
    const usage = await a.usage?.(id, world.signal);
    expect(usage?.usedBytes).toBeLessThan(8 * MIB);
    expect((usage?.usedBytes ?? 0) + (usage?.availableBytes ?? 0)).toBe(16 * MIB);
  });

  it('saves by compression what compsize says, and says so', async () => {
    const profiles = { none: 'gold', lzo: 'silver', zstd: 'bronze' };
    const text = (await readFile(process.execPath)).subarray(0, 12 * MIB);
    for (const profile of Object.values(profiles)) {
      const id = await mounted(64 * MIB, profile);
      await writeFile(path(id, 'file'), text);
      await writeFile(path(id, 'tiny'), 'inline');
      await run('sync', ['-f', path(id)]);
      const { stored, uncompressed } = await compsize(path(id));
      if (profile === 'gold') expect(stored).toBe(uncompressed);
      else expect(stored).toBeLessThan(uncompressed * 0.9);
    }
    const figures = await measured();
    const all = await compsize(join(world.rootPath, 'attached'));
    const records = await compsizeOfRecords();
    expect(figures).toMatchObject({
      logicalBytes: all.referenced - records,
      physicalBytes: all.stored - records,
      compressionSavedBytes: all.uncompressed - all.stored,
      sharedSavedBytes: 0,
    });
    expect((await a.describePool?.(world.signal))?.profiles).toMatchObject([
      { name: 'gold', compression: 'none', dedup: 'offline', replication: 1, encryption: null },
      { name: 'silver', compression: 'lzo' },
      { name: 'bronze', compression: 'zstd:3' },
    ]);
  });

  /** Bytes of what lies beside the volumes, which is stored as it is. */
  const compsizeOfRecords = async (): Promise<number> => {
    const directory = join(world.rootPath, 'attached', 'a');
    const texts = (await readdir(directory)).map((id) => readFile(join(directory, id, 'volume.json'), 'utf8'));
    return (await Promise.all(texts)).reduce((sum, text) => sum + text.length, 0);
  };

  it('does not call negative what overwriting costs', async () => {
    const id = await mounted(64 * MIB);
    await writeFile(path(id, 'file'), randomBytes(16 * MIB), { flush: true });
    await run('dd', ['if=/dev/urandom', `of=${path(id, 'file')}`, 'bs=1M', 'count=8', 'conv=notrunc,fsync']);
    const { referenced, uncompressed } = await compsize(path(id));
    expect(referenced).toBeLessThan(uncompressed);
    expect(await measured()).toMatchObject({ sharedSavedBytes: 0, compressionSavedBytes: 0 });
  });

  it('grows while it is mounted', async () => {
    const id = await mounted(8 * MIB);
    await expect(writeFile(path(id, 'big'), randomBytes(12 * MIB))).rejects.toThrow(/-122|EDQUOT/);
    await a.grow?.(id, 32 * MIB, world.signal);
    expect(await a.discover(id)).toMatchObject({ kind: 'mounted', sizeBytes: 32 * MIB });
    const bytes = randomBytes(24 * MIB);
    await writeFile(path(id, 'big'), bytes);
    await a.grow?.(id, 16 * MIB, world.signal);
    expect(await a.discover(id)).toMatchObject({ kind: 'mounted', sizeBytes: 32 * MIB });
    expect((await readFile(path(id, 'big'))).equals(bytes)).toBe(true);
    await expectCode(a.grow?.(id, Number.NaN, world.signal) ?? Promise.resolve(), 'bad_size', id);
  });

  it('stays in use while another mount namespace has it, and can be mounted again meanwhile', async () => {
    const id = await mounted(16 * MIB);
    await writeFile(path(id, 'file'), 'kept');
    const holder = await world.holdMounts('a');
    const inside = (command: string): Promise<{ stdout: string }> =>
      run('nsenter', ['-t', String(holder.pid), '-m', 'sh', '-c', command]);
    for (let round = 0; round < 2; round += 1) {
      const refusal = await expectCode(a.unmount(id, world.signal), 'volume_in_use', id);
      expect(refusal).toContain(`mount namespace of pid ${holder.pid} (sh)`);
      expect((await a.discover(id)).kind).toBe('attached');
      await expectCode(a.detach(id, world.signal), 'volume_in_use', id);
    }
    await inside(`echo more >> ${path(id, 'file')}`);
    await a.mount(id, world.signal);
    expect(await readFile(path(id, 'file'), 'utf8')).toBe('keptmore\n');
    await expectCode(a.unmount(id, world.signal), 'volume_in_use', id);
    await world.end(holder);
    await released(id);
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

  it('stays in use while a file is open through a mount that was detached from its namespace', async () => {
    const id = await mounted(16 * MIB);
    const holder = await world.holdMounts('a', `exec 3>>${path(id, 'file')}; umount -l ${path(id)}`);
    const refusal = await expectCode(a.unmount(id, world.signal), 'volume_in_use', id);
    expect(refusal).toContain(`pid ${holder.pid} (sh)`);
    await expectCode(a.detach(id, world.signal), 'volume_in_use', id);
    await world.end(holder);
    await released(id);
  });

  it('can be written through no mount that nobody sees, once it is unmounted', async () => {
    const id = await mounted(16 * MIB);
    await writeFile(path(id, 'file'), 'kept');
    // A mount namespace that a file keeps, without any process in it.
    const keeper = join(world.directory, 'keeper');
    await mkdir(keeper);
    await run('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'none', keeper]);
    await run('mount', ['--make-private', keeper]);
    await writeFile(join(keeper, 'ns'), '');
    await run('unshare', [`--mount=${join(keeper, 'ns')}`, '--propagation', 'slave', 'true']);
    const inside = (command: string): Promise<{ stdout: string }> =>
      run('nsenter', [`--mount=${join(keeper, 'ns')}`, 'sh', '-c', command]);
    const elsewhere = join(world.directory, 'elsewhere');
    await mkdir(elsewhere);
    await inside(`mount --bind ${path(id)} ${elsewhere} && echo seen > ${elsewhere}/file`);
    await a.unmount(id, world.signal);
    expect((await inside(`cat ${elsewhere}/file`)).stdout).toBe('seen\n');
    await expect(inside(`echo more > ${elsewhere}/file`)).rejects.toThrow(/read-only file system/i);
    await expect(inside(`rm ${elsewhere}/file`)).rejects.toThrow(/read-only file system/i);
    await run('umount', [join(keeper, 'ns')]);
    await run('umount', [keeper]);
    await a.mount(id, world.signal);
    await writeFile(path(id, 'file'), 'again');
  });

  it('destroys what users made subvolumes of, also read-only ones', async () => {
    const id = await mounted(16 * MIB);
    await run('btrfs', ['subvolume', 'create', path(id, 'inner')]);
    await mkdir(path(id, 'inner', 'deep'));
    await run('btrfs', ['subvolume', 'create', path(id, 'inner', 'deep', 'inmost')]);
    await run('btrfs', ['subvolume', 'snapshot', '-r', path(id), path(id, 'frozen')]);
    await released(id);
    await a.destroy(id, world.signal);
    expect(await a.discover(id)).toEqual({ kind: 'absent' });
    expect(await readdir(join(world.rootPath, 'destroying', 'a'))).toEqual([]);
    expect((await run('btrfs', ['subvolume', 'list', world.rootPath])).stdout).toBe('');
  });

  it('calls a volume lost whose subvolume was removed', async () => {
    const id = await mounted(16 * MIB);
    await run('btrfs', ['subvolume', 'delete', data(id)]);
    expect((await a.discover(id)).kind).toBe('mounted');
    await a.unmount(id, world.signal);
    await expectCode(a.mount(id, world.signal), 'volume_lost', id);
    expect(await readdir(join(data(id), '..'))).toEqual(['volume.json']);
  });

  it('leaves alone what else is mounted where a volume belongs', async () => {
    const id = await mounted(16 * MIB);
    const other = await mounted(16 * MIB);
    await a.unmount(id, world.signal);
    await mkdir(path(id));
    await run('mount', ['--bind', data(other), path(id)]);
    expect(await expectCode(a.mount(id, world.signal), 'backend_failed', id)).toContain('something else (btrfs');
    await expectCode(a.unmount(id, world.signal), 'backend_failed', id);
    expect((await readMountTable()).some(({ mountPoint }) => mountPoint === path(id))).toBe(true);
    await run('umount', [path(id)]);
  });

  it('refuses filesystems and sizes it cannot have', async () => {
    const refuse = (sizeBytes: number, filesystem: string): Promise<void> => {
      const metadata = { 'flocker:filesystem': filesystem };
      return a.create({ datasetId: newDatasetId(randomUUID), sizeBytes, metadata }, world.signal);
    };
    await expectCode(refuse(16 * MIB, 'xfs'), 'no_such_profile', null);
    expect(await expectCode(refuse(4096, 'btrfs'), 'bad_size', null)).toContain('1 MiB');
    await refuse(MIB, 'btrfs');
    expect(await readdir(join(world.rootPath, 'creating', 'a'))).toEqual([]);
  });
});

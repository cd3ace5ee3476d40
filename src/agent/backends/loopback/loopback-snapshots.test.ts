import { execFile } from 'node:child_process';
import { randomBytes, randomUUID } from 'node:crypto';
import { access, mkdir, open, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { geteuid } from 'node:process';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { BackendWorld } from '../../../../test/contract/backend-world.ts';
import { expectCode } from '../../../../test/contract/expect-code.ts';
import { eventually } from '../../../../test/e2e/support/eventually.ts';
import { type DatasetId, newDatasetId, parseSnapshotId, type SnapshotId } from '../../../kit/ids.ts';
import { whileFrozen } from '../../host/frozen-filesystem.ts';
import { loadKernel } from '../../host/kernel.ts';
import type { Backend, SnapshotEngine } from '../backend.ts';

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
const hasXfs = await access('/usr/sbin/xfs_growfs').then(
  () => true,
  () => false,
);

describe.skipIf(skip !== null)(`snapshots and growth of loopback${skip ?? ''}`, () => {
  let world: BackendWorld;
  let a: Backend;
  let engine: SnapshotEngine;

  beforeEach(async () => {
    world = await BackendWorld.make({ backend: 'loopback' });
    a = await world.node('a');
    engine = snapshotsOf(a);
  });

  afterEach(async () => {
    const problems: readonly unknown[] = await world.teardown('a');
    expect([...problems, ...(await world.close())]).toEqual([]);
  });

  const mounted = async (
    sizeBytes: number,
    more: { source?: SnapshotId; metadata?: Record<string, string> } = {},
    backend = a,
  ): Promise<DatasetId> => {
    const datasetId = newDatasetId(randomUUID);
    await backend.create({ datasetId, sizeBytes, metadata: {}, ...more }, world.signal);
    await backend.attach(datasetId, world.signal);
    await backend.mount(datasetId, world.signal);
    return datasetId;
  };
  const path = (datasetId: DatasetId, ...rest: readonly string[]): string =>
    join(world.mountRoot('a'), datasetId, ...rest);
  const directory = (datasetId: DatasetId): string => join(world.rootPath, 'attached', 'a', datasetId);
  /** Fails, instead of hanging for ever, while the filesystem is frozen. */
  const write = async (datasetId: DatasetId): Promise<void> => {
    await run('timeout', ['-s', 'KILL', '20', 'sh', '-c', 'echo alive > "$1"', 'sh', path(datasetId, 'alive')]);
  };
  const uuidOf = async (datasetId: DatasetId): Promise<string> => {
    const image = join(directory(datasetId), 'image');
    return (await run('blkid', ['-p', '-o', 'value', '-s', 'UUID', image])).stdout.trim();
  };

  it('give each copy a filesystem of its own', async () => {
    const id = await mounted(16 * MIB);
    const snapshotId = someSnapshot();
    await engine.take(snapshotId, id, world.signal);
    const copies = [await mounted(16 * MIB, { source: snapshotId }), await mounted(16 * MIB, { source: snapshotId })];
    const uuids = await Promise.all([id, ...copies].map(uuidOf));
    expect(new Set(uuids).size).toBe(3);
    expect(await readdir(path(copies[0] ?? id))).toEqual([]);
    expect(await readdir(directory(id))).not.toContain('frozen');
  });

  it('thaw at the start what a killed agent and its killed guard left frozen', async () => {
    const id = await mounted(16 * MIB);
    await writeFile(join(directory(id), 'frozen'), '');
    await run('fsfreeze', ['--freeze', path(id)]);
    a = await world.node('a');
    await write(id);
    expect(await readdir(directory(id))).not.toContain('frozen');
  });

  it('thaw what was unmounted while it was frozen when it is mounted again', async () => {
    const id = await mounted(16 * MIB);
    await writeFile(join(directory(id), 'frozen'), '');
    await run('fsfreeze', ['--freeze', path(id)]);
    await run('umount', [path(id)]);
    a = await world.node('a');
    await a.mount(id, world.signal);
    await write(id);
  });

  it('leave alone what somebody else froze', async () => {
    const id = await mounted(16 * MIB);
    await run('fsfreeze', ['--freeze', path(id)]);
    try {
      const refusal = await expectCode(engine.take(someSnapshot(), id, world.signal), 'backend_failed', id);
      expect(refusal).toContain('cannot be frozen');
    } finally {
      // Fails when it was thawed meanwhile.
      await run('fsfreeze', ['--unfreeze', path(id)]);
    }
    await engine.take(someSnapshot(), id, world.signal);
    await write(id);
  });

  describe('a freeze', () => {
    const freeze = async <T>(
      id: DatasetId,
      fields: { longestMs?: number; signal?: AbortSignal },
      work: (signal: AbortSignal) => Promise<T>,
    ): Promise<T> => {
      const guardFile = await open(join(world.directory, 'guard'), 'a');
      const place = { mountPoint: path(id), guardFile, longestMs: 60_000, signal: world.signal, ...fields };
      try {
        return await whileFrozen(loadKernel(), place, work);
      } finally {
        await guardFile.close();
      }
    };
    const forever = (signal: AbortSignal): Promise<never> =>
      new Promise((_, reject) => {
        const onAbort = (): void => reject(signal.reason as Error);
        if (signal.aborted) onAbort();
        else signal.addEventListener('abort', onAbort, { once: true });
      });

    it('holds writers back, and no longer than it has to', async () => {
      const id = await mounted(16 * MIB);
      let written = false;
      const writer = await freeze(id, {}, async () => {
        const writing = run('sh', ['-c', 'echo > "$1"', 'sh', path(id, 'late')]).then(() => {
          written = true;
        });
        await writeFile(join(world.directory, 'meanwhile'), randomBytes(MIB));
        expect(written).toBe(false);
        return { writing };
      });
      await writer.writing;
      await expect(freeze(id, {}, () => Promise.reject(new Error('broken')))).rejects.toThrow('broken');
      await write(id);
    });

    it('ends with its time and with the signal, and outlives its guard by no more than it has to', async () => {
      const id = await mounted(16 * MIB);
      await expect(freeze(id, { longestMs: 1_000 }, forever)).rejects.toThrow('no longer');
      await write(id);
      const controller = new AbortController();
      const reason = new Error('shutting down');
      const aborted = freeze(id, { signal: controller.signal }, (signal) => {
        controller.abort(reason);
        return forever(signal);
      });
      await expect(aborted).rejects.toBe(reason);
      await write(id);
      const outlived = freeze(id, {}, async (signal) => {
        const { stdout } = await run('pgrep', ['-f', `sh ${path(id)} 60`]);
        const guard = stdout.trim();
        // What it waits with ends with the guard's pipe, and not with the guard.
        await eventually(() => run('pgrep', ['-P', guard]));
        await run('kill', ['-KILL', guard]);
        return await forever(signal);
      });
      await expect(outlived).rejects.toThrow('was killed');
      await write(id);
    });
  });

  it('say that the pool is full, leave nothing of the try, and the volume can be written to', async () => {
    const pool = join(world.directory, 'small');
    await mkdir(pool);
    await run('mount', ['-t', 'tmpfs', '-o', 'size=24m', 'none', pool]);
    const backend = await world.node('a', { root_path: pool });
    const id = await mounted(64 * MIB, {}, backend);
    await writeFile(path(id, 'bytes'), randomBytes(12 * MIB));
    const snapshotId = someSnapshot();
    const taking = (): Promise<unknown> => snapshotsOf(backend).take(snapshotId, id, world.signal);
    expect(await expectCode(taking(), 'no_space', id)).toContain(snapshotId);
    expect(await snapshotsOf(backend).find(snapshotId)).toBeUndefined();
    expect(await readdir(join(pool, 'creating', 'a'))).toEqual([]);
    await write(id);
    await rm(path(id, 'bytes'));
    await run('fstrim', [path(id)]);
    await taking();
    await backend.unmount(id, world.signal);
    await run('umount', [pool]);
  });

  it('keep ext4 whole whose size is no number of its blocks', async () => {
    const [sizeBytes, largerBytes] = [600 * MIB + 1024, 600 * MIB + 3072];
    const id = await mounted(sizeBytes);
    await writeFile(path(id, 'file'), 'kept');
    const snapshotId = someSnapshot();
    await engine.take(snapshotId, id, world.signal);
    const copy = await mounted(largerBytes, { source: snapshotId });
    expect(await readFile(path(copy, 'file'), 'utf8')).toBe('kept');
    await a.unmount(id, world.signal);
    await a.grow?.(id, largerBytes, world.signal);
    expect(await a.discover(id)).toMatchObject({ kind: 'attached', sizeBytes: largerBytes });
    await a.mount(id, world.signal);
    expect(await readFile(path(id, 'file'), 'utf8')).toBe('kept');
    expect((await stat(join(directory(id), 'image'))).size).toBe(largerBytes);
  });

  it('lose the copy in which a killed agent made a volume larger', async () => {
    const id = await mounted(16 * MIB);
    await a.unmount(id, world.signal);
    await writeFile(join(directory(id), 'image.growing'), 'half of it');
    a = await world.node('a');
    expect(await readdir(directory(id))).not.toContain('image.growing');
    await a.grow?.(id, 32 * MIB, world.signal);
    await a.mount(id, world.signal);
    expect(await capacity(path(id))).toBeGreaterThan(20 * MIB);
    expect((await readdir(directory(id))).sort()).toEqual(['image', 'volume.json']);
  });

  it.skipIf(!hasXfs)('grow xfs in place, and where it is not mounted with the next mount', async () => {
    const id = await mounted(300 * MIB, { metadata: { 'flocker:filesystem': 'xfs' } });
    await writeFile(path(id, 'file'), 'kept');
    await a.grow?.(id, 400 * MIB, world.signal);
    expect(await a.discover(id)).toMatchObject({ kind: 'mounted', sizeBytes: 400 * MIB });
    expect(await capacity(path(id))).toBeGreaterThan(310 * MIB);
    await a.unmount(id, world.signal);
    await a.grow?.(id, 600 * MIB, world.signal);
    expect(await a.discover(id)).toMatchObject({ kind: 'attached', sizeBytes: 600 * MIB });
    await a.mount(id, world.signal);
    expect(await capacity(path(id))).toBeGreaterThan(510 * MIB);
    expect(await readFile(path(id, 'file'), 'utf8')).toBe('kept');
  });

  it.skipIf(!hasXfs)('copy xfs, mounted beside the original and larger', async () => {
    const id = await mounted(300 * MIB, { metadata: { 'flocker:filesystem': 'xfs' } });
    await writeFile(path(id, 'file'), 'before');
    const snapshotId = someSnapshot();
    await engine.take(snapshotId, id, world.signal);
    await writeFile(path(id, 'file'), 'after');
    const copy = await mounted(500 * MIB, { source: snapshotId });
    expect(await readFile(path(copy, 'file'), 'utf8')).toBe('before');
    expect(await capacity(path(copy))).toBeGreaterThan(410 * MIB);
    const other = newDatasetId(randomUUID);
    const recipe = {
      datasetId: other,
      sizeBytes: null,
      source: snapshotId,
      metadata: { 'flocker:filesystem': 'ext4' },
    };
    await expectCode(a.create(recipe, world.signal), 'no_such_profile', other);
    await a.unmount(id, world.signal);
    await a.mount(id, world.signal);
  });
});

async function capacity(mountPoint: string): Promise<number> {
  const { stdout } = await run('stat', ['-f', '-c', '%b %S', mountPoint]);
  const [blocks = 0, blockBytes = 0] = stdout.trim().split(' ').map(Number);
  return blocks * blockBytes;
}

function snapshotsOf({ snapshots }: Backend): SnapshotEngine {
  if (snapshots === undefined) throw new Error('loopback has snapshots');
  return snapshots;
}

function someSnapshot(): SnapshotId {
  const id = parseSnapshotId(randomUUID());
  if (id === undefined) throw new Error('no id');
  return id;
}

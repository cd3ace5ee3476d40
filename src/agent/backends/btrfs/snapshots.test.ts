import { execFile } from 'node:child_process';
import { randomBytes, randomUUID } from 'node:crypto';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { BackendWorld } from '../../../../test/contract/backend-world.ts';
import { expectCode } from '../../../../test/contract/expect-code.ts';
import { btrfsPlace, btrfsSkipReason } from '../../../../test/support/btrfs.ts';
import { type DatasetId, newDatasetId, parseSnapshotId, type SnapshotId } from '../../../kit/ids.ts';
import type { Backend, SnapshotEngine } from '../backend.ts';

const run = promisify(execFile);
const MIB = 2 ** 20;
const skip = await btrfsSkipReason();

describe.skipIf(skip !== null)(`snapshots of btrfs${skip ?? ''}`, () => {
  let world: BackendWorld;
  let a: Backend;
  let snapshots: SnapshotEngine;

  beforeEach(async () => {
    world = await BackendWorld.make({ backend: 'btrfs' }, btrfsPlace);
    a = await world.node('a');
    if (a.snapshots === undefined) throw new Error('btrfs has no snapshots');
    ({ snapshots } = a);
  });

  afterEach(async () => {
    const problems: readonly unknown[] = await world.teardown('a');
    expect([...problems, ...(await world.close())]).toEqual([]);
  });

  const newSnapshotId = (): SnapshotId => parseSnapshotId(randomUUID()) as SnapshotId;
  const mounted = async (sizeBytes: number | null, source?: SnapshotId): Promise<DatasetId> => {
    const datasetId = newDatasetId(randomUUID);
    const recipe = { datasetId, sizeBytes, metadata: {} };
    await a.create(source === undefined ? recipe : { ...recipe, source }, world.signal);
    await a.attach(datasetId, world.signal);
    await a.mount(datasetId, world.signal);
    return datasetId;
  };
  const path = (datasetId: DatasetId, ...rest: readonly string[]): string =>
    join(world.mountRoot('a'), datasetId, ...rest);

  it('has what the volume had, shares it, and outlives it', async () => {
    const id = await mounted(32 * MIB);
    const bytes = randomBytes(8 * MIB);
    await writeFile(path(id, 'bytes'), bytes);
    const snapshotId = newSnapshotId();
    expect(await snapshots.find(snapshotId)).toBeUndefined();
    const taken = await snapshots.take(snapshotId, id, world.signal);
    expect(taken.sizeBytes).toBe(32 * MIB);
    expect(await snapshots.take(snapshotId, id, world.signal)).toEqual(taken);
    expect(await snapshots.find(snapshotId)).toEqual(taken);
    await writeFile(path(id, 'bytes'), 'changed');
    const clone = await mounted(null, snapshotId);
    expect(await a.discover(clone)).toMatchObject({ sizeBytes: 32 * MIB });
    expect((await readFile(path(clone, 'bytes'))).equals(bytes)).toBe(true);
    await run('sync', ['-f', world.rootPath]);
    // The walk goes on with each call, until it has seen all.
    for (let shared: number | null = null; shared === null; ) {
      shared = (await a.describePool?.(world.signal))?.figures.sharedSavedBytes ?? null;
      if (shared !== null) expect(shared).toBe(8 * MIB);
    }
    await a.unmount(id, world.signal);
    await a.detach(id, world.signal);
    await a.destroy(id, world.signal);
    await snapshots.destroy(snapshotId, world.signal);
    await snapshots.destroy(snapshotId, world.signal);
    expect(await snapshots.find(snapshotId)).toBeUndefined();
    expect((await readFile(path(clone, 'bytes'))).equals(bytes)).toBe(true);
    expect(await readdir(join(world.rootPath, 'snapshots'))).toEqual([]);
  });

  it('gives a volume made from one a limit of its own', async () => {
    const id = await mounted(8 * MIB);
    const snapshotId = newSnapshotId();
    await snapshots.take(snapshotId, id, world.signal);
    const clone = await mounted(32 * MIB, snapshotId);
    await writeFile(path(clone, 'more'), randomBytes(16 * MIB));
    await expect(writeFile(path(clone, 'too much'), randomBytes(20 * MIB))).rejects.toThrow(/-122|EDQUOT/);
    await expect(writeFile(path(id, 'more'), randomBytes(16 * MIB))).rejects.toThrow(/-122|EDQUOT/);
  });

  it('takes one of a volume at rest, and refuses what is not there or too small', async () => {
    const id = await mounted(16 * MIB);
    await writeFile(path(id, 'file'), 'kept');
    await a.unmount(id, world.signal);
    const snapshotId = newSnapshotId();
    await snapshots.take(snapshotId, id, world.signal);
    await a.detach(id, world.signal);
    const clone = await mounted(null, snapshotId);
    expect(await readFile(path(clone, 'file'), 'utf8')).toBe('kept');
    await writeFile(path(clone, 'file'), 'changed');
    await expectCode(snapshots.take(newSnapshotId(), id, world.signal), 'backend_failed', id);
    const lost = newDatasetId(randomUUID);
    const recipe = { datasetId: lost, sizeBytes: null, metadata: {} };
    await expectCode(a.create({ ...recipe, source: newSnapshotId() }, world.signal), 'volume_lost', null);
    await expectCode(a.create({ ...recipe, sizeBytes: MIB, source: snapshotId }, world.signal), 'bad_size', lost);
    expect(await a.discover(lost)).toEqual({ kind: 'absent' });
  });

  it('has what was synced, in the order in which it was, while somebody writes', async () => {
    const id = await mounted(16 * MIB);
    const script = `
      const { writeSync, openSync, fdatasyncSync } = await import('node:fs');
      const files = ${JSON.stringify([path(id, 'first'), path(id, 'second')])}.map((path) => openSync(path, 'w'));
      for (let count = 1; ; count += 1) {
        for (const file of files) {
          writeSync(file, String(count).padStart(12), 0);
          fdatasyncSync(file);
        }
        if (count === 16) process.stdout.write('writes\\n');
      }`;
    const writer = await world.hold(process.execPath, ['--input-type=module', '-e', script]);
    const taken = [newSnapshotId(), newSnapshotId(), newSnapshotId()];
    for (const snapshotId of taken) await snapshots.take(snapshotId, id, world.signal);
    await world.end(writer);
    for (const snapshotId of taken) {
      const copy = await mounted(null, snapshotId);
      const [first, second] = await Promise.all(
        ['first', 'second'].map(async (name) => Number(await readFile(path(copy, name), 'utf8'))),
      );
      expect(first).toBeGreaterThanOrEqual(16);
      expect((first ?? 0) - (second ?? 0)).toBeOneOf([0, 1]);
    }
  });

  it('clears away what an interrupted one left', async () => {
    const id = await mounted(16 * MIB);
    const snapshotId = newSnapshotId();
    await snapshots.take(snapshotId, id, world.signal);
    const half = join(world.rootPath, 'creating', 'a', `${snapshotId}.half`);
    await run('cp', ['-r', join(world.rootPath, 'snapshots', snapshotId), half]);
    const data = join(world.rootPath, 'attached', 'a', id, 'data');
    await run('rm', ['-r', join(half, 'data')]);
    await run('btrfs', ['subvolume', 'snapshot', '-r', data, join(half, 'data')]);
    const again = await world.node('a');
    expect(await readdir(join(world.rootPath, 'creating', 'a'))).toEqual([]);
    expect(await again.snapshots?.find(snapshotId)).toMatchObject({ sizeBytes: 16 * MIB });
  });
});

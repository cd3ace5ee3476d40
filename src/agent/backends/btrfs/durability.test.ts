import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { BackendWorld } from '../../../../test/contract/backend-world.ts';
import { btrfsPlace, btrfsSkipReason } from '../../../../test/support/btrfs.ts';
import { type DatasetId, newDatasetId, parseSnapshotId, type SnapshotId } from '../../../kit/ids.ts';
import type { Backend } from '../backend.ts';

const run = promisify(execFile);
const MIB = 2 ** 20;
const skip = await btrfsSkipReason();

describe.skipIf(skip !== null)(`btrfs after a power cut${skip ?? ''}`, () => {
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

  const image = (): string => join(world.directory, 'pool.img');
  /** Goes on, after `step`, with what was on the disk at the very moment it ended. */
  const cutAfter = async (step: () => Promise<unknown>): Promise<void> => {
    await step();
    await run('cp', ['--sparse=always', image(), `${image()}.cut`]);
    expect(await world.teardown('a')).toEqual([]);
    await rename(`${image()}.cut`, image());
    a = await world.node('a');
  };
  const create = (datasetId: DatasetId, source?: SnapshotId): Promise<void> => {
    const recipe = { datasetId, sizeBytes: 16 * MIB, metadata: { name: 'kept' } };
    return a.create(source === undefined ? recipe : { ...recipe, source }, world.signal);
  };

  it('volumes and snapshots that were made are there, and those that were destroyed are not', async () => {
    const id = newDatasetId(randomUUID);
    await cutAfter(() => create(id));
    expect(await a.discover(id)).toEqual({ kind: 'detached', sizeBytes: 16 * MIB });
    await a.attach(id, world.signal);
    await a.mount(id, world.signal);
    await writeFile(join(world.mountRoot('a'), id, 'file'), 'kept', { flush: true });
    const snapshotId = parseSnapshotId(randomUUID()) as SnapshotId;
    await cutAfter(() => a.snapshots?.take(snapshotId, id, world.signal) ?? Promise.reject(new Error('no snapshots')));
    expect(await a.snapshots?.find(snapshotId)).toMatchObject({ sizeBytes: 16 * MIB });
    const copy = newDatasetId(randomUUID);
    await cutAfter(() => create(copy, snapshotId));
    await a.attach(copy, world.signal);
    await a.mount(copy, world.signal);
    expect(await readFile(join(world.mountRoot('a'), copy, 'file'), 'utf8')).toBe('kept');
    await a.unmount(copy, world.signal);
    await cutAfter(() => a.detach(copy, world.signal));
    expect((await a.discover(copy)).kind).toBe('detached');
    await cutAfter(() => a.destroy(copy, world.signal));
    expect(await a.discover(copy)).toEqual({ kind: 'absent' });
    await cutAfter(async () => a.snapshots?.destroy(snapshotId, world.signal));
    expect(await a.snapshots?.find(snapshotId)).toBeUndefined();
  });

  it('a volume that grew is as large as it said', async () => {
    const id = newDatasetId(randomUUID);
    await create(id);
    await a.attach(id, world.signal);
    await a.mount(id, world.signal);
    await cutAfter(async () => a.grow?.(id, 64 * MIB, world.signal));
    expect(await a.discover(id)).toMatchObject({ sizeBytes: 64 * MIB });
    await a.mount(id, world.signal);
    await writeFile(join(world.mountRoot('a'), id, 'large'), Buffer.alloc(40 * MIB, 1));
  });
});

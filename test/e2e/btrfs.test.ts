import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { StorageView } from '../../src/api/storage.ts';
import { connectFlocker } from '../../src/client/connect-flocker.ts';
import { systemClock } from '../../src/kit/clock.ts';
import { type DatasetId, parseDatasetId, parseNodeId, parseSnapshotId } from '../../src/kit/ids.ts';
import { silentLogger } from '../../src/kit/logger.ts';
import { btrfsSkipReason } from '../support/btrfs.ts';
import { eventually } from './support/eventually.ts';
import { UpCluster } from './support/up.ts';

const MIB = 2 ** 20;
const TIMEOUT_MS = 60_000;
const skip = await btrfsSkipReason();
const soon = (): AbortSignal => AbortSignal.timeout(TIMEOUT_MS);
const ignore = (): void => undefined;

describe.skipIf(skip !== null)(`flocker up, btrfs backend${skip ?? ''}`, () => {
  let cluster: UpCluster;
  let client: Awaited<ReturnType<typeof connect>>;
  beforeAll(async () => {
    cluster = await UpCluster.start('--backend', 'btrfs');
    client = await connect();
  });
  afterAll(async () => {
    await client.close();
    await cluster.remove();
  });

  const connect = async () => {
    const { control } = await cluster.json();
    const tls = await cluster.user();
    return connectFlocker({ urls: [control.url], tls, clock: systemClock, random: Math.random, logger: silentLogger });
  };
  const idOf = async (name: string): Promise<DatasetId> => {
    const { datasets } = await client.listDatasets(soon());
    const id = parseDatasetId(datasets.find(({ metadata }) => metadata['name'] === name)?.dataset_id ?? '');
    if (id === undefined) throw new Error(`there is no dataset ${name}`);
    return id;
  };

  it('enforces the size of a volume, and makes it larger while a task has it', async () => {
    const fill = 'head -c 80M /dev/urandom > /mnt/bytes';
    expect(await cluster.sh(1, 'web:/mnt,size=64MiB', fill)).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('Disk quota exceeded') as string,
    });
    const wait = `echo in; while [ ! -e /mnt/go ]; do sleep 0.05; done; ${fill} && echo filled`;
    const task = cluster.run(1, '-v', 'web:/mnt', '--', 'sh', '-c', wait);
    await task.says('in');
    const id = await idOf('web');
    await client.resizeDataset(id, 128 * MIB, soon());
    expect(await client.waitUntilGrown(id, 128 * MIB, soon())).toBe(128 * MIB);
    await writeFile(join((await cluster.node(1)).mount_root, id, 'go'), '');
    expect(await task.ended).toMatchObject({ status: 0, stdout: 'in\nfilled\n' });
  });

  it('makes a volume from a snapshot, on the other node too, and moves volumes', async () => {
    expect(await cluster.sh(1, 'db:/mnt,size=64MiB,profile=bronze', 'echo before > /mnt/row')).toMatchObject({
      status: 0,
    });
    const datasetId = await idOf('db');
    const { snapshot_id: text } = await client.createSnapshot({ datasetId, metadata: {} }, soon());
    const source = parseSnapshotId(text);
    const primary = parseNodeId((await cluster.node(2)).uuid);
    if (source === undefined || primary === undefined) throw new Error('not an id');
    await client.waitForSnapshot(source, soon());
    expect(await cluster.sh(2, 'db:/mnt', 'echo after > /mnt/row')).toMatchObject({ status: 0 });
    const copy = { primary, maximumSizeBytes: 64 * MIB, metadata: { name: 'copy' }, sourceSnapshot: source };
    const { dataset_id: copyId } = await client.createDataset(copy, { kind: 'none' }, soon());
    await client.waitUntilMounted(parseDatasetId(copyId) as DatasetId, primary, ignore, soon());
    expect(await cluster.sh(1, 'copy:/mnt', 'cat /mnt/row')).toMatchObject({ status: 0, stdout: 'before\n' });
    expect(await cluster.sh(1, 'db:/mnt', 'cat /mnt/row')).toMatchObject({ status: 0, stdout: 'after\n' });
    await client.deleteSnapshot(source, soon());
    await client.waitUntilSnapshotGone(source, soon());
  });

  it('says what compression saves', async () => {
    const text = 'seq 2000000 > /mnt/numbers; sync -f /mnt';
    expect(await cluster.sh(1, 'text:/mnt,size=64MiB,profile=bronze', text)).toMatchObject({ status: 0 });
    // A volume that is made has the pool looked at soon.
    expect(await cluster.sh(1, 'other:/mnt,size=64MiB', 'true')).toMatchObject({ status: 0 });
    const api = await cluster.api();
    await eventually(async () => {
      const { json } = await api.get('/v1/state/storage');
      const [pool] = (json as unknown as StorageView).pools;
      expect(pool?.profiles.map(({ compression }) => compression)).toEqual(['none', 'lzo', 'zstd:3']);
      expect(pool?.figures.saved_by_compression).toBeGreaterThan(5 * MIB);
      expect(pool?.figures.logical).toBeGreaterThan(pool?.figures.physical ?? Number.NaN);
    }, TIMEOUT_MS);
  });

  it('has everything after the machine went down', async () => {
    await cluster.scratch.powerCut();
    await cluster.up();
    await cluster.connected();
    expect(await cluster.sh(2, 'db:/mnt', 'cat /mnt/row')).toMatchObject({ status: 0, stdout: 'after\n' });
    expect(await cluster.sh(2, 'copy:/mnt', 'cat /mnt/row')).toMatchObject({ status: 0, stdout: 'before\n' });
    expect(await cluster.stop()).toMatchObject({ status: 0, stderr: '' });
    await cluster.scratch.expectNoTraces();
  });
});

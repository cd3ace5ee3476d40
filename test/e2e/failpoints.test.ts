import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { FlockerClient } from '../../src/client/flocker-client.ts';
import type { StorageClient } from '../../src/client/storage-client.ts';
import { FAILPOINTS } from '../../src/kit/failpoint.ts';
import { type DatasetId, type NodeId, parseDatasetId, parseNodeId, parseSnapshotId } from '../../src/kit/ids.ts';
import { eventually } from './support/eventually.ts';
import { BACKENDS, UpCluster } from './support/up.ts';

const TIMEOUT_MS = 60_000;
const MIB = 2 ** 20;
const [backend] = BACKENDS;
const soon = (): AbortSignal => AbortSignal.timeout(TIMEOUT_MS);

/** A life of a volume, with whichever daemon comes to a step killed there, once. Everything has to come about all the same. */
describe(`kill -9 at every named step, ${backend} backend`, () => {
  let done: string;
  beforeAll(async () => {
    done = await mkdtemp(join(tmpdir(), 'flocker-failpoints-'));
  });
  let cluster: UpCluster | undefined;
  afterEach(async () => {
    await cluster?.remove();
    cluster = undefined;
  });
  afterAll(() => rm(done, { recursive: true, force: true }));

  // Each cluster goes through some of them, one after the other, as each kills once.
  const groups = FAILPOINTS.map((_, index) => FAILPOINTS.filter((__, other) => other % 6 === index % 6)).slice(0, 6);
  it.each(groups.map((group) => [group.join(', '), group] as const))('%s', async (_, group) => {
    const made = await UpCluster.startWith({ FLOCKER_FAILPOINTS: `${done}:${group.join(',')}` }, '--backend', backend);
    cluster = made;
    const client = await made.client();
    try {
      await live(made, client);
    } finally {
      await client.close();
    }
    expect((await readdir(done)).sort()).toEqual(expect.arrayContaining([...group]));
    expect(await made.stop()).toMatchObject({ status: 0, stderr: '' });
    await made.scratch.expectNoTraces();
  });
});

async function live(cluster: UpCluster, client: FlockerClient & StorageClient): Promise<void> {
  const [first, second] = (await cluster.json()).nodes.map(({ uuid }) => parseNodeId(uuid) as NodeId);
  if (first === undefined || second === undefined) throw new Error('no nodes');
  const run = (number: number, script: string): Promise<string> => {
    let stdout = '';
    return eventually(async () => {
      const ended = await cluster.sh(number, 'web:/mnt,size=64MiB', script);
      expect(ended).toMatchObject({ status: 0 });
      stdout = ended.stdout;
    }, TIMEOUT_MS).then(() => stdout);
  };
  const id = async (): Promise<DatasetId> => {
    const { datasets } = await client.listDatasets(soon());
    const known = datasets.filter(({ metadata }) => metadata['name'] === 'web');
    expect(known).toHaveLength(1);
    return parseDatasetId(known[0]?.dataset_id ?? '') as DatasetId;
  };
  const done = (work: () => Promise<unknown>): Promise<void> => eventually(async () => void (await work()), TIMEOUT_MS);

  await run(1, 'echo one >> /mnt/text; sync /mnt/text');
  // A run that was cut short may have written its line; the next one then wrote another.
  expect(await run(2, 'sort -u /mnt/text')).toBe('one\n');
  await done(async () => client.resizeDataset(await id(), 96 * MIB, soon()));
  await done(async () => client.waitUntilGrown(await id(), 96 * MIB, soon()));
  let snapshot: string | undefined;
  await done(async () => {
    snapshot ??= (await client.createSnapshot({ datasetId: await id(), metadata: {} }, soon())).snapshot_id;
  });
  const snapshotId = parseSnapshotId(snapshot ?? '');
  if (snapshotId === undefined) throw new Error('no snapshot');
  await done(() => client.waitForSnapshot(snapshotId, soon()));
  await done(async () => client.moveDataset(await id(), first, { kind: 'none' }, soon()));
  await done(async () => client.waitUntilMounted(await id(), first, () => undefined, soon()));
  expect(await run(1, 'sort -u /mnt/text')).toBe('one\n');
  await done(() => client.deleteSnapshot(snapshotId, soon()));
  const gone = await id();
  await done(() => client.deleteDataset(gone, { kind: 'none' }, soon()));
  await done(() => client.waitUntilGone(gone, soon()));
}

import { randomInt, randomUUID } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { FlockerClient } from '../../src/client/flocker-client.ts';
import type { StorageClient } from '../../src/client/storage-client.ts';
import { type DatasetId, type NodeId, parseDatasetId, parseNodeId, parseSnapshotId } from '../../src/kit/ids.ts';
import { btrfsSkipReason } from '../support/btrfs.ts';
import { eventually } from './support/eventually.ts';
import { type ClusterNode, type Daemon, UpCluster } from './support/up.ts';

const TIMEOUT_MS = 60_000;
const ROUNDS = 8;
/** A copy of the volume takes some hundred milliseconds: kills fall before, into and after it. */
const LATEST_KILL_MS = 500;
const soon = (): AbortSignal => AbortSignal.timeout(TIMEOUT_MS);
const skip = await btrfsSkipReason();
/** Everything that a stream of btrfs carries: holes, links, attributes, owners, times, odd names. */
const FILL =
  'head -c 24M /dev/urandom > /mnt/bytes && seq 200000 > /mnt/numbers && mkdir /mnt/deep && ln /mnt/bytes /mnt/deep/linked && ' +
  'ln -s ../numbers /mnt/deep/pointer && truncate -s 30M /mnt/deep/sparse && chown 1234:4321 /mnt/numbers && chmod 640 /mnt/numbers && ' +
  'touch -d 2001-02-03 /mnt/numbers "/mnt/deep/odd \\$name" && mkfifo /mnt/deep/fifo && sync -f /mnt';
/** A sum over contents and what is known of each file. */
const SUM =
  'cd /mnt && { find . -type f -exec sha256sum {} + | sort -k2; find . -mindepth 1 -printf "%p %y %m %U %G %s %n %T@ %l\\n" | sort; } | ' +
  'grep -v "^\\./visits" | grep -v "\\./visits$" | sha256sum';

describe.skipIf(skip !== null)(`volumes that move between pools${skip ?? ''}`, () => {
  let cluster: UpCluster;
  let client: FlockerClient & StorageClient;
  let nodes: readonly ClusterNode[];
  beforeAll(async () => {
    cluster = await UpCluster.start('--backend', 'btrfs', '--pool-per-node', '--nodes', '3');
    client = await cluster.client();
    ({ nodes } = await cluster.json());
  });
  afterAll(async () => {
    await client.close();
    await cluster.remove();
  });

  const uuidOf = (number: number): NodeId => parsed(parseNodeId(nodes[number - 1]?.uuid ?? ''));
  const idOf = async (name: string): Promise<DatasetId> => {
    const { datasets } = await client.listDatasets(soon());
    return parsed(parseDatasetId(datasets.find(({ metadata }) => metadata['name'] === name)?.dataset_id ?? ''));
  };
  const poolOf = (number: number): string => join(cluster.directory, `node${number}`, 'pool', 'pool');
  /** Volumes, unfinished and old ones included, in the pool of a node. */
  const volumesIn = async (number: number): Promise<string[]> => {
    const uuid = uuidOf(number);
    const places = ['unattached', `attached/${uuid}`, `creating/${uuid}`, `destroying/${uuid}`];
    const found = await Promise.all(
      places.map(async (place) => (await readdir(join(poolOf(number), place))).map((name) => `${place}/${name}`)),
    );
    return found.flat();
  };
  /** What the agent of a node has logged of the copies of a volume that it fetched. */
  const copiesTold = async (number: number, id: DatasetId): Promise<readonly Told[]> => {
    const log = await readFile(join(cluster.directory, 'logs', `node${number}.log`), 'utf8');
    const lines = log.split('\n').filter((line) => line.includes('volume copied') && line.includes(id));
    return lines.map((line) => JSON.parse(line) as Told);
  };
  const expectOnlyIn = (number: number, id: DatasetId): Promise<void> =>
    eventually(async () => {
      for (const each of [1, 2, 3]) {
        const found = (await volumesIn(each)).filter((path) => path.includes(id));
        expect(found, `node ${each}`).toHaveLength(each === number ? 1 : 0);
      }
    }, TIMEOUT_MS);

  it('have everything they had, and are in one pool only', async () => {
    expect(await cluster.sh(1, 'web:/mnt,size=256MiB,profile=bronze', FILL)).toMatchObject({ status: 0, stderr: '' });
    const { stdout: before } = await cluster.sh(1, 'web:/mnt', SUM);
    const id = await idOf('web');
    const copies: unknown[] = [];
    const stop = new AbortController();
    const watching = cluster.api().then((api) => watchCopies(api, id, copies, stop.signal));
    expect(await cluster.sh(2, 'web:/mnt', SUM)).toMatchObject({ status: 0, stdout: before, stderr: '' });
    stop.abort();
    await watching;
    expect(copies).toContainEqual(expect.objectContaining({ from: uuidOf(1), to: uuidOf(2) }));
    await expectOnlyIn(2, id);
    // The limit and the way of compression went with it.
    expect(await cluster.sh(2, 'web:/mnt', 'head -c 300M /dev/urandom > /mnt/more')).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('Disk quota exceeded') as string,
    });
    expect(await cluster.sh(2, 'web:/mnt', 'rm /mnt/more')).toMatchObject({ status: 0 });
    expect(await cluster.sh(3, 'web:/mnt', SUM)).toMatchObject({ status: 0, stdout: before, stderr: '' });
    expect(await cluster.sh(1, 'web:/mnt', SUM)).toMatchObject({ status: 0, stdout: before, stderr: '' });
    await expectOnlyIn(1, id);
  });

  it('bring only what was changed back to where a snapshot of them is', async () => {
    expect(await cluster.sh(1, 'homing:/mnt,size=256MiB', FILL)).toMatchObject({ status: 0, stderr: '' });
    const { stdout: before } = await cluster.sh(1, 'homing:/mnt', SUM);
    const id = await idOf('homing');
    const snapshotId = parsed(parseSnapshotId(randomUUID()));
    await client.createSnapshot({ datasetId: id, snapshotId, metadata: {} }, soon());
    await client.waitForSnapshot(snapshotId, soon());
    expect(await cluster.sh(2, 'homing:/mnt', SUM)).toMatchObject({ status: 0, stdout: before, stderr: '' });
    const change = 'rm /mnt/deep/linked && truncate -s 20M /mnt/bytes && echo new > /mnt/deep/new && sync -f /mnt';
    expect(await cluster.sh(2, 'homing:/mnt', change)).toMatchObject({ status: 0, stderr: '' });
    const { stdout: changed } = await cluster.sh(2, 'homing:/mnt', SUM);
    expect(await cluster.sh(1, 'homing:/mnt', SUM)).toMatchObject({ status: 0, stdout: changed, stderr: '' });
    expect(changed).not.toBe(before);
    await expectOnlyIn(1, id);
    const [there] = await copiesTold(2, id);
    const [back] = await copiesTold(1, id);
    expect(there).toMatchObject({ against: null, along: expect.any(String) as string });
    expect(back).toMatchObject({ against: there?.along, along: null });
    expect(there?.bytes).toBeGreaterThan(24 * 2 ** 20);
    expect(back?.bytes).toBeLessThan(2 ** 20);
  });

  it('lose nothing when daemons are killed while they are copied', async () => {
    expect(await cluster.sh(1, 'db:/mnt,size=256MiB', FILL)).toMatchObject({ status: 0, stderr: '' });
    const { stdout: before } = await cluster.sh(1, 'db:/mnt', SUM);
    const id = await idOf('db');
    for (let round = 1; round <= ROUNDS; round += 1) {
      const [from, to] = round % 2 === 1 ? [1, 2] : [2, 1];
      expect(await cluster.sh(from, 'db:/mnt', 'echo visit >> /mnt/visits; sync /mnt/visits')).toMatchObject({
        status: 0,
      });
      const victims = (['control', from, to] as const).filter((_, index) => round % 4 === 3 || round % 4 === index);
      const kills = victims.map((victim): [Daemon, number] => [victim, randomInt(LATEST_KILL_MS)]);
      const told = `round ${round}: ${kills.map(([victim, ms]) => `${victim} after ${ms} ms`).join(', ')}`;
      const killing = kills.map(async ([victim, delayMs]) => {
        await pause(delayMs);
        await cluster.killNow(victim);
      });
      await Promise.all([
        eventually(() => client.moveDataset(id, uuidOf(to), { kind: 'none' }, soon()), TIMEOUT_MS),
        ...killing,
      ]);
      await client
        .waitUntilMounted(id, uuidOf(to), () => undefined, soon())
        .catch((error: unknown) => {
          throw new Error(told, { cause: error });
        });
      await eventually(async () => {
        const read = await cluster.sh(to, 'db:/mnt', `${SUM}; wc -l < /mnt/visits`);
        expect(read, told).toMatchObject({ status: 0, stdout: `${before}${round}\n` });
      }, TIMEOUT_MS);
      await expectOnlyIn(to, id);
    }
  });

  it('stay where they are when the move is taken back, and are gone everywhere when they are deleted', async () => {
    expect(await cluster.sh(1, 'back:/mnt,size=256MiB', FILL)).toMatchObject({ status: 0, stderr: '' });
    const { stdout: before } = await cluster.sh(1, 'back:/mnt', SUM);
    const id = await idOf('back');
    for (const waitMs of [0, 60, 150, 300]) {
      await client.moveDataset(id, uuidOf(2), { kind: 'none' }, soon());
      await pause(waitMs);
      await client.moveDataset(id, uuidOf(1), { kind: 'none' }, soon());
      await client.waitUntilMounted(id, uuidOf(1), () => undefined, soon());
      expect(await cluster.sh(1, 'back:/mnt', SUM)).toMatchObject({ status: 0, stdout: before, stderr: '' });
    }
    await expectOnlyIn(1, id);
    await client.moveDataset(id, uuidOf(3), { kind: 'none' }, soon());
    await pause(100);
    await client.deleteDataset(id, { kind: 'none' }, soon());
    await client.waitUntilGone(id, soon());
    await eventually(async () => {
      for (const each of [1, 2, 3]) expect((await volumesIn(each)).filter((path) => path.includes(id))).toEqual([]);
    }, TIMEOUT_MS);
  });

  it('with subvolumes in them stay, and say why', async () => {
    const script = 'btrfs subvolume create /mnt/inner >/dev/null && echo in > /mnt/inner/file';
    expect(await cluster.sh(1, 'nested:/mnt,size=64MiB', script)).toMatchObject({ status: 0, stderr: '' });
    const id = await idOf('nested');
    await client.moveDataset(id, uuidOf(2), { kind: 'none' }, soon());
    await eventually(async () => {
      const inspection = await client.inspectDataset(id, soon());
      expect(inspection?.problem).toMatchObject({
        code: 'conflict',
        message: expect.stringContaining('subvolume') as string,
      });
    }, TIMEOUT_MS);
    expect(await cluster.sh(1, 'nested:/mnt', 'cat /mnt/inner/file')).toMatchObject({ status: 0, stdout: 'in\n' });
  });

  it('leave nothing of the cluster behind', async () => {
    expect(await cluster.stop()).toMatchObject({ status: 0, stderr: '' });
    await cluster.scratch.expectNoTraces();
  });
});

interface Told {
  readonly bytes: number;
  readonly against: string | null;
  readonly along: string | null;
}

async function watchCopies(
  api: Awaited<ReturnType<UpCluster['api']>>,
  id: DatasetId,
  copies: unknown[],
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    const { json } = await api.get(`/v1/inspect/datasets?dataset_id=${id}`);
    const [inspection] = json as unknown as { copy?: unknown }[];
    if (inspection?.copy !== undefined) copies.push(inspection.copy);
    await pause(5);
  }
}

function parsed<T>(value: T | undefined): T {
  if (value === undefined) throw new Error('this is no id');
  return value;
}

import { randomInt, randomUUID } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { FlockerClient } from '../../src/client/flocker-client.ts';
import { type DatasetId, type NodeId, parseDatasetId, parseNodeId } from '../../src/kit/ids.ts';
import { btrfsSkipReason } from '../support/btrfs.ts';
import { eventually } from './support/eventually.ts';
import { hostsThatMounted, MountWatch } from './support/mount-watch.ts';
import { appendRecord, expectRecords, expectSequence, WRITER } from './support/records.ts';
import { BACKENDS, type ClusterNode, type Daemon, UpCluster } from './support/up.ts';

const ROUNDS = 8;
/** A move takes some tens of milliseconds: kills fall before, into and after it. */
const LATEST_KILL_MS = 120;
const SIZE_BYTES = 64 * 2 ** 20;
const MOVE_TIMEOUT_MS = 40_000;
const ignore = (): void => undefined;
const soon = (): AbortSignal => AbortSignal.timeout(MOVE_TIMEOUT_MS);

/** Without the programs of btrfs it is left out, as without root. */
const WITH_BTRFS = (await btrfsSkipReason()) === null ? ([...BACKENDS, 'btrfs'] as const) : BACKENDS;

describe.each(WITH_BTRFS)('moves while daemons are killed, %s backend', (backend) => {
  let cluster: UpCluster;
  let client: FlockerClient;
  let nodes: readonly ClusterNode[];
  beforeAll(async () => {
    cluster = await UpCluster.start('--backend', backend);
    client = await cluster.client();
    ({ nodes } = await cluster.json());
  });
  afterAll(async () => {
    await client.close();
    await cluster.remove();
  });

  const uuidOf = (number: number): NodeId => parsed(parseNodeId(nodes[number - 1]?.uuid ?? ''));
  const hostOf = (number: number): string => nodes[number - 1]?.host ?? '';
  const move = (id: DatasetId, number: number): Promise<unknown> =>
    eventually(() => client.moveDataset(id, uuidOf(number), { kind: 'none' }, soon()), MOVE_TIMEOUT_MS);

  it('the volume is mounted on one node at any time, and every record is there after each', async () => {
    const metadata = { name: `moved-${randomUUID()}` };
    const dataset = { primary: uuidOf(1), maximumSizeBytes: SIZE_BYTES, metadata };
    const made = await client.createDataset(dataset, { kind: 'none' }, soon());
    const id = parsed(parseDatasetId(made.dataset_id));
    let { path } = await client.waitUntilMounted(id, uuidOf(1), ignore, soon());
    const watch = new MountWatch(nodes, id);
    try {
      for (let round = 1; round <= ROUNDS; round += 1) {
        await appendRecord(path, round);
        const [from, to] = round % 2 === 1 ? [1, 2] : [2, 1];
        // In turn each of control service, old node, new node, and now and then all.
        const victims = (['control', from, to] as const).filter((_, index) => round % 4 === 3 || round % 4 === index);
        const kills = victims.map((victim): [Daemon, number] => [victim, randomInt(LATEST_KILL_MS)]);
        const killing = kills.map(async ([victim, delayMs]) => {
          await pause(delayMs);
          await cluster.killNow(victim);
        });
        await Promise.all([move(id, to), ...killing]);
        const told = `round ${round}: killed ${kills.map(([victim, ms]) => `${victim} after ${ms} ms`).join(', ')}`;
        ({ path } = await client.waitUntilMounted(id, uuidOf(to), ignore, soon()).catch((error: unknown) => {
          throw new Error(told, { cause: error });
        }));
        expect(hostsThatMounted(nodes, id), told).toEqual([hostOf(to)]);
        expect(await expectRecords(path, round), told).toBe(round);
      }
    } finally {
      const { seen, looks } = watch.stop();
      expect(seen.filter((hosts) => hosts.includes(' and '))).toEqual([]);
      expect(looks).toBeGreaterThan(100);
    }
    await client.deleteDataset(id, { kind: 'none' }, soon());
    await client.waitUntilGone(id, soon());
  });

  it('a writer that is killed loses no record that was on disk, wherever it runs next', async () => {
    const volume = `written-${randomUUID()}`;
    let known = 0;
    for (const [number, how] of [
      [1, 'SIGKILL'],
      [2, 'SIGTERM'],
      [1, 'SIGKILL'],
    ] as const) {
      const writer = cluster.run(number, '-v', `${volume}:/mnt,size=64MiB`, '--', ...WRITER);
      await writer.says(/\n/);
      await cluster.killNow(number);
      await pause(randomInt(LATEST_KILL_MS));
      writer.kill(how);
      const { status, stdout } = await writer.ended;
      expect(status).toBe(how === 'SIGKILL' ? null : 143);
      known = Number(stdout.trim().split('\n').at(-1));
      expect(known).toBeGreaterThan(0);
    }
    const read = await cluster.sh(2, `${volume}:/mnt`, 'cat /mnt/records');
    expect(read).toMatchObject({ status: 0, stderr: '' });
    expectSequence(read.stdout, known);
  });
});

function parsed<T>(value: T | undefined): T {
  if (value === undefined) throw new Error('this is no id');
  return value;
}

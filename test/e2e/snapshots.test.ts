import { randomInt, randomUUID } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type DatasetId, type NodeId, parseDatasetId, parseNodeId, parseSnapshotId } from '../../src/kit/ids.ts';
import { eventually } from './support/eventually.ts';
import { appendRecord, expectRecords } from './support/records.ts';
import { BACKENDS, type ClusterNode, type Daemon, UpCluster } from './support/up.ts';

const ROUNDS = 4;
/** A snapshot takes some tens of milliseconds: kills fall before, into and after it. */
const LATEST_KILL_MS = 150;
const MIB = 2 ** 20;
const TIMEOUT_MS = 60_000;
const ignore = (): void => undefined;
const soon = (): AbortSignal => AbortSignal.timeout(TIMEOUT_MS);

describe.each(BACKENDS)('growth and snapshots while daemons are killed, %s backend', (backend) => {
  let cluster: UpCluster;
  let client: Awaited<ReturnType<UpCluster['client']>>;
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
  const make = async (more: Partial<Parameters<typeof client.createDataset>[0]> = {}): Promise<DatasetId> => {
    const asked = { primary: uuidOf(1), metadata: { name: `snapped-${randomUUID()}` }, ...more };
    const made = await eventually(() => client.createDataset(asked, { kind: 'none' }, soon()), TIMEOUT_MS);
    return parsed(parseDatasetId(made.dataset_id));
  };
  const remove = async (id: DatasetId): Promise<void> => {
    await client.deleteDataset(id, { kind: 'none' }, soon());
    await client.waitUntilGone(id, soon());
  };
  const killLater = (...victims: readonly Daemon[]): Promise<unknown> =>
    Promise.all(
      victims.map(async (victim) => {
        await pause(randomInt(LATEST_KILL_MS));
        await cluster.killNow(victim);
      }),
    );

  it('each snapshot has what was written before it, its copies too, and nothing is left', async () => {
    const id = await make({ maximumSizeBytes: 64 * MIB });
    const { path } = await client.waitUntilMounted(id, uuidOf(1), ignore, soon());
    let records = 0;
    for (let round = 1; round <= ROUNDS; round += 1) {
      records += 1;
      await appendRecord(path, records);
      const before = records;
      const snapshotId = parsed(parseSnapshotId(randomUUID()));
      const victims: readonly Daemon[] = round % 3 === 0 ? [1, 'control'] : [1];
      const ask = { datasetId: id, snapshotId, metadata: {} };
      const killing = killLater(...victims);
      await eventually(() => client.createSnapshot(ask, soon()), TIMEOUT_MS);
      await killing;
      await client.waitForSnapshot(snapshotId, soon());
      // Whoever writes to a volume that is still frozen hangs.
      records += 1;
      await appendRecord(path, records);
      const copy = await make({ sourceSnapshot: snapshotId, primary: uuidOf(2) });
      await killLater(2);
      const copied = await client.waitUntilMounted(copy, uuidOf(2), ignore, soon());
      expect(await expectRecords(copied.path, before)).toBe(before);
      const deleting = killLater(1);
      await eventually(() => client.deleteSnapshot(snapshotId, soon()), TIMEOUT_MS);
      await deleting;
      await client.waitUntilSnapshotGone(snapshotId, soon());
      await remove(copy);
    }
    expect(await readdir(join(cluster.directory, 'volumes', 'snapshots'))).toEqual([]);
    await remove(id);
  });

  it('a volume has what it was to have in the end, and its data', async () => {
    const id = await make({ maximumSizeBytes: 64 * MIB });
    const { path } = await client.waitUntilMounted(id, uuidOf(1), ignore, soon());
    await appendRecord(path, 1);
    for (let round = 1; round <= ROUNDS; round += 1) {
      const sizeBytes = (64 + 16 * round) * MIB;
      const killing = killLater(1, ...(round % 3 === 0 ? (['control'] as const) : []));
      await eventually(() => client.resizeDataset(id, sizeBytes, soon()), TIMEOUT_MS);
      await killing;
      expect(await client.waitUntilGrown(id, sizeBytes, soon())).toBe(sizeBytes);
    }
    const mounted = await client.waitUntilMounted(id, uuidOf(1), ignore, soon());
    expect(mounted).toEqual({ path, sizeBytes: (64 + 16 * ROUNDS) * MIB });
    expect(await expectRecords(path, 1)).toBe(1);
    await remove(id);
  });
});

function parsed<T>(value: T | undefined): T {
  if (value === undefined) throw new Error('this is no id');
  return value;
}

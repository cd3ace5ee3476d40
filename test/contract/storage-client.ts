import { randomUUID } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import type { FlockerClient } from '../../src/client/flocker-client.ts';
import type { StorageClient } from '../../src/client/storage-client.ts';
import {
  type DatasetId,
  type NodeId,
  parseDatasetId,
  parseNodeId,
  parseSnapshotId,
  type SnapshotId,
} from '../../src/kit/ids.ts';

/** The part of {@link StorageClient} that this suite is about. */
export type VolumeStorage = Omit<StorageClient, 'storageState'>;

export interface StorageWorld {
  readonly client: FlockerClient & VolumeStorage;
  /** Two nodes of one pool. */
  readonly here: NodeId;
  readonly there: NodeId;
}

const MIB = 2 ** 20;
const SIZE_BYTES = 64 * MIB;
const soon = (timeoutMs = 20_000): AbortSignal => AbortSignal.timeout(timeoutMs);
const ignore = (): void => undefined;

/** Growth, snapshots and datasets made from them, for a server that has our additions. */
export function growthAndSnapshotsContract(world: () => StorageWorld): void {
  const make = async (more: { primary?: NodeId; sourceSnapshot?: SnapshotId; maximumSizeBytes?: number } = {}) => {
    const { client, here } = world();
    const size = more.sourceSnapshot === undefined ? { maximumSizeBytes: SIZE_BYTES } : {};
    const asked = { primary: here, metadata: { name: `volume-${randomUUID()}` }, ...size, ...more };
    return must(parseDatasetId((await client.createDataset(asked, { kind: 'none' }, soon())).dataset_id));
  };
  const mounted = async (more: Parameters<typeof make>[0] = {}): Promise<DatasetId> => {
    const id = await make(more);
    await world().client.waitUntilMounted(id, more.primary ?? world().here, ignore, soon());
    return id;
  };
  const snapshotOf = async (datasetId: DatasetId): Promise<SnapshotId> => {
    const { client } = world();
    const { snapshot_id } = await client.createSnapshot({ datasetId, metadata: {} }, soon());
    const id = must(parseSnapshotId(snapshot_id));
    await client.waitForSnapshot(id, soon());
    return id;
  };
  const someSnapshot = (): SnapshotId => must(parseSnapshotId(randomUUID()));
  const someDataset = (): DatasetId => must(parseDatasetId(randomUUID()));

  describe('growth', () => {
    it('makes a mounted dataset larger and says how large it is', async () => {
      const { client, here } = world();
      const id = await mounted();
      const answer = await client.resizeDataset(id, 96 * MIB, soon());
      expect(answer).toMatchObject({ dataset_id: id, maximum_size: 96 * MIB, deleted: false });
      expect(await client.waitUntilGrown(id, 96 * MIB, soon())).toBeGreaterThanOrEqual(96 * MIB);
      const state = (await client.listDatasetStates(soon())).find(({ dataset_id }) => dataset_id === id);
      expect(state).toMatchObject({ primary: here, maximum_size: 96 * MIB });
      expect(await client.resizeDataset(id, 96 * MIB, soon())).toEqual(answer);
      expect(await client.waitUntilGrown(id, 96 * MIB, soon())).toBe(96 * MIB);
    });

    it('never makes one smaller', async () => {
      const { client } = world();
      const id = await mounted({ maximumSizeBytes: 96 * MIB });
      await expect(client.resizeDataset(id, SIZE_BYTES, soon())).rejects.toMatchObject({ code: 'bad_request' });
      await expect(client.resizeDataset(id, 1000, soon())).rejects.toMatchObject({ code: 'bad_request' });
      const { datasets } = await client.listDatasets(soon());
      expect(datasets.find(({ dataset_id }) => dataset_id === id)).toMatchObject({ maximum_size: 96 * MIB });
    });

    it('fails for an unknown and for a deleted dataset', async () => {
      const { client } = world();
      const unknown = client.resizeDataset(someDataset(), SIZE_BYTES, soon());
      await expect(unknown).rejects.toMatchObject({ code: 'not_found' });
      const id = await make();
      await client.deleteDataset(id, { kind: 'none' }, soon());
      await expect(client.resizeDataset(id, 96 * MIB, soon())).rejects.toMatchObject({ code: 'deleted' });
      await expect(client.waitUntilGrown(id, 96 * MIB, soon())).rejects.toMatchObject({ code: 'deleted' });
    });
  });

  it('has nothing in doubt that was not restored', async () => {
    const { client } = world();
    expect(await client.restoredState(soon())).toEqual({ restored: null, unconfirmed: [], unknown: [] });
    expect(await client.confirmRestored(soon())).toEqual({ confirmed: [], waiting: [] });
  });

  describe('dead nodes', () => {
    it('are not those that are connected, nor those that nothing is known of', async () => {
      const { client, here } = world();
      await expect(client.declareNodeDead(here, soon())).rejects.toMatchObject({ code: 'in_use' });
      const unknown = must(parseNodeId(randomUUID()));
      await expect(client.declareNodeDead(unknown, soon())).rejects.toMatchObject({ code: 'not_found' });
    });

    it('lose their leases, once', async () => {
      const { client, here } = world();
      const gone = must(parseNodeId(randomUUID()));
      const id = await make({ primary: gone });
      await client.acquireLease({ datasetId: id, nodeId: gone, expiresSeconds: null }, soon());
      const death = await client.declareNodeDead(gone, soon());
      expect(death).toMatchObject({ uuid: gone, datasets: [], leases: [id] });
      expect(Date.parse(death.declared_dead)).not.toBeNaN();
      expect(await client.declareNodeDead(gone, soon())).toEqual({ ...death, leases: [] });
      await client.acquireLease({ datasetId: id, nodeId: here, expiresSeconds: null }, soon());
      await client.releaseLease(id, soon());
    });
  });

  describe('snapshots', () => {
    it('are taken of a mounted dataset, listed, and outlive it', async () => {
      const { client } = world();
      const datasetId = await mounted();
      const metadata = { name: `snapshot-${randomUUID()}` };
      const asked = await client.createSnapshot({ datasetId, metadata }, soon());
      expect(asked).toMatchObject({ dataset_id: datasetId, metadata });
      const id = must(parseSnapshotId(asked.snapshot_id));
      const ready = await client.waitForSnapshot(id, soon());
      expect(ready).toMatchObject({ snapshot_id: id, dataset_id: datasetId, status: 'ready', problem: null, metadata });
      expect(ready.size).toBeGreaterThanOrEqual(SIZE_BYTES);
      expect(ready.pool).toEqual(expect.any(String));
      expect(Date.parse(ready.taken ?? '')).not.toBeNaN();
      expect(await client.listSnapshots({ datasetId }, soon())).toEqual([ready]);
      expect(await client.listSnapshots({ snapshotId: id }, soon())).toEqual([ready]);
      expect(await client.listSnapshots({ name: metadata.name }, soon())).toEqual([ready]);
      expect(await client.listSnapshots({ name: metadata.name, datasetId: someDataset() }, soon())).toEqual([]);
      await client.deleteDataset(datasetId, { kind: 'none' }, soon());
      await client.waitUntilGone(datasetId, soon());
      expect(await client.listSnapshots({}, soon())).toContainEqual(ready);
    });

    it('are the same when asked for again with their id', async () => {
      const { client } = world();
      const [datasetId, snapshotId] = [await mounted(), someSnapshot()];
      await client.createSnapshot({ datasetId, snapshotId, metadata: {} }, soon());
      const ready = await client.waitForSnapshot(snapshotId, soon());
      expect(await client.createSnapshot({ datasetId, snapshotId, metadata: {} }, soon())).toEqual(ready);
      const other = client.createSnapshot({ datasetId: await make(), snapshotId, metadata: {} }, soon());
      await expect(other).rejects.toMatchObject({ code: 'id_in_use' });
    });

    it('need a dataset that is not deleted', async () => {
      const { client } = world();
      const unknown = client.createSnapshot({ datasetId: someDataset(), metadata: {} }, soon());
      await expect(unknown).rejects.toMatchObject({ code: 'not_found' });
      const datasetId = await make();
      await client.deleteDataset(datasetId, { kind: 'none' }, soon());
      const deleted = client.createSnapshot({ datasetId, metadata: {} }, soon());
      await expect(deleted).rejects.toMatchObject({ code: 'deleted' });
    });

    it('are destroyed when they are deleted, which may be repeated', async () => {
      const { client } = world();
      const datasetId = await mounted();
      const id = await snapshotOf(datasetId);
      expect(await client.deleteSnapshot(id, soon())).toMatchObject({ snapshot_id: id });
      await client.waitUntilSnapshotGone(id, soon());
      expect(await client.deleteSnapshot(id, soon())).toMatchObject({ status: 'deleted', problem: null });
      expect(await client.listSnapshots({ datasetId }, soon())).toEqual([]);
      expect(await client.listSnapshots({ snapshotId: id }, soon())).toMatchObject([{ status: 'deleted' }]);
      await expect(client.waitForSnapshot(id, soon())).rejects.toMatchObject({ code: 'deleted' });
      const again = client.createSnapshot({ datasetId, snapshotId: id, metadata: {} }, soon());
      await expect(again).rejects.toMatchObject({ code: 'id_in_use' });
    });

    it('fail where they are unknown', async () => {
      const { client } = world();
      await expect(client.deleteSnapshot(someSnapshot(), soon())).rejects.toMatchObject({ code: 'not_found' });
      await expect(client.waitForSnapshot(someSnapshot(), soon())).rejects.toMatchObject({ code: 'not_found' });
      await client.waitUntilSnapshotGone(someSnapshot(), soon());
      expect(await client.listSnapshots({ snapshotId: someSnapshot() }, soon())).toEqual([]);
    });

    it('wait for their dataset, with a reason', async () => {
      const { client } = world();
      const unknown = must(parseNodeId(randomUUID()));
      const datasetId = await make({ primary: unknown });
      const { snapshot_id } = await client.createSnapshot({ datasetId, metadata: {} }, soon());
      const id = must(parseSnapshotId(snapshot_id));
      expect(await client.listSnapshots({ snapshotId: id }, soon())).toMatchObject([
        { status: 'pending', size: null, taken: null, pool: null, problem: { needs_action: false } },
      ]);
      await client.moveDataset(datasetId, world().here, { kind: 'none' }, soon());
      expect((await client.waitForSnapshot(id, soon())).status).toBe('ready');
    });

    it('fail when their dataset is gone before they are taken', async () => {
      const { client } = world();
      const unknown = must(parseNodeId(randomUUID()));
      const datasetId = await make({ primary: unknown });
      const { snapshot_id } = await client.createSnapshot({ datasetId, metadata: {} }, soon());
      const id = must(parseSnapshotId(snapshot_id));
      const failed = expect(client.waitForSnapshot(id, soon())).rejects.toMatchObject({
        ...{ code: 'needs_action', cause: { code: 'volume_lost' } },
      });
      await client.deleteDataset(datasetId, { kind: 'none' }, soon());
      await failed;
      expect(await client.listSnapshots({ snapshotId: id }, soon())).toMatchObject([{ status: 'failed' }]);
      await client.deleteSnapshot(id, soon());
      await client.waitUntilSnapshotGone(id, soon());
    });
  });

  describe('datasets from snapshots', () => {
    it('are made on any node of the pool, as large as the snapshot or larger', async () => {
      const { client, there } = world();
      const id = await snapshotOf(await mounted());
      const same = await mounted({ sourceSnapshot: id });
      const larger = await mounted({ sourceSnapshot: id, primary: there, maximumSizeBytes: 96 * MIB });
      const states = await client.listDatasetStates(soon());
      const sizeOf = (dataset: DatasetId): number | undefined =>
        states.find(({ dataset_id }) => dataset_id === dataset)?.maximum_size;
      expect([sizeOf(same), sizeOf(larger)]).toEqual([SIZE_BYTES, 96 * MIB]);
      const inspections = (await client.inspectDatasets(soon())) ?? [];
      const found = inspections.find(({ configuration }) => configuration.dataset_id === same);
      expect(found).toMatchObject({ source_snapshot: id, configuration: { maximum_size: SIZE_BYTES } });
    });

    it('are refused when the snapshot is unknown, not ready, or larger', async () => {
      const { client } = world();
      const refused = (sourceSnapshot: SnapshotId, maximumSizeBytes?: number): Promise<unknown> =>
        make({ sourceSnapshot, ...(maximumSizeBytes === undefined ? {} : { maximumSizeBytes }) });
      await expect(refused(someSnapshot())).rejects.toMatchObject({ code: 'not_found' });
      const unknown = must(parseNodeId(randomUUID()));
      const waiting = await client.createSnapshot(
        { datasetId: await make({ primary: unknown }), metadata: {} },
        soon(),
      );
      const pending = must(parseSnapshotId(waiting.snapshot_id));
      await expect(refused(pending)).rejects.toMatchObject({ code: 'condition_failed' });
      const id = await snapshotOf(await mounted({ maximumSizeBytes: 96 * MIB }));
      await expect(refused(id, SIZE_BYTES)).rejects.toMatchObject({ code: 'bad_request' });
      await client.deleteSnapshot(id, soon());
      await expect(refused(id)).rejects.toMatchObject({ code: 'condition_failed' });
    });

    it('keep their snapshot from being deleted until they are made', async () => {
      const { client, here } = world();
      const id = await snapshotOf(await mounted());
      const unknown = must(parseNodeId(randomUUID()));
      const waiting = await make({ sourceSnapshot: id, primary: unknown });
      await expect(client.deleteSnapshot(id, soon())).rejects.toMatchObject({ code: 'in_use' });
      await client.moveDataset(waiting, here, { kind: 'none' }, soon());
      await client.waitUntilMounted(waiting, here, ignore, soon());
      await client.deleteSnapshot(id, soon());
      await client.waitUntilSnapshotGone(id, soon());
      await client.waitUntilMounted(waiting, here, ignore, soon());
    });
  });
}

/** The same calls on a server without our additions. */
export function noGrowthNorSnapshotsContract(world: () => StorageWorld): void {
  it('has neither growth nor snapshots, and says so', async () => {
    const { client, here } = world();
    const datasetId = must(parseDatasetId(randomUUID()));
    const id = must(parseSnapshotId(randomUUID()));
    const failure = { code: 'not_supported' };
    await expect(client.resizeDataset(datasetId, SIZE_BYTES, soon())).rejects.toMatchObject(failure);
    await expect(client.waitUntilGrown(datasetId, SIZE_BYTES, soon())).rejects.toMatchObject(failure);
    await expect(client.createSnapshot({ datasetId, metadata: {} }, soon())).rejects.toMatchObject(failure);
    await expect(client.listSnapshots({}, soon())).rejects.toMatchObject(failure);
    await expect(client.deleteSnapshot(id, soon())).rejects.toMatchObject(failure);
    await expect(client.waitForSnapshot(id, soon())).rejects.toMatchObject(failure);
    await expect(client.waitUntilSnapshotGone(id, soon())).rejects.toMatchObject(failure);
    const from = { primary: here, metadata: {}, sourceSnapshot: id };
    await expect(client.createDataset(from, { kind: 'none' }, soon())).rejects.toMatchObject(failure);
  });
}

function must<T>(value: T | undefined): T {
  if (value === undefined) throw new Error('a value is missing');
  return value;
}

import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Condition, FlockerClient, NewDataset } from '../../src/client/flocker-client.ts';
import type { ClusterChange, StorageClient } from '../../src/client/storage-client.ts';
import { type DatasetId, type NodeId, parseDatasetId, parseNodeId } from '../../src/kit/ids.ts';
import { PROFILE_KEY } from '../../src/model/dataset.ts';
import { growthAndSnapshotsContract, noGrowthNorSnapshotsContract, type StorageWorld } from './storage-client.ts';

/** A cluster to run the suite against. */
export interface FlockerWorld {
  readonly client: FlockerClient & StorageClient;
  /** A new node that reports and mounts what is configured onto it. */
  addNode(): Promise<NodeId>;
  /** The era that the node reported. */
  eraOf(node: NodeId): string;
  close(): Promise<void>;
}

const SIZE_BYTES = 64 * 2 ** 20;
const ALWAYS: Condition = { kind: 'none' };
const ignore = (): void => undefined;
const soon = (timeoutMs = 20_000): AbortSignal => AbortSignal.timeout(timeoutMs);
const someNode = (): NodeId => must(parseNodeId(randomUUID()));
const someDataset = (): DatasetId => must(parseDatasetId(randomUUID()));

/** What the servers of a world can do. */
export interface WorldTraits {
  /** The server has our additions, and so it reports problems. */
  readonly additions: boolean;
}

/** What every {@link FlockerClient} does. One world serves the whole suite; each test makes its own datasets. */
export function flockerClientContract(
  name: string,
  { additions }: WorldTraits,
  makeWorld: () => Promise<FlockerWorld>,
): void {
  describe(`FlockerClient: ${name}`, { timeout: 60_000 }, () => {
    let world: FlockerWorld;
    let client: FlockerWorld['client'];
    let here: NodeId;
    let there: NodeId;

    beforeAll(async () => {
      world = await makeWorld();
      client = world.client;
      here = await world.addNode();
      there = await world.addNode();
    }, 60_000);
    afterAll(() => world.close());

    const make = async (more: Partial<NewDataset> = {}, condition = ALWAYS): Promise<DatasetId> => {
      const metadata = { name: `volume-${randomUUID()}` };
      const dataset = { primary: here, maximumSizeBytes: SIZE_BYTES, metadata, ...more };
      const made = await client.createDataset(dataset, condition, soon());
      return must(parseDatasetId(made.dataset_id));
    };
    const mounted = async (): Promise<DatasetId> => {
      const id = await make();
      await client.waitUntilMounted(id, here, ignore, soon());
      return id;
    };
    const primaryOf = async (id: DatasetId): Promise<string | undefined> =>
      (await client.listDatasetStates(soon())).find((state) => state.dataset_id === id)?.primary;

    describe('the cluster', () => {
      it('says its version', async () => {
        expect(await client.version(soon())).not.toBe('');
      });

      it('lists its nodes', async () => {
        const uuids = (await client.listNodes(soon())).map(({ uuid }) => uuid);
        expect(uuids).toEqual(expect.arrayContaining([here, there]));
      });

      it('looks into nodes and datasets where the server has the additions', async () => {
        const id = await mounted();
        const [nodes, datasets] = [await client.inspectNodes(soon()), await client.inspectDatasets(soon())];
        if (!(await client.hasAdditions(soon()))) {
          expect([nodes, datasets]).toEqual([undefined, undefined]);
          return;
        }
        expect(nodes?.filter(({ connected }) => connected).map(({ uuid }) => uuid)).toContain(here);
        const inspection = datasets?.find(({ configuration }) => configuration.dataset_id === id);
        expect(inspection).toMatchObject({ status: 'mounted', state: { primary: here }, problem: null });
        expect(datasets?.length).toBe((await client.listDatasets(soon())).datasets.length);
      });

      it('tells the state of its storage where the server has the addition', async () => {
        if (!(await client.hasAdditions(soon()))) {
          await expect(client.storageState(soon())).rejects.toMatchObject({ code: 'not_supported' });
          return;
        }
        const id = await make({ metadata: { [PROFILE_KEY]: 'gold' } });
        await client.waitUntilMounted(id, here, ignore, soon());
        const measured = async (): Promise<(string | null)[]> =>
          (await client.storageState(soon())).pools.map((pool) => pool.measured);
        await expect.poll(measured, { timeout: 20_000 }).not.toContain(null);
        const { pools, nodes, total } = await client.storageState(soon());
        const node = nodes.find(({ uuid }) => uuid === here);
        const pool = must(pools.find((candidate) => candidate.pool === node?.pool));
        expect(pool.nodes).toEqual(expect.arrayContaining([here, there]));
        const gold = must(pool.profiles.find(({ name }) => name === 'gold'));
        expect(gold.datasets).toBe(1);
        expect(gold.provisioned).toBe(SIZE_BYTES);
        expect(pool.figures.provisioned).toBeGreaterThanOrEqual(SIZE_BYTES);
        expect(total.provisioned).toBeGreaterThanOrEqual(pool.figures.provisioned);
      });

      it('tells of changes as they come where the server has the addition', async () => {
        const gone = new AbortController();
        const changes: ClusterChange[] = [];
        const following = client.followChanges((change) => changes.push(change), ignore, gone.signal);
        if (!(await client.hasAdditions(soon()))) {
          await expect(following).rejects.toMatchObject({ code: 'not_supported' });
          return;
        }
        following.catch(ignore);
        const anything = async (): Promise<number> => mounted().then(() => changes.length);
        await expect.poll(anything, { timeout: 20_000 }).toBeGreaterThan(0);
        const id = await mounted();
        const seen = (): string[] =>
          changes.flatMap((change) =>
            change.kind === 'dataset' && change.value.configuration.dataset_id === id ? change.value.status : [],
          );
        await expect.poll(seen, { timeout: 20_000 }).toContain('mounted');
        await client.deleteDataset(id, ALWAYS, soon());
        await expect.poll(seen, { timeout: 20_000 }).toContain('deleted');
        gone.abort(new Error('enough'));
        await expect(following).rejects.toThrow('enough');
      });

      it('knows a node by its era, and no other', async () => {
        await expect(client.nodeByEra(randomUUID(), soon())).rejects.toMatchObject({ code: 'not_found' });
        expect(await client.nodeByEra(world.eraOf(there), soon())).toBe(there);
      });

      it('fails with the reason of the signal', async () => {
        const reason = new Error('the caller gave up');
        await expect(client.version(AbortSignal.abort(reason))).rejects.toBe(reason);
      });
    });

    describe('creating', () => {
      it('configures a dataset and mounts it', async () => {
        const metadata = { name: 'with "quotes", blanks & ünïcode 🐳', owner: '' };
        const asked = { primary: here, maximumSizeBytes: SIZE_BYTES, metadata };
        const made = await client.createDataset(asked, ALWAYS, soon());
        expect(made).toMatchObject({ primary: here, maximum_size: SIZE_BYTES, metadata, deleted: false });
        const id = must(parseDatasetId(made.dataset_id));
        const { path, sizeBytes } = await client.waitUntilMounted(id, here, ignore, soon());
        expect(path).toContain(id);
        expect(sizeBytes ?? SIZE_BYTES).toBeGreaterThanOrEqual(SIZE_BYTES);
        expect((await client.listDatasets(soon())).datasets).toContainEqual(made);
        const state = (await client.listDatasetStates(soon())).find((candidate) => candidate.dataset_id === id);
        expect(state).toMatchObject({ primary: here, path });
        await client.deleteDataset(id, ALWAYS, soon());
      });

      it('takes an id, once for ever', async () => {
        const datasetId = someDataset();
        expect(await make({ datasetId })).toBe(datasetId);
        await expect(make({ datasetId })).rejects.toMatchObject({ code: 'id_in_use' });
        await client.deleteDataset(datasetId, ALWAYS, soon());
        await expect(make({ datasetId })).rejects.toMatchObject({ code: 'id_in_use' });
      });

      it('refuses a size that the API does not have', async () => {
        await expect(make({ maximumSizeBytes: 1000 })).rejects.toMatchObject({ code: 'bad_request' });
      });

      it('mounts many at the same time', async () => {
        const ids = await Promise.all(Array.from({ length: 12 }, () => make()));
        const all = await Promise.all(ids.map((id) => client.waitUntilMounted(id, here, ignore, soon())));
        expect(new Set(all.map(({ path }) => path)).size).toBe(ids.length);
      });
    });

    describe('conditions', () => {
      it('refuses every write under a tag that is no more, and changes nothing', async () => {
        const tag = must((await client.listDatasets(soon())).tag);
        const condition: Condition = { kind: 'tag', tag };
        const id = await make({}, condition);
        const datasetId = someDataset();
        const failure = { code: 'condition_failed' };
        await expect(make({ datasetId }, condition)).rejects.toMatchObject(failure);
        await expect(client.moveDataset(id, there, condition, soon())).rejects.toMatchObject(failure);
        await expect(client.deleteDataset(id, condition, soon())).rejects.toMatchObject(failure);
        const { datasets } = await client.listDatasets(soon());
        expect(datasets.find((dataset) => dataset.dataset_id === id)).toMatchObject({ primary: here, deleted: false });
        expect(datasets.some((dataset) => dataset.dataset_id === datasetId)).toBe(false);
      });

      it('deletes only what has no lease, where the server can tell', async () => {
        const id = await make();
        const other = someDataset();
        const unleased: Condition = { kind: 'unleased', ids: [id, other] };
        await client.acquireLease({ datasetId: other, nodeId: there, expiresSeconds: null }, soon());
        const refused = { code: additions ? 'condition_failed' : 'bad_request' };
        await expect(client.deleteDataset(id, unleased, soon())).rejects.toMatchObject(refused);
        await client.releaseLease(other, soon());
        await expect(client.moveDataset(id, there, unleased, soon())).rejects.toMatchObject({ code: 'bad_request' });
        await expect(make({}, unleased)).rejects.toMatchObject({ code: 'bad_request' });
        const condition: Condition = additions ? unleased : ALWAYS;
        expect(await client.deleteDataset(id, condition, soon())).toMatchObject({ dataset_id: id, deleted: true });
      });

      it('shows one dataset by its id, where the server can', async () => {
        const id = await make();
        if (additions) {
          expect(await client.inspectDataset(id, soon())).toMatchObject({ configuration: { dataset_id: id } });
          expect(await client.inspectDataset(someDataset(), soon())).toBeUndefined();
        } else await expect(client.inspectDataset(id, soon())).rejects.toMatchObject({ code: 'not_supported' });
      });

      it('lets only one of two creators of a name win', async () => {
        const name = `50% of ${randomUUID()} & Ω`;
        const dataset = { metadata: { name } };
        const first = await client.findByName(name, soon());
        const second = await client.findByName(name, soon());
        expect(first.datasets).toEqual([]);
        const id = await make(dataset, first.ifUnchanged);
        await expect(make(dataset, second.ifUnchanged)).rejects.toMatchObject({ code: 'condition_failed' });
        await client.waitUntilMounted(id, here, ignore, soon());
        const { datasets, mounted } = await client.findByName(name, soon());
        expect(datasets).toMatchObject([{ dataset_id: id }]);
        if (additions)
          expect(mounted.get(id)).toMatchObject({ primary: here, path: expect.stringContaining(id) as string });
        else expect(mounted.size).toBe(0);
        await client.deleteDataset(id, ALWAYS, soon());
        const third = await client.findByName(name, soon());
        expect(third.datasets).toEqual([]);
        expect(await make(dataset, third.ifUnchanged)).not.toBe(id);
      });

      it('finds by `name` before `FLOCKER_ID`', async () => {
        const [name, old] = [randomUUID(), randomUUID()];
        const both = await make({ metadata: { name, FLOCKER_ID: old } });
        const onlyOld = await make({ metadata: { FLOCKER_ID: old } });
        expect((await client.findByName(name, soon())).datasets).toMatchObject([{ dataset_id: both }]);
        expect((await client.findByName(old, soon())).datasets).toMatchObject([{ dataset_id: onlyOld }]);
      });

      it('does not create under a condition that the server would ignore', async () => {
        const name = randomUUID();
        const creation = make({ metadata: { name } }, { kind: 'nameUnused', name });
        if (await client.hasAdditions(soon())) await creation;
        else await expect(creation).rejects.toMatchObject({ code: 'bad_request' });
        const found = await client.findByName(name, soon());
        expect(found.datasets.length).toBe((await client.hasAdditions(soon())) ? 1 : 0);
      });
    });

    describe('moving', () => {
      it('mounts the dataset on the other node', async () => {
        const id = await mounted();
        expect(await client.moveDataset(id, there, ALWAYS, soon())).toMatchObject({ dataset_id: id, primary: there });
        await client.waitUntilMounted(id, there, ignore, soon());
        expect(await primaryOf(id)).toBe(there);
      });

      it('fails for an unknown and for a deleted dataset', async () => {
        const unknown = client.moveDataset(someDataset(), there, ALWAYS, soon());
        await expect(unknown).rejects.toMatchObject({ code: 'not_found' });
        const id = await make();
        await client.deleteDataset(id, ALWAYS, soon());
        await expect(client.moveDataset(id, there, ALWAYS, soon())).rejects.toMatchObject({ code: 'deleted' });
      });
    });

    describe('deleting', () => {
      it('destroys the dataset and keeps it in the list', async () => {
        const id = await mounted();
        expect(await client.deleteDataset(id, ALWAYS, soon())).toMatchObject({ dataset_id: id, deleted: true });
        await client.waitUntilGone(id, soon());
        const states = await client.listDatasetStates(soon());
        expect(states.some((state) => state.dataset_id === id)).toBe(false);
        const { datasets } = await client.listDatasets(soon());
        expect(datasets.find((dataset) => dataset.dataset_id === id)).toMatchObject({ deleted: true });
      });

      it('may be repeated, and fails for an unknown dataset', async () => {
        const id = await make();
        await client.deleteDataset(id, ALWAYS, soon());
        expect(await client.deleteDataset(id, ALWAYS, soon())).toMatchObject({ deleted: true });
        const unknown = client.deleteDataset(someDataset(), ALWAYS, soon());
        await expect(unknown).rejects.toMatchObject({ code: 'not_found' });
      });
    });

    describe('leases', () => {
      it('go to one node, are renewed by it and given back', async () => {
        const datasetId = await make();
        await client.acquireLease({ datasetId, nodeId: here, expiresSeconds: 60 }, soon());
        const other = client.acquireLease({ datasetId, nodeId: there, expiresSeconds: 60 }, soon());
        await expect(other).rejects.toMatchObject({ code: 'lease_held' });
        await client.acquireLease({ datasetId, nodeId: here, expiresSeconds: null }, soon());
        const leases = (await client.listLeases(soon())).filter((lease) => lease.dataset_id === datasetId);
        expect(leases).toEqual([{ dataset_id: datasetId, node_uuid: here, expires: null }]);
        await client.releaseLease(datasetId, soon());
        await expect(client.releaseLease(datasetId, soon())).rejects.toMatchObject({ code: 'not_found' });
        await client.acquireLease({ datasetId, nodeId: there, expiresSeconds: 60 }, soon());
        await client.releaseLease(datasetId, soon());
      });

      it('are taken and a name looked up in one request where the server can', async () => {
        const name = `förståelse ${randomUUID()}`;
        const datasetId = await make({ metadata: { name } });
        const lease = { datasetId, nodeId: here, expiresSeconds: 60 };
        const found = await client.acquireLeaseAndFind(lease, name, soon());
        expect(found?.datasets.map((one) => one.dataset_id)).toEqual(
          (await client.hasAdditions(soon())) ? [datasetId] : undefined,
        );
        expect((await client.listLeases(soon())).map((one) => one.dataset_id)).toContain(datasetId);
        await expect(client.acquireLeaseAndFind({ ...lease, nodeId: there }, name, soon())).rejects.toMatchObject({
          code: 'lease_held',
        });
        await client.releaseLease(datasetId, soon());
      });

      it('hold a move and a deletion back while the dataset is mounted', async () => {
        const moved = await mounted();
        const deleted = await mounted();
        for (const datasetId of [moved, deleted]) {
          await client.acquireLease({ datasetId, nodeId: here, expiresSeconds: null }, soon());
        }
        await client.moveDataset(moved, there, ALWAYS, soon());
        await client.deleteDataset(deleted, ALWAYS, soon());
        const late = new Error('not moved');
        const given = client.waitUntilMounted(moved, there, ignore, abortAfter(500, late));
        await expect(given).rejects.toBe(late);
        expect([await primaryOf(moved), await primaryOf(deleted)]).toEqual([here, here]);
        for (const datasetId of [moved, deleted]) await client.releaseLease(datasetId, soon());
        await client.waitUntilMounted(moved, there, ignore, soon());
        await client.waitUntilGone(deleted, soon());
      });

      it('expire', async () => {
        const id = await mounted();
        await client.acquireLease({ datasetId: id, nodeId: here, expiresSeconds: 1 }, soon());
        await client.moveDataset(id, there, ALWAYS, soon());
        await client.waitUntilMounted(id, there, ignore, soon());
        const leases = await client.listLeases(soon());
        expect(leases.some((lease) => lease.dataset_id === id)).toBe(false);
      });
    });

    const storageWorld = (): StorageWorld => ({ client, here, there });
    if (additions) growthAndSnapshotsContract(storageWorld);
    else noGrowthNorSnapshotsContract(storageWorld);

    describe('waiting', () => {
      it('ends with the signal and says what it waited for', async () => {
        const unknown = someNode();
        const id = await make({ primary: unknown });
        const late = new Error('time is up');
        const problems: string[] = [];
        const wait = client.waitUntilMounted(id, unknown, (told) => problems.push(told), abortAfter(500, late));
        await expect(wait).rejects.toBe(late);
        if (await client.hasAdditions(soon())) expect(problems.at(-1)).toContain(unknown);
      });

      if (additions)
        it('ends at once with a problem that needs action', async () => {
          const id = await make({ metadata: { name: randomUUID(), [PROFILE_KEY]: 'no-such' } });
          const wait = client.waitUntilMounted(id, here, ignore, soon());
          await expect(wait).rejects.toMatchObject({ code: 'needs_action', cause: { code: 'no_such_profile' } });
          await expect(wait).rejects.toThrow('no-such');
        });

      it('sees what happens while it waits', async () => {
        const id = await make();
        const wait = client.waitUntilMounted(id, there, ignore, soon());
        await client.moveDataset(id, there, ALWAYS, soon());
        expect((await wait).path).toContain(id);
      });
    });
  });
}

function abortAfter(delayMs: number, reason: Error): AbortSignal {
  const controller = new AbortController();
  setTimeout(() => controller.abort(reason), delayMs);
  return controller.signal;
}

function must<T>(value: T | undefined): T {
  if (value === undefined) throw new Error('a value is missing');
  return value;
}

import { afterEach, beforeEach, expect, it } from 'vitest';
import { ClientError } from '../../client/flocker-client.ts';
import { type FakeFlocker, fakeFlocker } from '../../client/testing/fake-flocker.ts';
import { systemClock } from '../../kit/clock.ts';
import { derivedUuid, type NodeId } from '../../kit/ids.ts';
import { silentLogger } from '../../kit/logger.ts';
import { type NodeAgent, NodeAgentError } from './node-agent.ts';
import type { Work } from './provider-state.ts';
import type { ProviderClient } from './storage-look.ts';
import { StorageWork } from './storage-work.ts';

const GIB = 2 ** 30;
const signal = new AbortController().signal;
let flocker: FakeFlocker;
let node: NodeId;
let free: number;
let agent: NodeAgent;
beforeEach(() => {
  flocker = fakeFlocker();
  node = flocker.addNode();
  free = 10 * GIB;
  agent = {
    node: () => Promise.resolve({ id: node, mounts: true }),
    mount: () => Promise.resolve('/x'),
    wipe: () => Promise.resolve(),
    unmount: () => Promise.resolve(),
  };
});
afterEach(() => flocker.close());

/** The pool is 10 GiB, less what is not free. */
function work(faults: Partial<ProviderClient> = {}, timeoutMs = 20_000): StorageWork {
  const provisioned = (): number =>
    [...flocker.cluster.datasets.values()]
      .filter(({ configuration }) => !configuration.deleted)
      .reduce((sum, { configuration }) => sum + (configuration.maximum_size ?? 0), 10 * GIB - free);
  const client: ProviderClient = {
    ...flocker.client,
    storageState: async (soon) => {
      const view = await flocker.client.storageState(soon);
      const figures = { ...view.total, total: 10 * GIB, available: null, physical: null, provisioned: provisioned() };
      return {
        ...view,
        nodes: [{ uuid: node, host: '', connected: true, pool: 'pool' }],
        pools: [{ pool: 'pool', backend: '', nodes: [], measured: null, profiles: [], figures }],
      };
    },
    ...faults,
  };
  return new StorageWork({
    ...{ client, node: agent, nodeId: () => Promise.resolve(node), clock: systemClock, random: Math.random },
    ...{ logger: silentLogger, operationTimeoutMs: timeoutMs, publishTimeoutMs: timeoutMs },
  });
}
const make = (name: string, sizeBytes = GIB): Extract<Work, { kind: 'make' }> => ({
  ...{ kind: 'make', datasetId: derivedUuid(name), volume: name, profile: 'gold', sizeBytes },
});
const away = (): Promise<never> => Promise.reject(new ClientError('unreachable', 'nobody is there'));
const sizes = (): unknown[] =>
  [...flocker.cluster.datasets.values()].map(({ configuration }) => [
    configuration.maximum_size,
    configuration.deleted,
  ]);

it('makes a volume once, however often it is asked', async () => {
  const storage = work();
  for (let time = 0; time < 3; time += 1) expect(await storage.perform(make('a'), signal)).toEqual({ ok: true });
  expect(sizes()).toEqual([[GIB, false]]);
});

it('makes nothing when there is no room, and says so', async () => {
  free = GIB - 1;
  expect(await work().perform(make('a'), signal)).toMatchObject({
    ok: false,
    full: true,
    message: expect.stringMatching(/no room for a any more: 1 GiB/) as string,
  });
  expect(sizes()).toEqual([]);
});

it('refuses when another agent took the same room at the same time', async () => {
  free = 1.5 * GIB;
  let others = 0;
  const storage = work({
    createDataset: async (dataset, condition, soon) => {
      const made = await flocker.client.createDataset(dataset, condition, soon);
      others += 1;
      free -= GIB;
      return made;
    },
  });
  expect(await storage.perform(make('a'), signal)).toMatchObject({ ok: false, full: true, doubtful: true });
  expect(others).toBe(1);
  await storage.doom(derivedUuid('a'), signal);
  expect(sizes()).toEqual([[GIB, true]]);
});

it('waits for a control service that is away, and for an answer that got lost', async () => {
  let calls = 0;
  const storage = work({
    findByName: (name, soon) => ((calls += 1) < 3 ? away() : flocker.client.findByName(name, soon)),
    createDataset: async (dataset, condition, soon) => {
      const made = await flocker.client.createDataset(dataset, condition, soon);
      return calls < 4 ? away() : made;
    },
  });
  expect(await storage.perform(make('a'), signal)).toEqual({ ok: true });
  expect(sizes()).toHaveLength(1);
});

it('gives up when its time is over, and says what it waited for', async () => {
  expect(await work({ findByName: away }, 300).perform(make('a'), signal)).toMatchObject({
    ok: false,
    doubtful: true,
    message: expect.stringContaining('nobody is there') as string,
  });
});

it('answers a publish that cannot be in time, and one that waits for the node agent', async () => {
  const disks = [{ id: derivedUuid('a'), volume: 'a', root: '/r' }];
  agent = { ...agent, mount: () => Promise.reject(new NodeAgentError('away', 'restarting')) };
  expect(await work({}, 300).publish(disks, signal)).toBe(false);
  let calls = 0;
  const mount = (): Promise<string> =>
    (calls += 1) < 3 ? Promise.reject(new NodeAgentError('away', 'restarting')) : Promise.resolve('/x');
  agent = { ...agent, mount };
  expect(await work().publish(disks, signal)).toBe(true);
  agent = { ...agent, mount: () => Promise.reject(new NodeAgentError('refused', 'no')) };
  expect(await work().publish(disks, signal)).toBe(false);
});

it('destroys what is gone already', async () => {
  const disk = { id: derivedUuid('a'), volume: 'a', root: '/r' };
  expect(await work().perform({ kind: 'destroy', disk }, signal)).toEqual({ ok: true });
  await work().perform(make('a'), signal);
  expect(await work().perform({ kind: 'destroy', disk }, signal)).toEqual({ ok: true });
  expect(sizes()).toEqual([[GIB, true]]);
  expect(await work().perform({ kind: 'adopt', datasetId: disk.id, profile: 'gold' }, signal)).toMatchObject({
    ok: false,
  });
});

it('has destroyed what it deleted, also when the answer got lost and its time is over', async () => {
  const disk = { id: derivedUuid('a'), volume: 'a', root: '/r' };
  await work().perform(make('a'), signal);
  let looks = 0;
  const storage = work(
    {
      deleteDataset: async (id, condition, soon) => {
        await flocker.client.deleteDataset(id, condition, soon).catch(() => undefined);
        return await away();
      },
      inspectDatasets: (soon) => ((looks += 1) < 3 ? away() : flocker.client.inspectDatasets(soon)),
    },
    300,
  );
  expect(await storage.perform({ kind: 'destroy', disk }, signal)).toEqual({ ok: true });
  expect(looks).toBe(3);
});

it('has not destroyed what could not be deleted', async () => {
  const disk = { id: derivedUuid('a'), volume: 'a', root: '/r' };
  await work().perform(make('a'), signal);
  const storage = work({ deleteDataset: away }, 300);
  expect(await storage.perform({ kind: 'destroy', disk }, signal)).toMatchObject({ ok: false });
  expect(sizes()).toEqual([[GIB, false]]);
});

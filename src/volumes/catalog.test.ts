import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { ClientError } from '../client/flocker-client.ts';
import { NO_SUCH_PROFILE } from '../client/testing/fake-cluster.ts';
import type { DatasetId, NodeId } from '../kit/ids.ts';
import { holder, spec, VolumesBench } from './testing/volumes-bench.ts';

const soon = (): AbortSignal => AbortSignal.timeout(5_000);
const GIB = 2 ** 30;

describe.each([true, false])('catalog, server with additions: %s', (additions) => {
  let bench: VolumesBench;
  let a: NodeId;
  let b: NodeId;
  beforeEach(async () => {
    bench = await VolumesBench.create({ additions });
    a = bench.flocker.addNode();
    b = bench.flocker.addNode();
  });
  afterEach(() => bench.close());

  const datasets = (): unknown[] =>
    [...bench.flocker.cluster.datasets.values()].map(({ configuration }) => configuration);

  it('makes a volume once, with what was asked, and says where one that exists differs', async () => {
    const { catalog } = await bench.volumes(a);
    expect(await catalog.create(spec('db', { sizeBytes: GIB, profile: 'gold' }), soon())).toEqual([]);
    expect(await catalog.create(spec('db', { sizeBytes: 2 * GIB }), soon())).toEqual([
      '2 GiB was asked for, but the volume exists with 1 GiB',
    ]);
    expect(datasets()).toMatchObject([
      { primary: a, maximum_size: GIB, metadata: { name: 'db', 'clusterhq:flocker:profile': 'gold' } },
    ]);
    await vi.waitFor(async () =>
      expect(await catalog.get('db', soon())).toMatchObject({
        name: 'db',
        path: expect.stringMatching(/^\/flocker\//) as string,
        sizeBytes: GIB,
      }),
    );
    const elsewhere = await bench.volumes(b);
    expect(await elsewhere.catalog.get('db', soon())).toMatchObject({ name: 'db', path: null });
  });

  it('makes one volume when several ask at the same time', async () => {
    const [one, two] = [await bench.volumes(a), await bench.volumes(b)];
    await Promise.all([1, 2, 3].flatMap(() => [one, two].map(({ catalog }) => catalog.create(spec('db'), soon()))));
    expect(datasets()).toHaveLength(1);
  });

  it('makes one volume when an answer gets lost', async () => {
    let lost = 2;
    const { catalog } = await bench.volumes(a, {
      createDataset: async (...args) => {
        const made = await bench.flocker.client.createDataset(...args);
        if (lost-- > 0) throw new ClientError('unreachable', 'the connection broke');
        return made;
      },
    });
    expect(await catalog.create(spec('db', { sizeBytes: GIB }), soon())).toEqual([]);
    expect(datasets()).toHaveLength(1);
  });

  it('refuses what cannot be made', async () => {
    const { catalog } = await bench.volumes(a);
    for (const [wish, code] of [
      [spec('db', { sizeBytes: 1024 }), 'bad_size'],
      [spec('a/b'), 'bad_name'],
      [spec('db', { profile: 'tin', knownProfiles: ['gold'] }), 'no_such_profile'],
    ] as const) {
      await expect(catalog.create(wish, soon())).rejects.toMatchObject({ code });
    }
    expect(datasets()).toEqual([]);
  });

  it('lists volumes by name, deleted and nameless ones left out', async () => {
    const { catalog } = await bench.volumes(a);
    for (const name of ['b', 'a', 'gone']) await catalog.create(spec(name), soon());
    await catalog.remove('gone', soon());
    await bench.flocker.client.createDataset({ primary: a, metadata: {} }, { kind: 'none' }, soon());
    await vi.waitFor(async () => {
      const list = await catalog.list(soon());
      expect(list.map(({ name, path }) => [name, path !== null])).toEqual([
        ['a', true],
        ['b', true],
      ]);
    });
  });

  it('does not choose among several volumes of a name', async () => {
    const { catalog } = await bench.volumes(a);
    for (let count = 0; count < 2; count += 1) {
      await bench.flocker.client.createDataset({ primary: a, metadata: { name: 'db' } }, { kind: 'none' }, soon());
    }
    for (const work of [
      () => catalog.get('db', soon()),
      () => catalog.remove('db', soon()),
      () => catalog.create(spec('db'), soon()),
    ])
      await expect(work()).rejects.toMatchObject({ code: 'ambiguous_name' });
    expect(datasets()).not.toContainEqual(expect.objectContaining({ deleted: true }));
  });

  it('says so when the control service is away', async () => {
    const away = (): Promise<never> => Promise.reject(new ClientError('unreachable', 'no route'));
    const { catalog } = await bench.volumes(a, { findByName: away }, { patienceMs: 100 });
    for (const work of [
      () => catalog.get('db', soon()),
      () => catalog.create(spec('db'), soon()),
      () => catalog.remove('db', soon()),
    ])
      await expect(work()).rejects.toMatchObject({
        code: 'unreachable',
        message: expect.stringMatching(/no route/) as string,
      });
  });
});

describe('remove', () => {
  let bench: VolumesBench;
  let a: NodeId;
  beforeEach(async () => {
    bench = await VolumesBench.create();
    a = bench.flocker.addNode();
  });
  afterEach(() => bench.close());

  const deleted = (id: DatasetId): boolean | undefined => bench.flocker.cluster.datasets.get(id)?.configuration.deleted;

  it('is refused while somebody here holds the volume, also while it is acquired', async () => {
    const volumes = await bench.volumes(a);
    const { datasetId } = await volumes.acquire(holder('run/1'), spec('db'), soon());
    await expect(volumes.catalog.remove('db', soon())).rejects.toMatchObject({
      code: 'in_use',
      message: expect.stringMatching(/in use on this node by run\/1/) as string,
    });
    bench.flocker.removeNode(a);
    const waiting = volumes.acquire(holder('run/2'), spec('slow', { profile: NO_SUCH_PROFILE }), soon());
    waiting.catch(() => undefined);
    await vi.waitFor(() => expect(volumes.holdings('run/2')).toHaveLength(1));
    await vi.waitFor(() => expect(volumes.catalog.remove('slow', soon())).rejects.toMatchObject({ code: 'in_use' }));
    await volumes.release('run/2');
    expect(deleted(datasetId)).toBe(false);
  });

  it('is refused while anybody has the lease, this node included', async () => {
    const b = bench.flocker.addNode();
    const { catalog } = await bench.volumes(a);
    await catalog.create(spec('db'), soon());
    const { datasetId } = await catalog.get('db', soon());
    for (const node of [a, b]) {
      bench.flocker.cluster.putLease(datasetId, node, null);
      await expect(catalog.remove('db', soon())).rejects.toMatchObject({
        code: 'leased_elsewhere',
        message: expect.stringMatching(`node ${node}`) as string,
      });
      expect(bench.flocker.cluster.leaseOf(datasetId)).toMatchObject({ nodeId: node, expiresAtMs: null });
    }
    expect(deleted(datasetId)).toBe(false);
  });

  it('waits until the volume is gone, and leaves no lease', async () => {
    const volumes = await bench.volumes(a);
    const { datasetId } = await volumes.acquire(holder('run/1'), spec('db'), soon());
    await volumes.release('run/1');
    expect(await volumes.catalog.remove('db', soon())).toBeUndefined();
    expect(bench.flocker.cluster.datasets.get(datasetId)?.storage).toEqual({ kind: 'gone' });
    expect(bench.flocker.cluster.leases()).toEqual([]);
    await expect(volumes.catalog.remove('db', soon())).rejects.toMatchObject({ code: 'volume_not_found' });
  });

  it('is durable also when the storage cannot be reached, and says what is left', async () => {
    const b = bench.flocker.addNode();
    const elsewhere = await bench.volumes(b);
    const { datasetId } = await elsewhere.acquire(holder('run/1'), spec('db'), soon());
    await elsewhere.release('run/1');
    bench.flocker.removeNode(b);
    const { catalog } = await bench.volumes(a);
    expect(await catalog.remove('db', AbortSignal.timeout(300))).toMatch(/is deleted, but its storage is not gone yet/);
    expect(deleted(datasetId)).toBe(true);
  });
});

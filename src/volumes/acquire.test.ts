import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { ClientError, type FlockerClient } from '../client/flocker-client.ts';
import type { NodeId } from '../kit/ids.ts';
import { PROFILE_KEY } from '../model/dataset.ts';
import { holder, spec, VolumesBench } from './testing/volumes-bench.ts';

const GIB = 2 ** 30;
let bench: VolumesBench;
let a: NodeId;
let b: NodeId;

beforeEach(async () => {
  bench = await VolumesBench.create();
  a = bench.flocker.addNode();
  b = bench.flocker.addNode();
});
afterEach(() => bench.close());

const containing = (text: string): unknown => expect.stringContaining(text);
const matching = (pattern: RegExp): unknown => expect.stringMatching(pattern);
const soon = (): AbortSignal => AbortSignal.timeout(5_000);

function idOf(name: string): string {
  const found = [...bench.flocker.cluster.datasets.values()].find(
    ({ configuration }) => configuration.metadata['name'] === name,
  );
  return found?.id ?? 'none';
}

describe('acquire', () => {
  it('makes, leases and mounts a volume', async () => {
    const volumes = await bench.volumes(a);
    const wish = spec('db', { sizeBytes: GIB, profile: 'gold', filesystem: 'xfs' });
    const got = await volumes.acquire(holder('run/1'), wish, soon());
    expect(got).toEqual({
      path: `/flocker/${idOf('db')}`,
      datasetId: idOf('db'),
      sizeBytes: GIB,
      created: true,
      notes: [],
    });
    expect(bench.flocker.cluster.datasets.get(got.datasetId)?.configuration).toMatchObject({
      primary: a,
      maximum_size: GIB,
      metadata: { name: 'db', FLOCKER_ID: 'db', 'clusterhq:flocker:profile': 'gold', 'flocker:filesystem': 'xfs' },
    });
    expect(bench.flocker.cluster.leaseOf(got.datasetId)).toMatchObject({ nodeId: a });
    expect(volumes.heldHere(got.datasetId)).toMatchObject([{ holderId: 'run/1', state: 'held' }]);
  });

  it('takes an existing volume as it is, says how it differs, and finds the names of the first isolator', async () => {
    const volumes = await bench.volumes(a);
    const old = { primary: a, maximumSizeBytes: GIB, metadata: { FLOCKER_ID: 'old' } };
    await bench.flocker.client.createDataset(old, { kind: 'none' }, soon());
    const wish = spec('old', { sizeBytes: 4 * GIB, profile: 'gold', filesystem: 'xfs', create: 'never' });
    const got = await volumes.acquire(holder('run/1'), wish, soon());
    expect(got.created).toBe(false);
    expect(got.notes).toEqual([
      '4 GiB was asked for, but the volume exists with 1 GiB',
      'profile gold was asked for, but the volume exists with the default profile',
      'xfs was asked for, but the volume exists with the default filesystem',
    ]);
  });

  it('waits for the lease of another node, then moves the volume here', async () => {
    const [here, there] = [await bench.volumes(a), await bench.volumes(b)];
    await there.acquire(holder('run/b'), spec('db'), soon());
    const waiting = here.acquire(holder('run/a'), spec('db'), soon());
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(bench.flocker.cluster.leaseOf(here.list()[0]?.datasetId ?? ('' as never))).toMatchObject({ nodeId: b });
    expect(here.heldHere(here.list()[0]?.datasetId ?? ('' as never))).toBeUndefined();
    await there.release('run/b');
    const got = await waiting;
    expect(bench.flocker.cluster.datasets.get(got.datasetId)).toMatchObject({
      configuration: { primary: a },
      storage: { kind: 'held', node: a },
    });
  });

  it('says at its deadline which node has the volume and for how long, and leaves nothing', async () => {
    const [here, there] = [await bench.volumes(a), await bench.volumes(b)];
    const { datasetId } = await there.acquire(holder('run/b'), spec('db'), soon());
    const late = here.acquire(holder('run/a'), spec('db'), AbortSignal.timeout(200));
    await expect(late).rejects.toMatchObject({
      code: 'leased_elsewhere',
      message: matching(new RegExp(`volume db .* node ${b} \\(host 192\\.0\\.2\\.1\\) .* expires in \\d+ s`)),
    });
    await here.idle();
    await vi.waitFor(() => expect(here.list()).toEqual([]));
    expect(bench.flocker.cluster.leaseOf(datasetId)).toMatchObject({ nodeId: b });
  });

  it('names what it waited for when a mount does not come in time', async () => {
    bench.flocker.removeNode(a);
    const volumes = await bench.volumes(a);
    const late = volumes.acquire(holder('run/a'), spec('db'), AbortSignal.timeout(150));
    await expect(late).rejects.toMatchObject({
      code: 'timed_out',
      message: containing(`Node ${a} of dataset`),
    });
    await vi.waitFor(() => expect(volumes.list()).toEqual([]));
    expect(bench.flocker.cluster.leases()).toEqual([]);
    expect(idOf('db')).not.toBe('none');
  });

  it('gives back what it took when the caller goes away during the move', async () => {
    const [here, there] = [await bench.volumes(a), await bench.volumes(b)];
    await there.acquire(holder('run/b'), spec('db'), soon());
    await there.release('run/b');
    bench.flocker.removeNode(b);
    const gone = new AbortController();
    const waiting = here.acquire(holder('run/a'), spec('db'), gone.signal);
    await vi.waitFor(() => expect(bench.flocker.cluster.leases()).toHaveLength(1));
    gone.abort(new Error('the client hung up'));
    await expect(waiting).rejects.toMatchObject({ code: 'cancelled', message: containing('hung up') });
    await vi.waitFor(() => expect(here.list()).toEqual([]));
    expect(bench.flocker.cluster.leases()).toEqual([]);
  });

  it.each([
    [spec('db', { create: 'never' }), 'volume_not_found', 'there is no volume db'],
    [
      spec('db', { profile: 'tin', knownProfiles: ['gold', 'silver'] }),
      'no_such_profile',
      'this node has gold, silver',
    ],
    [spec('db', { sizeBytes: 1024 }), 'bad_size', '64 MiB'],
    [spec('db', { sizeBytes: GIB + 1 }), 'bad_size', String(GIB + 1024)],
    [spec('a/b'), 'bad_name', 'slash'],
    [spec('a\nb'), 'bad_name', 'control character'],
    [spec('..'), 'bad_name', '".."'],
    [spec('x'.repeat(257)), 'bad_name', '256'],
    [spec('\u{d800}'), 'bad_name', 'volume name'],
  ])('refuses %j', async (wish, code, text) => {
    const volumes = await bench.volumes(a);
    const refused = volumes.acquire(holder('run/1'), wish, soon());
    await expect(refused).rejects.toMatchObject({ code, message: containing(text) });
    await vi.waitFor(() => expect(volumes.list()).toEqual([]));
    expect(bench.flocker.cluster.leases()).toEqual([]);
  });

  it('takes names of 256 code points beyond 16 bits', async () => {
    const volumes = await bench.volumes(a);
    const got = await volumes.acquire(holder('run/1'), spec('\u{1f40b}'.repeat(256)), soon());
    expect(got.created).toBe(true);
  });

  it('does not guess between volumes of one name', async () => {
    const volumes = await bench.volumes(a);
    const twin = { primary: a, metadata: { name: 'twin' } };
    const ids = await Promise.all([1, 2].map(() => bench.flocker.client.createDataset(twin, { kind: 'none' }, soon())));
    const refused = volumes.acquire(holder('run/1'), spec('twin'), soon());
    await expect(refused).rejects.toMatchObject({
      code: 'ambiguous_name',
      message: containing(ids.map((one) => one.dataset_id).join(', ')),
    });
  });

  it('tells at once what only a person can cure', async () => {
    const volumes = await bench.volumes(a);
    const refused = volumes.acquire(holder('run/1'), spec('db', { profile: 'no-such' }), soon());
    await expect(refused).rejects.toMatchObject({ code: 'no_such_profile', message: containing('no-such') });
    await vi.waitFor(() => expect(bench.flocker.cluster.leases()).toEqual([]));
  });

  it('takes back a volume that it made and that cannot be, so that the next try makes it as wanted', async () => {
    const volumes = await bench.volumes(a);
    const old = { primary: a, metadata: { name: 'old', [PROFILE_KEY]: 'no-such' } };
    await bench.flocker.client.createDataset(old, { kind: 'none' }, soon());
    for (const name of ['new', 'old']) {
      const refused = volumes.acquire(holder('run/1'), spec(name, { profile: 'no-such' }), soon());
      await expect(refused).rejects.toMatchObject({ code: 'no_such_profile' });
    }
    expect(await volumes.acquire(holder('run/1'), spec('new'), soon())).toMatchObject({ created: true });
    expect(await bench.flocker.client.findByName('old', soon())).toMatchObject({ datasets: [{ deleted: false }] });
  });

  it('tells a full pool from other problems when the client does', async () => {
    const full = new ClientError('needs_action', 'pool tank is full', { cause: { code: 'no_space' } });
    const volumes = await bench.volumes(a, { waitUntilMounted: () => Promise.reject(full) });
    const refused = volumes.acquire(holder('run/1'), spec('db'), soon());
    await expect(refused).rejects.toMatchObject({ code: 'no_space', message: 'volume db: pool tank is full' });
  });

  it('makes one volume when both nodes want it at the same time, also without our additions', async () => {
    for (const additions of [true, false]) {
      const other = await VolumesBench.create({ additions });
      const nodes = [other.flocker.addNode(), other.flocker.addNode()];
      const both = await Promise.all(nodes.map((node) => other.volumes(node)));
      const race = both.map((volumes, index) =>
        volumes
          .acquire(holder(`run/${index}`), spec('db'), soon())
          .then((got) => volumes.release(`run/${index}`).then(() => got)),
      );
      const got = await Promise.all(race);
      expect(got[0]?.datasetId).toBe(got[1]?.datasetId);
      expect(got.filter((one) => one.created)).toHaveLength(1);
      expect(other.flocker.cluster.datasets.size).toBe(1);
      await other.close();
    }
  });

  it('knows its own volume when the answer to the creation was lost', async () => {
    let lost = false;
    const volumes = await bench.volumes(a, {
      createDataset: async (...args) => {
        const made = await bench.flocker.client.createDataset(...args);
        if (lost) return made;
        lost = true;
        throw new ClientError('unreachable', 'the connection broke');
      },
    });
    const got = await volumes.acquire(holder('run/1'), spec('db'), soon());
    expect(got).toMatchObject({ created: true, notes: [] });
    expect(bench.flocker.cluster.datasets.size).toBe(1);
  });

  it('looks again when the volume is deleted under its hands', async () => {
    let first = true;
    const volumes = await bench.volumes(a, {
      waitUntilMounted: async (id, ...rest) => {
        if (first) {
          first = false;
          await bench.flocker.client.deleteDataset(id, { kind: 'none' }, soon());
        }
        return bench.flocker.client.waitUntilMounted(id, ...rest);
      },
    });
    const got = await volumes.acquire(holder('run/1'), spec('db'), soon());
    expect(bench.flocker.cluster.datasets.size).toBe(2);
    expect(got.created).toBe(true);
    expect(bench.flocker.cluster.leases().map((lease) => lease.dataset_id)).toEqual([got.datasetId]);
  });

  it('ends after its patience when the control service does not answer', async () => {
    const away = (): Promise<never> => Promise.reject(new ClientError('unreachable', 'connection refused'));
    const volumes = await bench.volumes(a, { findByName: away }, { patienceMs: 100 });
    const refused = volumes.acquire(holder('run/1'), spec('db'), soon());
    await expect(refused).rejects.toMatchObject({
      code: 'unreachable',
      message: containing('connection refused'),
    });
    await vi.waitFor(() => expect(volumes.list()).toEqual([]));
  });

  it('does not hand out a path where nothing is mounted', async () => {
    const answers = [false, false, true];
    const confirmMounted = vi.fn(() => Promise.resolve(answers.shift() ?? true));
    const volumes = await bench.volumes(a, {}, { confirmMounted });
    await volumes.acquire(holder('run/1'), spec('db'), soon());
    expect(confirmMounted).toHaveBeenCalledTimes(3);
  });

  it('asks the control service once when a second holder comes, and again gives the same to the same', async () => {
    const { client } = bench.flocker;
    const findByName = vi.fn<FlockerClient['findByName']>();
    const acquireLease = vi.fn<FlockerClient['acquireLease']>();
    const waitUntilMounted = vi.fn<FlockerClient['waitUntilMounted']>();
    const volumes = await bench.volumes(a, {
      findByName: findByName.mockImplementation((...args) => client.findByName(...args)),
      acquireLease: acquireLease.mockImplementation((...args) => client.acquireLease(...args)),
      waitUntilMounted: waitUntilMounted.mockImplementation((...args) => client.waitUntilMounted(...args)),
    });
    const first = await volumes.acquire(holder('run/1'), spec('db'), soon());
    const counts = (): number[] => [findByName, acquireLease, waitUntilMounted].map((fn) => fn.mock.calls.length);
    expect(counts()).toEqual([1, 1, 1]);
    const second = await volumes.acquire(holder('run/2'), spec('db'), soon());
    expect(counts()).toEqual([2, 1, 1]);
    expect(second).toEqual({ ...first, created: false });
    expect(await volumes.acquire(holder('run/1'), spec('db'), soon())).toEqual(first);
    await volumes.release('run/1');
    expect(bench.flocker.cluster.leases()).toHaveLength(1);
    await volumes.release('run/2');
    expect(bench.flocker.cluster.leases()).toHaveLength(0);
    await volumes.acquire(holder('run/3'), spec('db'), soon());
    expect(counts()).toEqual([4, 2, 2]);
  });

  it('is fast when the volume is here', async () => {
    const volumes = await bench.volumes(a);
    await volumes.acquire(holder('run/0'), spec('db'), soon());
    const took: number[] = [];
    for (let round = 1; round <= 50; round += 1) {
      const begin = performance.now();
      await volumes.acquire(holder(`run/${round}`), spec('db'), soon());
      took.push(performance.now() - begin);
    }
    const median = took.sort((x, y) => x - y)[25] ?? Number.NaN;
    expect(median).toBeLessThan(25);
  });
});

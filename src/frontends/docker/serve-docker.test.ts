import { chmod, mkdir, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { NO_SUCH_PROFILE } from '../../client/testing/fake-cluster.ts';
import { spec } from '../../volumes/testing/volumes-bench.ts';
import { DockerBench, PODMAN } from './testing/docker-bench.ts';

let bench: DockerBench;
beforeEach(async () => {
  bench = await DockerBench.start();
});
afterEach(() => bench.close());

const soon = (): AbortSignal => AbortSignal.timeout(5_000);
const UNKNOWN = { Err: 'Could not find volume with given name.' };
const text = (pattern: RegExp): unknown => expect.stringMatching(pattern) as unknown;
const aPath = text(/^\/flocker\/[0-9a-f-]{36}$/);

function configurations(): unknown[] {
  return [...bench.cluster.flocker.cluster.datasets.values()].map(({ configuration }) => configuration);
}

describe('the protocol', () => {
  it('says what it is, whatever the body', async () => {
    for (const body of ['', '{}', 'no JSON']) {
      expect(await bench.send('POST', '/Plugin.Activate', body)).toEqual({
        status: 200,
        type: 'application/json',
        body: { Implements: ['VolumeDriver'] },
      });
    }
    expect(await bench.call('Capabilities', {})).toMatchObject({ Capabilities: { Scope: 'global' } });
  });

  it('answers what is no call with 400, 404, 405 or 413', async () => {
    expect(await bench.send('POST', '/VolumeDriver.Create', '{')).toMatchObject({
      status: 400,
      type: 'application/json',
    });
    expect(await bench.send('POST', '/VolumeDriver.Create', '[]')).toMatchObject({ status: 400 });
    expect(await bench.send('POST', '/VolumeDriver.None', '{}')).toMatchObject({ status: 404 });
    expect(await bench.send('POST', '/', '{}')).toMatchObject({ status: 404 });
    expect(await bench.send('GET', '/VolumeDriver.List', '')).toMatchObject({ status: 405 });
    expect(await bench.send('POST', '/VolumeDriver.Get', `"${'x'.repeat(70_000)}"`)).toMatchObject({ status: 413 });
  });

  it('is for one user only, in a directory that may be for all', async () => {
    expect((await stat(bench.socketPath)).mode & 0o777).toBe(0o600);
    await bench.stopAgent();
    await mkdir(dirname(bench.socketPath), { recursive: true });
    await chmod(dirname(bench.socketPath), 0o755);
    await bench.startAgent();
    expect((await stat(dirname(bench.socketPath))).mode & 0o777).toBe(0o755);
    expect((await stat(bench.socketPath)).mode & 0o777).toBe(0o600);
  });

  it('does without a socket that cannot be made, unless it was asked for', async () => {
    const path = '/dev/null/flocker.sock';
    await bench.stopAgent();
    await expect(bench.startAgent({ socketPaths: [path] })).rejects.toThrow(/null/);
    await bench.startAgent({ socketPaths: [path, bench.socketPath], required: false });
    expect(await bench.call('List', {})).toEqual({ Err: '', Volumes: [] });
  });

  it('tells podman of a failure by the status, all it looks at', async () => {
    const create = (body: string): Promise<unknown> =>
      bench.send('POST', '/VolumeDriver.Create', body, undefined, PODMAN);
    expect(await create('{"Name":"db","Opts":{"size":"10x"}}')).toEqual({
      status: 500,
      type: 'application/json',
      body: { Err: text(/is no size/) },
    });
    expect(await create('{"Name":"db"}')).toMatchObject({ status: 200, body: { Err: '' } });
    expect(await bench.send('POST', '/VolumeDriver.Get', '{"Name":"none"}', undefined, PODMAN)).toMatchObject({
      status: 500,
      body: UNKNOWN,
    });
  });

  it('finds no unknown volume, and says so in the same words always', async () => {
    for (const call of ['Get', 'Path', 'Remove', 'Mount'])
      expect(await bench.call(call, { Name: 'none' })).toEqual(UNKNOWN);
    expect(await bench.call('Unmount', { Name: 'none' })).toEqual({ Err: '' });
    for (const body of [{}, { Name: '' }, { Name: 7 }])
      expect(await bench.call('Get', body)).toEqual({ Err: text(/"Name"/) });
  });
});

describe('Create', () => {
  it('makes a volume of the size and profile that are given, once', async () => {
    const body = { Name: 'db', Opts: { size: '1GiB', profile: 'gold' } };
    for (let time = 0; time < 2; time += 1) expect(await bench.call('Create', body)).toEqual({ Err: '' });
    expect(configurations()).toMatchObject([
      {
        primary: bench.node,
        maximum_size: 2 ** 30,
        metadata: { name: 'db', 'clusterhq:flocker:profile': 'gold' },
      },
    ]);
  });

  it('makes one volume when Docker asks several times at once', async () => {
    await Promise.all(Array.from({ length: 8 }, () => bench.call('Create', { Name: 'db' })));
    expect(configurations()).toHaveLength(1);
    expect(configurations()[0]).not.toHaveProperty('maximum_size');
  });

  it.each([
    ['67108864', 67_108_864],
    ['65536k', 2 ** 26],
    ['65536KB', 2 ** 26],
    ['65536KiB', 2 ** 26],
    ['100m', 100 * 2 ** 20],
    ['100MB', 100 * 2 ** 20],
    ['100mib', 100 * 2 ** 20],
    ['2g', 2 ** 31],
    ['2gb', 2 ** 31],
    ['2GiB', 2 ** 31],
    ['1T', 2 ** 40],
    ['1tib', 2 ** 40],
  ])('size %s is %d bytes', async (size, sizeBytes) => {
    expect(await bench.call('Create', { Name: 'db', Opts: { size } })).toEqual({ Err: '' });
    expect(configurations()).toMatchObject([{ maximum_size: sizeBytes }]);
  });

  it.each(['', 'big', '10 gb', '10x', '100b', '1.5g', '-1g', '1g1', '99999999t', '1k', '67108865', 5, null])(
    'refuses the size %j and makes nothing',
    async (size) => {
      expect(await bench.call('Create', { Name: 'db', Opts: { size } })).toEqual({ Err: text(/volume db/) });
      expect(configurations()).toEqual([]);
    },
  );

  it('refuses names no volume can have, and profiles the node lacks', async () => {
    await bench.stopAgent();
    await bench.startAgent({ knownProfiles: () => ['gold', 'silver'] });
    expect(await bench.call('Create', { Name: 'a/b' })).toEqual({ Err: text(/a\/b/) });
    expect(await bench.call('Create', { Name: 'db', Opts: { profile: 'tin' } })).toEqual({
      Err: 'volume db: there is no profile tin; this node has gold, silver',
    });
    expect(configurations()).toEqual([]);
  });

  it('takes options it does not know, as Flocker did, and null for none', async () => {
    expect(await bench.call('Create', { Name: 'one', Opts: { colour: 'red' } })).toEqual({ Err: '' });
    expect(await bench.call('Create', { Name: 'two', Opts: null })).toEqual({ Err: '' });
  });
});

describe('Mount and Unmount', () => {
  beforeEach(() => bench.call('Create', { Name: 'db' }));

  it('holds the volume and its lease from the first mount to the last unmount', async () => {
    expect(await bench.call('Mount', { Name: 'db', ID: 'c1' })).toEqual({ Err: '', Mountpoint: aPath });
    expect(await bench.call('Mount', { Name: 'db', ID: 'c1' })).toEqual({ Err: '', Mountpoint: aPath });
    expect(await bench.call('Mount', { Name: 'db', ID: 'c2' })).toEqual({ Err: '', Mountpoint: aPath });
    expect(bench.holders).toEqual(['docker/c1/db', 'docker/c2/db']);
    expect(await bench.call('Unmount', { Name: 'db', ID: 'c1' })).toEqual({ Err: '' });
    expect(bench.leases).toBe(1);
    expect(await bench.call('Unmount', { Name: 'db', ID: 'c2' })).toEqual({ Err: '' });
    expect(bench.leases).toBe(0);
    expect(await bench.call('Unmount', { Name: 'db', ID: 'c2' })).toEqual({ Err: '' });
  });

  it('takes an id of any kind, and none', async () => {
    for (const ID of ['c1/x', '../..', undefined]) await bench.call('Mount', { Name: 'db', ID });
    expect(bench.holders).toEqual(['docker/c1%2Fx/db', 'docker/..%2F../db', 'docker/db']);
    for (const ID of ['c1/x', '../..']) await bench.call('Unmount', { Name: 'db', ID });
    expect(bench.holders).toEqual(['docker/db']);
    await bench.call('Unmount', { Name: 'db' });
    expect(bench.holders).toEqual([]);
  });

  it('keeps the volume of a container through a restart of the agent', async () => {
    const before = await bench.call('Mount', { Name: 'db', ID: 'c1' });
    await bench.stopAgent();
    await bench.startAgent();
    expect(bench.holders).toEqual(['docker/c1/db']);
    expect(await bench.call('Mount', { Name: 'db', ID: 'c1' })).toEqual(before);
    expect(bench.leases).toBe(1);
    await bench.call('Unmount', { Name: 'db', ID: 'c1' });
    expect(bench.leases).toBe(0);
  });

  it('does not pull a volume from under a container on another node', async () => {
    const elsewhere = await bench.cluster.volumes(bench.cluster.flocker.addNode());
    await elsewhere.acquire({ id: 'docker/c9/db', detail: 'a container' }, spec('db'), soon());
    await bench.stopAgent();
    await bench.startAgent({ mountTimeoutMs: 300 });
    expect(await bench.call('Mount', { Name: 'db', ID: 'c1' })).toEqual({
      Err: text(/volume db was not ready in time: node .* uses it and holds its lease/),
      Mountpoint: '',
    });
    await vi.waitFor(() => expect(bench.holders).toEqual([]));
    await elsewhere.release('docker/c9/db');
    expect(await bench.call('Mount', { Name: 'db', ID: 'c1' })).toMatchObject({ Err: '' });
  });

  it('gives back what it has when Docker goes away in the middle', async () => {
    await bench.call('Create', { Name: 'slow', Opts: { profile: NO_SUCH_PROFILE } });
    const elsewhere = await bench.cluster.volumes(bench.cluster.flocker.addNode());
    await elsewhere.acquire({ id: 'docker/c9/db', detail: 'a container' }, spec('db'), soon());
    const docker = new AbortController();
    const mounting = bench.call('Mount', { Name: 'db', ID: 'c1' }, docker.signal);
    mounting.catch(() => undefined);
    await vi.waitFor(() => expect(bench.holders).toEqual(['docker/c1/db']));
    docker.abort();
    await vi.waitFor(() => expect(bench.holders).toEqual([]));
    await elsewhere.release('docker/c9/db');
    expect(bench.leases).toBe(0);
    expect(await bench.call('Mount', { Name: 'slow', ID: 'c1' })).toEqual({
      Err: text(/has no profile/),
      Mountpoint: '',
    });
  });
});

describe('Path, Get and List', () => {
  it('tell where volumes are that are mounted here', async () => {
    await bench.call('Create', { Name: 'here' });
    const elsewhere = await bench.cluster.volumes(bench.cluster.flocker.addNode());
    await elsewhere.catalog.create(spec('there'), soon());
    await vi.waitFor(async () =>
      expect(await bench.call('Get', { Name: 'here' })).toEqual({
        Err: '',
        Volume: { Name: 'here', Mountpoint: aPath },
      }),
    );
    expect(await bench.call('Path', { Name: 'here' })).toEqual({ Err: '', Mountpoint: aPath });
    expect(await bench.call('Get', { Name: 'there' })).toEqual({ Err: '', Volume: { Name: 'there', Mountpoint: '' } });
    expect(await bench.call('Path', { Name: 'there' })).toEqual({ Err: 'Volume not available.', Mountpoint: '' });
    const listed = { status: 200, type: 'application/json', body: { Err: '', Volumes: expect.anything() as unknown } };
    for (const body of ['{}', '', 'null']) expect(await bench.send('POST', '/VolumeDriver.List', body)).toEqual(listed);
    expect(await bench.call('List', {})).toEqual({
      Err: '',
      Volumes: [
        { Name: 'here', Mountpoint: aPath },
        { Name: 'there', Mountpoint: '' },
      ],
    });
  });
});

describe('Remove', () => {
  it('deletes the volume, but not while anybody uses it', async () => {
    await bench.call('Create', { Name: 'db' });
    await bench.call('Mount', { Name: 'db', ID: 'c1' });
    expect(await bench.call('Remove', { Name: 'db' })).toEqual({ Err: text(/in use on this node by docker\/c1\/db/) });
    await bench.call('Unmount', { Name: 'db', ID: 'c1' });
    expect(await bench.call('Remove', { Name: 'db' })).toEqual({ Err: '' });
    expect(await bench.call('Get', { Name: 'db' })).toEqual(UNKNOWN);
    expect(configurations()).toMatchObject([{ deleted: true }]);
  });

  it('does nothing where the operator says so', async () => {
    await bench.stopAgent();
    await bench.startAgent({ remove: 'keep' });
    await bench.call('Create', { Name: 'db' });
    expect(await bench.call('Remove', { Name: 'db' })).toEqual({ Err: '' });
    expect(await bench.call('Remove', { Name: 'none' })).toEqual({ Err: '' });
    expect(configurations()).toMatchObject([{ deleted: false }]);
  });
});

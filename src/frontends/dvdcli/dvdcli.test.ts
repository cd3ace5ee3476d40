import { connect, createServer } from 'node:net';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { ClientError } from '../../client/flocker-client.ts';
import { spec } from '../../volumes/testing/volumes-bench.ts';
import { DvdcliBench } from './testing/dvdcli-bench.ts';

let bench: DvdcliBench;
beforeEach(async () => {
  bench = await DvdcliBench.start();
});
afterEach(() => bench.close());

const GIB = 2 ** 30;
const soon = (): AbortSignal => AbortSignal.timeout(5_000);
const text = (pattern: RegExp): string => expect.stringMatching(pattern) as string;
const PATH = text(/^\/flocker\/[0-9a-f-]{36}\n$/);
const SAID = /^time="\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ" level=(info|warning|error) msg=".*"( volumeName=.*)?\n$/;
const failed = (pattern: RegExp): object => ({ status: 1, stdout: '', stderr: text(pattern) });

function configurations(): unknown[] {
  return [...bench.cluster.flocker.cluster.datasets.values()].map(({ configuration }) => configuration);
}

describe('commands', () => {
  it('print what the original prints', async () => {
    const made = await bench.run('create', 'db', '--volumeopts=size=1,profile=gold');
    expect(made).toEqual({ status: 0, stdout: '', stderr: text(/level=info msg="db" volumeName=db\n$/) });
    expect(made.stderr).toMatch(SAID);
    expect(configurations()).toMatchObject([{ maximum_size: GIB, metadata: { 'clusterhq:flocker:profile': 'gold' } }]);
    const mounted = await bench.run('mount', 'db');
    expect(mounted).toEqual({ status: 0, stdout: PATH, stderr: text(/level=info msg="\/flocker\//) });
    expect(await bench.run('path', 'db')).toEqual({ status: 0, stdout: mounted.stdout, stderr: '' });
    expect(await bench.run('get', 'db')).toEqual({ status: 0, stdout: 'db\n', stderr: '' });
    await bench.run('create', 'also');
    expect(await bench.run('list')).toEqual({ status: 0, stdout: 'also\ndb\n', stderr: '' });
    expect(await bench.run('unmount', 'db')).toEqual({ status: 0, stdout: '', stderr: '' });
    expect(await bench.run('remove', 'db')).toEqual({ status: 0, stdout: '', stderr: '' });
    expect(await bench.run('list')).toEqual({ status: 0, stdout: 'also\n', stderr: '' });
    expect(await bench.raw('version')).toEqual({ status: 0, stdout: 'SemVer: 1.2.3\n', stderr: '' });
    for (const args of [[], ['help']])
      expect((await bench.raw(...args)).stdout).toMatch(/^Docker Volume Driver CLI\n\nUsage:/);
  });

  it('print nothing for the path of a volume that is not mounted here', async () => {
    const elsewhere = await bench.cluster.volumes(bench.cluster.flocker.addNode());
    await elsewhere.catalog.create(spec('db'), soon());
    expect(await bench.run('path', 'db')).toEqual({ status: 0, stdout: '', stderr: '' });
  });

  it('end with 1 and one line on standard error when they fail', async () => {
    for (const command of ['remove', 'unmount', 'path', 'get']) {
      const ran = await bench.run(command, 'none');
      expect(ran).toEqual(failed(/level=error msg="there is no volume none" volumeName=none\n$/));
      expect(ran.stderr).toMatch(SAID);
    }
    expect(await bench.run('mount', 'none', '--explicitCreate=true')).toEqual(failed(/there is no volume none/));
    expect(await bench.run('mount', 'db', '--volumeopts=size=ten')).toEqual(failed(/"ten\\" is no size/));
    expect(await bench.run('create', 'a/b')).toEqual(failed(/volumeName=a\/b/));
    expect(configurations()).toEqual([]);
  });

  it('end with 1 and the usage on standard error when they are not understood', async () => {
    for (const args of [['mount'], ['mount', '--no'], ['mout'], ['list']]) {
      expect(await bench.raw(...args)).toEqual(failed(/level=error msg="[^\n]+"\nDocker Volume Driver CLI\n/));
    }
  });
});

describe('mount and unmount', () => {
  it('are not counted: one unmount ends any number of mounts, and the lease', async () => {
    const paths = [];
    for (let time = 0; time < 3; time += 1) paths.push((await bench.run('mount', 'db')).stdout);
    expect(new Set(paths).size).toBe(1);
    expect(bench.holders).toEqual(['dvdcli/db']);
    expect(bench.leases).toBe(1);
    for (let time = 0; time < 2; time += 1)
      expect(await bench.run('unmount', 'db')).toMatchObject({ status: 0, stderr: '' });
    expect(bench.leases).toBe(0);
  });

  it('take names of any length and script', async () => {
    for (const name of ['x'.repeat(256), '名 ボ=, --x', '-']) {
      expect(await bench.run('mount', name)).toMatchObject({ status: 0, stdout: PATH });
      expect(await bench.run('get', name)).toMatchObject({ stdout: `${name}\n` });
      expect(await bench.run('unmount', name)).toMatchObject({ status: 0 });
    }
    expect(bench.leases).toBe(0);
  });

  it('say where an existing volume differs, and mount it', async () => {
    await bench.run('create', 'db', '--volumeopts=size=1');
    expect(await bench.run('mount', 'db', '--volumeopts=size=2', '--volumeopts=iops=3')).toEqual({
      status: 0,
      stdout: PATH,
      stderr: text(
        /level=warning msg="option iops changes nothing[^\n]*\n[^\n]*level=warning msg="2 GiB was asked for/,
      ),
    });
  });

  it('succeed after a mount that failed, as the isolator unmounts those too', async () => {
    expect(await bench.run('mount', 'db', '--volumeopts=size=ten')).toMatchObject({ status: 1 });
    expect(await bench.run('unmount', 'db')).toEqual({ status: 0, stdout: '', stderr: '' });
    expect(await bench.run('unmount', 'db')).toMatchObject({ status: 1 });
  });

  it('wait until the lease is given up', async () => {
    let tries = 0;
    await bench.stopAgent();
    await bench.startAgent(
      {},
      {
        releaseLease: (...args) => {
          tries += 1;
          if (tries < 3) return Promise.reject(new ClientError('unreachable', 'no route'));
          return bench.cluster.flocker.client.releaseLease(...args);
        },
      },
    );
    await bench.run('mount', 'db');
    expect(await bench.run('unmount', 'db')).toEqual({ status: 0, stdout: '', stderr: '' });
    expect(tries).toBe(3);
    expect(bench.leases).toBe(0);
  });

  it('have nothing to complain about when nothing is mounted and the control service is away', async () => {
    await bench.stopAgent();
    const away = (): Promise<never> => Promise.reject(new ClientError('unreachable', 'no route'));
    await bench.startAgent({}, { findByName: away });
    expect(await bench.run('unmount', 'db')).toEqual({
      status: 0,
      stdout: '',
      stderr: text(/level=warning msg="volume db: no route; the volume was not mounted here"/),
    });
    expect(await bench.run('path', 'db')).toEqual(failed(/no route/));
  });

  it('refuse overwritefs unless the operator allows it', async () => {
    await bench.run('mount', 'db', '--volumeopts=size=1');
    await bench.run('unmount', 'db');
    const before = configurations();
    expect(await bench.run('mount', 'db', '--volumeopts=overwritefs=true')).toEqual(
      failed(/operator .* does not allow it/),
    );
    expect(configurations()).toEqual(before);
    await bench.stopAgent();
    await bench.startAgent({ allowOverwrite: true });
    const anew = await bench.run('mount', 'db', '--volumeopts=overwritefs=true');
    expect(anew).toMatchObject({ status: 0, stdout: PATH });
    expect(configurations()).toMatchObject([
      { deleted: true, maximum_size: GIB },
      { deleted: false, maximum_size: GIB },
    ]);
    // A second mount of what is mounted is the same mount.
    expect(await bench.run('mount', 'db', '--volumeopts=overwritefs=true')).toMatchObject({ stdout: anew.stdout });
  });

  it('refuse access=ro where the agent cannot mount, and give back what they took when it fails', async () => {
    expect(await bench.run('mount', 'db', '--volumeopts=access=ro')).toEqual(
      failed(/needs a node agent that runs as root/),
    );
    await bench.stopAgent();
    const readOnly = {
      open: (): Promise<string> => Promise.reject(new Error('the kernel refuses')),
      close: (): Promise<void> => Promise.resolve(),
      closeOthers: (): Promise<void> => Promise.resolve(),
    };
    await bench.startAgent({ readOnly });
    expect(await bench.run('mount', 'db', '--volumeopts=access=ro')).toEqual(failed(/the kernel refuses/));
    await vi.waitFor(() => expect(bench.holders).toEqual([]));
    expect(bench.leases).toBe(0);
  });

  it('do not take a volume from another node', async () => {
    const elsewhere = await bench.cluster.volumes(bench.cluster.flocker.addNode());
    await elsewhere.acquire({ id: 'dvdcli/db', detail: 'elsewhere' }, spec('db'), soon());
    const waiting = bench.run('mount', 'db');
    await vi.waitFor(() => expect(bench.holders).toEqual(['dvdcli/db']));
    expect(bench.leases).toBe(1);
    await elsewhere.release('dvdcli/db');
    expect(await waiting).toMatchObject({ status: 0, stdout: PATH });
  });
});

describe('the node agent', () => {
  it('may be restarted while dvdcli asks, and keeps what is mounted', async () => {
    const mounted = await bench.run('mount', 'db');
    await bench.stopAgent();
    const meanwhile = bench.run('mount', 'db');
    await bench.startAgent();
    expect(await meanwhile).toMatchObject({ status: 0, stdout: mounted.stdout });
    expect(bench.holders).toEqual(['dvdcli/db']);
    expect(await bench.run('unmount', 'db')).toMatchObject({ status: 0 });
    expect(bench.leases).toBe(0);
  });

  it('undoes what it has when dvdcli is killed in the middle', async () => {
    const elsewhere = await bench.cluster.volumes(bench.cluster.flocker.addNode());
    await elsewhere.acquire({ id: 'dvdcli/db', detail: 'elsewhere' }, spec('db'), soon());
    const body = JSON.stringify({ name: 'db', options: [], timeout_ms: 60_000 });
    const killed = connect(bench.socketPath);
    killed.write(
      `POST /v1/dvdcli/mount HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
    );
    await vi.waitFor(() => expect(bench.holders).toEqual(['dvdcli/db']));
    killed.destroy();
    await vi.waitFor(() => expect(bench.holders).toEqual([]));
    await elsewhere.release('dvdcli/db');
    expect(bench.leases).toBe(0);
  });

  it('is reported when it is away, too old, or something else', async () => {
    await bench.stopAgent();
    const startedMs = performance.now();
    expect(await bench.run('path', 'db')).toEqual(
      failed(/no node agent listens on .*agent\.sock \(ENOENT\); is it running\?/),
    );
    expect(performance.now() - startedMs).toBeLessThan(15_000);
    for (const [said, reported] of [
      [
        'HTTP/1.1 404 Not Found\r\ncontent-length: 35\r\n\r\n{"code":"not_found","message":"no"}\n',
        /older than this program/,
      ],
      ['HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi', /is no node agent/],
      ['HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}', /answered with status 200/],
    ] as const) {
      const server = createServer((socket) => {
        socket.on('error', () => undefined);
        socket.once('data', () => socket.end(said));
      });
      await new Promise<void>((resolve) => server.listen(bench.socketPath, resolve));
      expect(await bench.run('path', 'db')).toEqual(failed(reported));
      await new Promise((resolve) => server.close(resolve));
    }
  });
});

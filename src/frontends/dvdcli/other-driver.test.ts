import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server as PlainServer } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { testAuthority } from '../../client/testing/certificates.ts';
import { systemClock } from '../../kit/clock.ts';
import { DockerBench } from '../docker/testing/docker-bench.ts';
import type { DvdcliRequest } from './arguments.ts';
import type { DriverDirectories } from './find-driver.ts';
import { otherDriver } from './other-driver.ts';

/** What a scripted plugin answers; the path and body of each request are kept. */
type Script = (path: string, body: string) => { status?: number; body: unknown };

let directory: string;
let directories: DriverDirectories;
let servers: PlainServer[];
let calls: string[];
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'flocker-driver-'));
  directories = { sockets: join(directory, 'run'), specs: [join(directory, 'etc'), join(directory, 'usr')] };
  for (const path of [directories.sockets, ...directories.specs]) await mkdir(path);
  servers = [];
  calls = [];
});
afterEach(async () => {
  for (const server of servers) {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
  await rm(directory, { recursive: true, force: true });
});

const run = (command: DvdcliRequest['command'], driver: string, more: Partial<DvdcliRequest> = {}): Promise<unknown> =>
  otherDriver(
    { command, driver, name: 'db', options: [], explicitCreate: false, ...more },
    { clock: systemClock },
    directories,
  );
const lines = (...found: readonly unknown[]): object => ({ lines: found, notes: [] });
const aPath = expect.stringMatching(/^\/flocker\/[0-9a-f-]{36}$/) as unknown;

const MODEST: Script = (path) => {
  if (path === '/Plugin.Activate') return { body: { Implements: ['VolumeDriver'] } };
  if (path === '/VolumeDriver.Get') return { body: { Volume: { Name: 'db', Mountpoint: '' }, Err: '' } };
  if (path === '/VolumeDriver.List') return { body: { Volumes: [{ Name: 'a' }, { Name: 'db' }] } };
  return { body: { Mountpoint: '/mnt/db', Err: '' } };
};

async function serve(
  script: Script,
  at: string | number,
  tls?: { key: string; cert: string; ca: string },
): Promise<number> {
  const handle: Parameters<typeof createServer>[1] = (request, response) => {
    let text = '';
    request.on('data', (chunk: Buffer) => (text += chunk.toString()));
    request.on('end', () => {
      calls.push(`${request.url} ${text}`);
      const { status = 200, body } = script(request.url ?? '', text);
      response.writeHead(status, { 'content-type': 'application/vnd.docker.plugins.v1.2+json' });
      response.end(typeof body === 'string' ? body : JSON.stringify(body));
    });
  };
  const server =
    tls === undefined
      ? createServer(handle)
      : createTlsServer({ ...tls, requestCert: true, rejectUnauthorized: true }, handle);
  servers.push(server);
  await new Promise<void>((resolve) => {
    if (typeof at === 'string') server.listen(at, resolve);
    else server.listen(at, '127.0.0.1', resolve);
  });
  return typeof at === 'string' ? 0 : (server.address() as AddressInfo).port;
}

describe('a real plugin', () => {
  it('gets the calls of every command', async () => {
    const plugin = await DockerBench.start();
    try {
      await writeFile(join(directories.specs[0] ?? '', 'other.spec'), `unix://${plugin.socketPath}\n`);
      await expect(run('get', 'other')).rejects.toThrow('other: Could not find volume with given name.');
      await expect(run('mount', 'other', { explicitCreate: true })).rejects.toThrow('Could not find volume');
      expect(await run('mount', 'other', { options: ['size=1GiB', 'profile=gold'] })).toEqual(lines(aPath));
      expect(await run('path', 'other')).toEqual(lines(aPath));
      expect(await run('get', 'other')).toEqual(lines('db'));
      expect(await run('list', 'other', { name: '' })).toEqual(lines('db'));
      await expect(run('remove', 'other')).rejects.toThrow('in use');
      expect(await run('unmount', 'other')).toEqual(lines());
      expect(await run('remove', 'other')).toEqual(lines());
      expect(await run('create', 'other', { options: ['size=1GiB'] })).toEqual(lines());
      const sizes = [...plugin.cluster.flocker.cluster.datasets.values()].map((one) => one.configuration.maximum_size);
      expect(sizes).toEqual([2 ** 30, 2 ** 30]);
    } finally {
      await plugin.close();
    }
  });
});

describe('discovery', () => {
  it('takes a socket before files, flat and in a directory of its own', async () => {
    await writeFile(join(directories.specs[0] ?? '', 'other.spec'), 'unix:///nowhere.sock');
    await mkdir(join(directories.sockets, 'other'));
    await serve(MODEST, join(directories.sockets, 'other', 'other.sock'));
    expect(await run('mount', 'other')).toEqual(lines('/mnt/db'));
    expect(calls).toEqual([
      '/Plugin.Activate ',
      '/VolumeDriver.Get {"Name":"db"}',
      '/VolumeDriver.Mount {"Name":"db"}',
    ]);
  });

  it('takes tcp addresses of .spec files, and of .json files with TLS', async () => {
    const port = await serve(MODEST, 0);
    await writeFile(join(directories.specs[1] ?? '', 'plain.spec'), `tcp://127.0.0.1:${port}`);
    expect(await run('path', 'plain')).toEqual(lines('/mnt/db'));

    const authority = await testAuthority('plugins');
    const server = await authority.issue('plugin', { addresses: ['127.0.0.1'] });
    const client = await authority.issue('docker');
    const tlsPort = await serve(MODEST, 0, server);
    const file = async (name: string, text: string): Promise<string> => {
      await writeFile(join(directory, name), text);
      return join(directory, name);
    };
    const TLSConfig = {
      InsecureSkipVerify: false,
      CAFile: await file('ca.pem', authority.ca),
      CertFile: await file('cert.pem', client.cert),
      KeyFile: await file('key.pem', client.key),
    };
    const describeDriver = (tls: object): Promise<void> =>
      writeFile(
        join(directories.specs[0] ?? '', 'safe.json'),
        JSON.stringify({ Name: 'safe', Addr: `https://127.0.0.1:${tlsPort}`, TLSConfig: tls }),
      );
    await describeDriver(TLSConfig);
    expect(await run('get', 'safe')).toEqual(lines('db'));
    await describeDriver({ ...TLSConfig, CAFile: await file('other.pem', (await testAuthority('other')).ca) });
    await expect(run('get', 'safe')).rejects.toThrow(/certificate/);
    await describeDriver({ ...TLSConfig, CAFile: '' });
    expect(await run('get', 'safe')).toEqual(lines('db'));
  });

  it('finds no driver where there is none, nor one whose name is a path', async () => {
    for (const name of ['none', '../etc/none', '/none', '.hidden', '']) {
      await expect(run('get', name)).rejects.toMatchObject({ name: 'DriverNotFound' });
    }
    for (const [file, text] of [
      ['odd.spec', 'nonsense'],
      ['odd.spec', 'unix://relative'],
      ['odd2.json', '{"Name":"odd2"}'],
      ['odd2.json', '['],
    ] as const) {
      await writeFile(join(directories.specs[0] ?? '', file), text);
      await expect(run('get', file.replace(/\..*/, ''))).rejects.toThrow(/is no address|has no "Addr"/);
    }
  });
});

describe('a plugin that fails', () => {
  it('is waited for while it cannot be reached, and not asked twice', async () => {
    const path = join(directory, 'late.sock');
    await writeFile(join(directories.specs[0] ?? '', 'late.spec'), `unix://${path}`);
    const asked = run('get', 'late');
    await new Promise((resolve) => setTimeout(resolve, 300));
    await serve(MODEST, path);
    expect(await asked).toEqual(lines('db'));
    expect(calls).toEqual(['/Plugin.Activate ', '/VolumeDriver.Get {"Name":"db"}']);
  });

  it.each<[string, Script, RegExp]>([
    ['is none for volumes', () => ({ body: { Implements: ['NetworkDriver'] } }), /is no volume driver/],
    ['answers with an error status', () => ({ status: 500, body: { Err: 'it broke' } }), /status 500: it broke/],
    ['answers with text', () => ({ body: 'hello' }), /no JSON/],
    [
      'answers with an Err',
      (path) => (path === '/Plugin.Activate' ? MODEST(path, '') : { body: { Err: 'no' } }),
      /: no$/,
    ],
  ])('%s', async (_what, script, message) => {
    await serve(script, join(directories.sockets, 'bad.sock'));
    await expect(run('unmount', 'bad')).rejects.toThrow(message);
  });
});

import { readdir, stat } from 'node:fs/promises';
import { request } from 'node:http';
import { connect } from 'node:net';
import { dirname } from 'node:path';
import { Client, credentials, Metadata, type ServiceError } from '@grpc/grpc-js';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Controller, Identity, Node } from '../../src/frontends/csi/generated/csi_pb.ts';
import { CsiBench } from '../../src/frontends/csi/testing/csi-bench.ts';
import { DockerBench } from '../../src/frontends/docker/testing/docker-bench.ts';
import { DvdcliBench } from '../../src/frontends/dvdcli/testing/dvdcli-bench.ts';
import { IsolatorBench } from '../../src/frontends/isolator/testing/isolator-bench.ts';
import { LocalBench } from '../../src/frontends/local/testing/local-bench.ts';
import { anyRequestBytes } from './any-request.ts';
import { tried, twisted } from './twisted.ts';

const NOBODY = 2 ** 22 + 1;
const ANSWER_MS = 10_000;

/** One request over a Unix socket. Rejects when there is no answer within ten seconds. */
function ask(
  socketPath: string,
  path: string,
  text: string,
  method = 'POST',
): Promise<{ status: number; body: string }> {
  return new Promise((resolve, reject) => {
    const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) };
    const options = {
      socketPath,
      path,
      method,
      headers,
      agent: false as const,
      signal: AbortSignal.timeout(ANSWER_MS),
    };
    const sent = request(options, (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (chunk: string) => (body += chunk));
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body }));
    });
    sent.on('error', reject);
    sent.end(text);
  });
}

/** What a peer that does not speak HTTP gets for these bytes, until the end of the connection. */
function raw(socketPath: string, bytes: Uint8Array): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(socketPath);
    let got = '';
    socket.setTimeout(ANSWER_MS, () => reject(new Error('the connection stayed open without an answer')));
    socket.on('data', (chunk: Buffer) => (got += chunk.toString('latin1')));
    socket.on('error', () => undefined);
    socket.on('close', () => resolve(got));
    socket.end(bytes);
  });
}

interface Target {
  readonly name: string;
  readonly socket: () => string;
  /** The longest body that it takes. */
  readonly mostBytes: number;
  /** Calls by path with a body that is in order. */
  readonly calls: Readonly<Record<string, () => object>>;
}

let local: LocalBench;
let isolator: IsolatorBench;
let docker: DockerBench;
let dvdcli: DvdcliBench;
beforeAll(async () => {
  [local, isolator, docker, dvdcli] = await Promise.all([
    LocalBench.start(),
    IsolatorBench.start(),
    DockerBench.start({ mountTimeoutMs: 500 }),
    DvdcliBench.start(),
  ]);
});
afterAll(async () => {
  await Promise.all([local.close(), isolator.close(), docker.close(), dvdcli.close()]);
});

const volume = { name: 'v', create: 'never', mode: 'rw' };
const container = { container_id: { value: 'c', parent: { value: 'p' } } };
const variables = [
  { name: 'FLOCKER_ID', value: 'v', type: 'VALUE' },
  { name: 'FLOCKER_CONTAINER_VOLUME_PATH', value: '/data', type: 'VALUE' },
];
const targets: readonly Target[] = [
  {
    name: 'the agent’s own socket',
    socket: () => local.socketPath,
    mostBytes: 64 * 2 ** 10,
    calls: {
      '/v1/acquire': () => ({ holder: { id: 'h', detail: '' }, volume, timeout_ms: 100 }),
      '/v1/release': () => ({ holder_id: 'h' }),
      '/v1/holders/run%2Fx/process': () => ({ pid: NOBODY, targets: ['/nowhere/x'] }),
    },
  },
  {
    name: 'the isolator’s socket',
    socket: () => isolator.socketPath,
    mostBytes: 64 * 2 ** 20,
    calls: {
      '/v1/isolator/prepare': () => ({
        ...container,
        container_config: {
          directory: isolator.directory,
          user: 'root',
          command_info: { environment: { variables } },
          task_info: { task_id: { value: 't' } },
          resources: [{ allocation_info: { role: '*' } }],
        },
        timeout_ms: 500,
      }),
      '/v1/isolator/isolate': () => container,
      '/v1/isolator/usage': () => container,
      '/v1/isolator/cleanup': () => container,
      '/v1/isolator/recover': () => ({ states: [container], orphans: [container.container_id] }),
    },
  },
  {
    name: 'the Docker plugin’s socket',
    socket: () => docker.socketPath,
    mostBytes: 64 * 2 ** 10,
    calls: {
      '/Plugin.Activate': () => ({}),
      '/VolumeDriver.Create': () => ({ Name: 'v', Opts: { size: '64Mi', profile: 'gold' } }),
      '/VolumeDriver.Mount': () => ({ Name: 'v', ID: 'x' }),
      '/VolumeDriver.Unmount': () => ({ Name: 'v', ID: 'x' }),
      '/VolumeDriver.Path': () => ({ Name: 'v' }),
      '/VolumeDriver.Get': () => ({ Name: 'v' }),
      '/VolumeDriver.List': () => ({}),
      '/VolumeDriver.Remove': () => ({ Name: 'v' }),
    },
  },
];

describe.each(targets)('$name', ({ socket, calls, mostBytes }) => {
  const call = fc
    .constantFrom(...Object.keys(calls))
    .chain((path) => twisted(fc.constant(null).map(() => calls[path]?.() ?? {})).map((body) => ({ path, body })));

  it('answers every twisted body in time, with no fault of its own, and goes on', async () => {
    await fc.assert(
      fc.asyncProperty(call, async ({ path, body }) => {
        const answer = await ask(socket(), path, JSON.stringify(body) ?? '');
        expect(answer.status, `${path} ${answer.body}`).not.toBe(500);
        expect(answer.body).not.toContain('its log says more');
        if (answer.body !== '') JSON.parse(answer.body);
      }),
      tried(200),
    );
  }, 60_000);

  it('answers what is no call or no HTTP with an error, or closes', async () => {
    const path = fc.oneof(fc.webPath(), fc.constantFrom(...Object.keys(calls)));
    const method = fc.constantFrom('GET', 'POST', 'PUT', 'DELETE', 'HEAD', 'OPTIONS');
    await fc.assert(
      fc.asyncProperty(path, method, fc.string(), async (asked, how, text) => {
        const { status } = await ask(socket(), asked === '' ? '/' : asked, how === 'HEAD' ? '' : text, how);
        expect(status).toBeGreaterThanOrEqual(200);
        expect(status).not.toBe(500);
      }),
      tried(80),
    );
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ minLength: 1, maxLength: 300 }), async (bytes) => {
        expect(await raw(socket(), bytes)).toMatch(/^$|^HTTP\/1\.1 4/);
      }),
      tried(60),
    );
  }, 60_000);

  it('reads no body without end', async () => {
    for (const path of Object.keys(calls)) {
      const answer = await ask(socket(), path, `{"x":"${'x'.repeat(mostBytes)}"}`).catch(String);
      if (typeof answer === 'string') expect(answer).toMatch(/EPIPE|ECONNRESET|socket hang up/);
      else expect([400, 404, 413]).toContain(answer.status);
    }
  }, 60_000);
});

it('dvdcli answers any arguments with a status, and words on one stream', async () => {
  const flag = fc.constantFrom(
    ...[
      '--volumedriver',
      '--volumedriver=flocker',
      '--volumename',
      '--volumename=v',
      '--volumeopts',
      '--explicitcreate',
    ],
    ...[
      'mount',
      'unmount',
      'create',
      'remove',
      'path',
      'get',
      'list',
      '--',
      '-h',
      '--volumeopts=size=1',
      '--volumeopts===',
    ],
  );
  const argument = fc.oneof({ arbitrary: flag, weight: 4 }, { arbitrary: fc.string(), weight: 1 });
  await fc.assert(
    fc.asyncProperty(fc.array(argument, { maxLength: 6 }), async (args) => {
      const drivers = args.filter((one) => one.startsWith('--volumedriver') && one !== '--volumedriver=flocker');
      fc.pre(drivers.length === 0);
      const { status, stdout, stderr } = await dvdcli.raw(...args);
      expect([0, 1, 2]).toContain(status);
      expect(stderr).not.toMatch(/TypeError|RangeError|undefined|its log says more/);
      if (status !== 0) expect(stdout === '' || stderr === '' || stderr.length > 0).toBe(true);
    }),
    tried(150),
  );
}, 60_000);

describe('CSI’s socket', () => {
  let csi: CsiBench;
  let client: Client;
  beforeAll(async () => {
    csi = await CsiBench.start();
    client = new Client(`unix://${csi.socketPath}`, credentials.createInsecure(), {
      'grpc.default_authority': 'localhost',
      'grpc.max_send_message_length': -1,
    });
  });
  afterAll(async () => {
    client.close();
    await csi.close();
  });

  const methods = [Identity, Controller, Node].flatMap((service) =>
    service.methods.map((method) => ({ path: `/${service.typeName}/${method.name}`, input: method.input })),
  );
  const send = (
    path: string,
    bytes: Uint8Array,
    metadata = new Metadata(),
  ): Promise<{ code: number; details: string }> =>
    new Promise((resolve) => {
      const deadline = { deadline: Date.now() + ANSWER_MS };
      const same = (part: Buffer): Buffer => part;
      const done = (error: ServiceError | null): void =>
        resolve(error === null ? { code: 0, details: '' } : { code: error.code, details: error.details });
      client.makeUnaryRequest(path, same, same, Buffer.from(bytes), metadata, deadline, done);
    });

  it('answers any request, in order or no message at all, with a status that means something', async () => {
    const before = await readdir(dirname(csi.directory));
    const places = [
      '',
      'relative',
      '/',
      '/proc/self/x',
      csi.path('a'),
      `${csi.path('b')}/../c`,
      `${csi.directory}/../../..`,
    ];
    const any = fc
      .constantFrom(...methods)
      .chain(({ path, input }) =>
        fc
          .oneof(
            { arbitrary: anyRequestBytes(input, places), weight: 4 },
            { arbitrary: fc.uint8Array({ maxLength: 200 }), weight: 1 },
          )
          .map((bytes) => ({ path, bytes })),
      );
    await fc.assert(
      fc.asyncProperty(any, async ({ path, bytes }) => {
        const { code, details } = await send(path, bytes);
        // 2 is unknown: a fault that nobody foresaw. 13 is also what gRPC answers to bytes that are no message.
        expect(code, details).not.toBe(2);
        if (code === 13) expect(details).toMatch(/deserializ/i);
      }),
      tried(300),
    );
    expect(
      (await readdir(dirname(csi.directory))).filter((name) => !before.includes(name) && /^(a|b|c)$/.test(name)),
    ).toEqual([]);
    await csi.create('after-all');
  }, 60_000);

  it('refuses a huge message and takes odd metadata', async () => {
    const [{ path } = { path: '' }] = methods;
    expect((await send(path, new Uint8Array(2 ** 20 + 1))).code).toBe(8);
    const odd = new Metadata();
    odd.set('x-bin', Buffer.from([0, 255]));
    odd.set('grpc-timeout-', '1');
    odd.set('long', 'x'.repeat(4_000));
    expect((await send(path, new Uint8Array(), odd)).code).toBe(0);
    expect((await send('/csi.v1.Identity/Nothing', new Uint8Array())).code).toBe(12);
    await csi.create('after-huge');
  });

  it('closes on bytes that are no HTTP/2', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ minLength: 1, maxLength: 200 }), async (bytes) => {
        await raw(csi.socketPath, bytes);
      }),
      tried(30),
    );
    await csi.create('after-noise');
  });
});

it('sockets are for their user only', async () => {
  for (const path of [local.socketPath, isolator.socketPath, docker.socketPath]) {
    expect((await stat(path)).mode & 0o777, path).toBe(0o600);
  }
  expect((await stat(dirname(local.socketPath))).mode & 0o777).toBe(0o700);
});

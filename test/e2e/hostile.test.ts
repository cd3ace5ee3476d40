import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { connect, type TLSSocket } from 'node:tls';
import { credentials, makeGenericClientConstructor } from '@grpc/grpc-js';
import fc from 'fast-check';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type ClientOptions, WebSocket } from 'ws';
import { AGENT_CHANNEL_PATH } from '../../src/api/agent-channel.ts';
import type { NodeCredentials } from '../support/fake-agent.ts';
import { FakeAgent } from '../support/fake-agent.ts';
import { eventually } from './support/eventually.ts';
import { nodeCertificateOf } from './support/node-certificate.ts';
import { unixBytes, unixCall } from './support/unix-call.ts';
import { type ClusterNode, UpCluster } from './support/up.ts';

/** Printed with every failure; the same one asks for the same things. */
const SEED = Number(process.env['HOSTILE_SEED'] ?? randomInt(2 ** 31));
const RUNS = 150;
const MIB = 2 ** 20;
/** More than any of the daemons takes, with all that is thrown at it. */
const MOST_GROWTH_BYTES = 300 * MIB;

const told = `HOSTILE_SEED=${SEED}`;
/** Values of every kind, with texts that something may trip over. */
const wildText = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 40 }),
  fc.constantFrom(
    '',
    '.',
    '..',
    '../../etc/passwd',
    '/',
    '/proc/self',
    'a\0b',
    '%2e%2e',
    '$(id)',
    '__proto__',
    'x'.repeat(5000),
    '\ud800',
  ),
  fc.uuid({ version: 4 }),
);
const wild: fc.Arbitrary<unknown> = fc.letrec((tie) => ({
  value: fc.oneof(
    { maxDepth: 4 },
    wildText,
    fc.oneof(fc.integer(), fc.double(), fc.constantFrom(-1, 0, 2 ** 53, 1e308, null, true, false)),
    fc.array(tie('value'), { maxLength: 4 }),
    fc.dictionary(fc.oneof(wildText, fc.constantFrom('id', 'name', 'value')), tie('value'), { maxKeys: 4 }),
  ),
})).value;
/** An object with some of these keys, and wild values or plausible ones in them. */
const objectOf = (keys: readonly string[], plausible: fc.Arbitrary<unknown>): fc.Arbitrary<object> =>
  fc.dictionary(
    fc.oneof({ weight: 9, arbitrary: fc.constantFrom(...keys) }, { weight: 1, arbitrary: wildText }),
    fc.oneof(wild, plausible),
    {
      maxKeys: keys.length + 1,
    },
  );
const deep = (depth: number): string => `${'['.repeat(depth)}${']'.repeat(depth)}`;

describe(`hostile input (${told})`, () => {
  let cluster: UpCluster;
  let node: ClusterNode;
  let stranger: NodeCredentials;
  let before: { readonly control: number; readonly agent: number };

  beforeAll(async () => {
    cluster = await UpCluster.start('--backend', 'directory', '--nodes', '1');
    node = await cluster.node(1);
    stranger = await nodeCertificateOf(cluster.directory);
  });
  afterAll(async () => {
    for (const name of ['control', 'node1']) {
      const log = await readFile(join(cluster.directory, 'logs', `${name}.log`), 'utf8');
      expect(log.split('\n').filter((line) => /"level":[56]0|TypeError|at .*\.js:\d/.test(line))).toEqual([]);
    }
    await cluster.remove();
  });
  beforeEach(async () => {
    before = { control: await cluster.pid('control'), agent: await cluster.pid(1) };
  });

  /** The daemons are the same processes, of about the same size, and serve. */
  const expectUnharmed = async (): Promise<void> => {
    expect({ control: await cluster.pid('control'), agent: await cluster.pid(1) }, told).toEqual(before);
    for (const pid of Object.values(before)) expect(await residentBytes(pid), told).toBeLessThan(MOST_GROWTH_BYTES);
    expect((await unixCall(node.socket, 'GET', '/v1/status')).status, told).toBe(200);
    expect((await (await cluster.api()).get('/v1/version')).status, told).toBe(200);
  };
  const assert = (property: fc.IAsyncProperty<[never] | unknown[]>, numRuns = RUNS): Promise<void> =>
    fc.assert(property as fc.IAsyncProperty<unknown[]>, { seed: SEED, numRuns, endOnFailure: true });

  const SOCKETS = ['socket', 'isolator', 'docker', 'csi'] as const;

  it.each(SOCKETS)('bytes of any kind on the socket "%s"', async (name) => {
    const path = pathOf(node, name);
    await assert(
      fc.asyncProperty(
        fc.uint8Array({ maxLength: 2000 }),
        fc.constantFrom(
          '',
          'GET / HTTP/1.1\r\n',
          'POST /v1/acquire HTTP/1.1\r\ncontent-length: 99999\r\n\r\n',
          'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
        ),
        async (bytes, head) => {
          await unixBytes(path, Buffer.concat([Buffer.from(head), bytes]), 20);
        },
      ),
      60,
    );
    await expectUnharmed();
  });

  it.each(SOCKETS)('many connections that say nothing on the socket "%s"', async (name) => {
    const path = pathOf(node, name);
    const silent = Array.from({ length: 500 }, () => unixBytes(path, Buffer.alloc(0), 3_000));
    await expectUnharmed();
    await Promise.all(silent);
    await expectUnharmed();
  });

  const CALLS: readonly (readonly [string, 'socket' | 'isolator', readonly string[], fc.Arbitrary<unknown>])[] = [
    [
      '/v1/acquire',
      'socket',
      ['holder', 'volume', 'timeout_ms'],
      fc.oneof(
        fc.constant(1),
        objectOf(['id', 'kind', 'detail', 'name', 'size', 'profile', 'create', 'mode'], wildText),
      ),
    ],
    ['/v1/release', 'socket', ['holder_id', 'delete_if_created'], fc.boolean()],
    ['/v1/holders/run-1/process', 'socket', ['pid', 'targets'], fc.oneof(fc.integer(), fc.array(wildText))],
    [
      '/v1/isolator/prepare',
      'isolator',
      ['container_id', 'container_config', 'timeout_ms'],
      objectOf(
        ['value', 'parent', 'command_info', 'environment', 'directory', 'rootfs', 'user', 'container_info'],
        objectOf(
          ['variables', 'name', 'value'],
          fc.array(objectOf(['name', 'value', 'type'], fc.constantFrom('FLOCKER_CONTAINER_VOLUME_PATH', 'FLOCKER_ID'))),
        ),
      ),
    ],
    ['/v1/isolator/usage', 'isolator', ['container_id'], objectOf(['value', 'parent'], wildText)],
    ['/v1/isolator/cleanup', 'isolator', ['container_id'], objectOf(['value', 'parent'], wildText)],
    ['/v1/isolator/isolate', 'isolator', ['container_id', 'pid'], objectOf(['value'], wildText)],
    [
      '/v1/isolator/recover',
      'isolator',
      ['states', 'orphans'],
      fc.array(objectOf(['container_id', 'value'], objectOf(['value'], wildText)), { maxLength: 3 }),
    ],
  ];

  it.each(CALLS)('calls of %s with anything in them', async (path, socket, keys, plausible) => {
    await assert(
      fc.asyncProperty(
        fc.oneof({ weight: 8, arbitrary: objectOf(keys, plausible) }, { weight: 1, arbitrary: wild }),
        async (body) => {
          const { status, body: said } = await unixCall(pathOf(node, socket), 'POST', path, JSON.stringify(body) ?? '');
          if (status >= 500) expect(said, `${told}: ${JSON.stringify(body)}`).not.toContain('internal');
          expect(JSON.parse(said || '{}')).toBeTypeOf('object');
        },
      ),
    );
    await expectUnharmed();
  });

  it('calls of Docker with anything in them', async () => {
    const paths = ['Create', 'Remove', 'Mount', 'Unmount', 'Path', 'Get', 'List', 'Capabilities'];
    const body = objectOf(['Name', 'ID', 'Opts'], objectOf(['size', 'profile', 'filesystem', 'create'], wildText));
    await assert(
      fc.asyncProperty(fc.constantFrom(...paths), fc.oneof(body, wild), async (path, sent) => {
        // A volume that could be made would be.
        const named =
          typeof sent === 'object' && sent !== null && 'Name' in sent && path === 'Create'
            ? { ...sent, Name: '..' }
            : sent;
        const { status, body: said } = await unixCall(
          node.docker,
          'POST',
          `/VolumeDriver.${path}`,
          JSON.stringify(named) ?? '',
        );
        expect([200, 400], `${told}: ${path} ${JSON.stringify(sent)}: ${said}`).toContain(status);
        expect(JSON.parse(said)).toBeTypeOf('object');
      }),
    );
    await expectUnharmed();
  });

  it.each(['socket', 'isolator', 'docker'] as const)('deep, long and torn bodies on the socket "%s"', async (name) => {
    const path = name === 'docker' ? '/VolumeDriver.Get' : name === 'isolator' ? '/v1/isolator/prepare' : '/v1/acquire';
    const bodies = [
      deep(100_000),
      '{"a":'.repeat(50_000),
      `{"holder":"${'x'.repeat(2 * MIB)}"}`,
      '{"holder":',
      '\ufeff{}',
      Buffer.from([0x7b, 0xff, 0xfe, 0x7d]),
    ];
    for (const body of bodies) {
      const answer = await unixCall(pathOf(node, name), 'POST', path, body).catch(() => ({ status: 0 }));
      expect(answer.status, String(body).slice(0, 20)).toBeLessThan(500);
    }
    for (const method of ['PUT', 'PATCH', 'TRACE', 'OPTIONS'])
      expect((await unixCall(pathOf(node, name), method, '/nowhere')).status).toBeLessThan(500);
    await expectUnharmed();
  });

  it('messages of any kind to CSI', async () => {
    const pass = (bytes: Buffer): Buffer => bytes;
    const call = {
      requestStream: false,
      responseStream: false,
      requestSerialize: pass,
      requestDeserialize: pass,
      responseSerialize: pass,
      responseDeserialize: pass,
    };
    const METHODS = [
      'Identity/Probe',
      'Controller/CreateVolume',
      'Controller/DeleteVolume',
      'Controller/ListVolumes',
      'Controller/ControllerPublishVolume',
      'Node/NodeStageVolume',
      'Node/NodePublishVolume',
      'Node/NodeUnpublishVolume',
      'Node/NodeGetVolumeStats',
      'Controller/NoSuch',
    ];
    const Client = makeGenericClientConstructor(
      Object.fromEntries(METHODS.map((method) => [method, { ...call, path: `/csi.v1.${method}` }])),
      'csi',
    );
    const client = new Client(`unix:${node.csi}`, credentials.createInsecure(), {
      'grpc.default_authority': 'localhost',
    });
    const ask = (method: string, bytes: Buffer): Promise<number> =>
      new Promise((resolve) => {
        client.makeUnaryRequest(`/csi.v1.${method}`, pass, pass, bytes, { deadline: Date.now() + 20_000 }, (error) =>
          resolve(error?.code ?? 0),
        );
      });
    try {
      await assert(
        fc.asyncProperty(
          fc.constantFrom(...METHODS),
          fc.oneof(fc.uint8Array({ maxLength: 300 }), protobuf),
          async (method, bytes) => {
            // 2 is UNKNOWN, for what nobody thought of; 4 that it took too long.
            expect([2, 4], `${told}: ${method} ${Buffer.from(bytes).toString('hex')}`).not.toContain(
              await ask(method, Buffer.from(bytes)),
            );
          },
        ),
        300,
      );
      expect(await ask('Controller/CreateVolume', Buffer.alloc(5 * MIB))).not.toBe(0);
      expect(await ask('Identity/Probe', Buffer.alloc(0))).toBe(0);
    } finally {
      client.close();
    }
    await expectUnharmed();
  });

  it('messages of any kind from a node with a certificate of the cluster', async () => {
    const { control } = await cluster.json();
    const port = await agentsPort(cluster);
    expect(control.url).toContain('127.0.0.1');
    const keys = [
      'kind',
      'protocol',
      'era',
      'host',
      'version',
      'backend',
      'pool',
      'profiles',
      'has',
      'reports',
      'figures',
      'volumes',
      'copies',
    ];
    const plausible = fc.oneof(
      fc.constantFrom('hello', 'report', 'storage', 'snapshotReport', 'copyReport', 1),
      fc.array(objectOf(['datasetId', 'order', 'busy', 'state', 'problem', 'copy'], wildText), { maxLength: 2 }),
    );
    await assert(
      fc.asyncProperty(
        fc.array(fc.oneof(objectOf(keys, plausible), wild), { maxLength: 3 }),
        fc.boolean(),
        async (messages, polite) => {
          const agent = polite
            ? await FakeAgent.join(port, stranger, { backend: 'directory', pool: 'elsewhere' })
            : await FakeAgent.dial(port, stranger);
          for (const message of messages) agent.send(JSON.stringify(message) ?? '');
          agent.cut();
        },
      ),
      60,
    );
    for (const message of ['', '{', deep(100_000), Buffer.alloc(1000, 255), `"${'x'.repeat(65 * MIB)}"`]) {
      const agent = await FakeAgent.dial(port, stranger);
      agent.send(message);
      await eventually(() => expect(agent.open).toBe(false), 20_000);
    }
    const { nodeId: _, ...tls } = stranger;
    for (const path of ['/', '/v1/agent/../x', `${AGENT_CHANNEL_PATH}?x=1`]) {
      const options: ClientOptions & { servername: string } = { ...tls, servername: 'control-service' };
      const socket = new WebSocket(`wss://127.0.0.1:${port}${path}`, options);
      const [error] = (await once(socket, 'error').catch((failure: unknown) => [failure])) as [Error];
      expect(error.message).toContain('404');
    }
    await expectUnharmed();
  });

  it('bytes of any kind, requests that never end and idle connections on the REST API', async () => {
    const { control } = await cluster.json();
    const target = {
      host: '127.0.0.1',
      port: Number(new URL(control.url).port),
      ...(await cluster.user()),
      servername: 'control-service',
    };
    const open = async (): Promise<TLSSocket> => {
      const socket = connect(target);
      socket.on('error', () => undefined);
      socket.resume();
      await once(socket, 'secureConnect');
      return socket;
    };
    await assert(
      fc.asyncProperty(
        fc.uint8Array({ maxLength: 2000 }),
        fc.constantFrom(
          '',
          'GET /v1/version HTTP/1.1\r\n',
          'POST /v1/configuration/datasets HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n',
        ),
        async (bytes, head) => {
          const socket = await open();
          socket.end(Buffer.concat([Buffer.from(head), bytes]));
          await new Promise((resolve) => setTimeout(resolve, 5));
          socket.destroy();
        },
      ),
      60,
    );
    const long = await open();
    long.write(`GET /v1/version HTTP/1.1\r\nhost: x\r\nlong: ${'x'.repeat(MIB)}\r\n\r\n`);
    await new Promise((resolve) => long.once('close', resolve));
    const idle = await Promise.all(Array.from({ length: 1000 }, open));
    await expectUnharmed();
    for (const socket of idle) socket.destroy();
    await expectUnharmed();
  });
});

/** Fields as protobuf writes them: plausible numbers, wire types and lengths, and wild contents. */
const protobuf: fc.Arbitrary<Uint8Array> = fc
  .array(
    fc.tuple(
      fc.integer({ min: 1, max: 12 }),
      fc.constantFrom(0, 1, 2, 5),
      fc.uint8Array({ maxLength: 40 }),
      fc.boolean(),
    ),
    { maxLength: 6 },
  )
  .map((fields) =>
    Buffer.concat(
      fields.map(([number, wire, bytes, lies]) => {
        const body =
          wire === 2
            ? [Buffer.of(lies ? 127 : bytes.length), bytes]
            : [
                wire === 0
                  ? Buffer.of(bytes[0] ?? 0)
                  : Buffer.concat([bytes, Buffer.alloc(8)]).subarray(0, wire === 1 ? 8 : 4),
              ];
        return Buffer.concat([Buffer.of((number << 3) | wire), ...body]);
      }),
    ),
  );

function pathOf(node: ClusterNode, name: 'socket' | 'isolator' | 'docker' | 'csi'): string {
  return node[name];
}

async function agentsPort(cluster: UpCluster): Promise<number> {
  const settings = JSON.parse(await readFile(join(cluster.directory, 'settings.json'), 'utf8')) as {
    agentsPort: number;
  };
  return settings.agentsPort;
}

async function residentBytes(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return 1024 * Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1]);
}

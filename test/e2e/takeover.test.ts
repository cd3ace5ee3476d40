import { randomUUID } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { connectFlocker } from '../../src/client/connect-flocker.ts';
import type { FlockerClient } from '../../src/client/flocker-client.ts';
import { systemClock } from '../../src/kit/clock.ts';
import { type DatasetId, type NodeId, newDatasetId, parseNodeId } from '../../src/kit/ids.ts';
import { silentLogger } from '../../src/kit/logger.ts';
import { etcdSkipReason, TestEtcd } from '../support/etcd.ts';
import { MesosOperatorApi } from '../support/mesos-operator-api.ts';
import { eventually } from './support/eventually.ts';
import { type Program, start } from './support/program.ts';
import { UpCluster } from './support/up.ts';

const HOSTS = ['127.0.0.21', '127.0.0.22', '127.0.0.23'];
const TIMEOUT_MS = 60_000;
const MIB = 2 ** 20;
const skip = await etcdSkipReason();
const soon = (ms = TIMEOUT_MS): AbortSignal => AbortSignal.timeout(ms);

describe.skipIf(skip !== null)(`several control services${skip ?? ''}`, () => {
  let etcd: TestEtcd;
  let mesos: MesosOperatorApi;
  let cluster: UpCluster;
  let ports: { readonly rest: string; readonly agents: string };
  let controls: Program[];
  let agents: Program[];
  let client: FlockerClient;
  let node: NodeId;

  beforeAll(async () => {
    etcd = await TestEtcd.start(3);
    mesos = await MesosOperatorApi.start();
    cluster = await UpCluster.start('--backend', 'directory', '--nodes', '2');
    const { control } = await cluster.json();
    ports = { rest: new URL(control.url).port, agents: new URL(control.agents_url).port };
    node = parseNodeId((await cluster.node(1)).uuid) as NodeId;
    expect(await cluster.stop()).toMatchObject({ status: 0, stderr: '' });
    for (const number of [1, 2]) {
      const path = join(cluster.directory, `node${number}`, 'agent.yml');
      const yml = await readFile(path, 'utf8');
      await writeFile(path, yml.replace('hostname: 127.0.0.1', `hostname: ${HOSTS.join(',')}`));
    }
    controls = HOSTS.map((host) => startControl(host));
    await leader();
    agents = [1, 2].map((number) =>
      start(
        'flocker',
        ['agent', '--agent-config', join(cluster.directory, `node${number}`, 'agent.yml')],
        cluster.scratch.env,
      ),
    );
    client = connectFlocker({
      urls: HOSTS.map(urlOf),
      ...{ tls: await cluster.user(), clock: systemClock, random: Math.random, logger: silentLogger },
    });
    await connected();
  }, 120_000);
  afterAll(async () => {
    await client.close();
    for (const program of [...agents, ...controls]) program.kill('SIGTERM');
    for (const program of [...agents, ...controls]) await program.ended;
    await cluster.remove();
    await mesos.close();
    await etcd.dispose();
  });

  const urlOf = (host: string): string => `https://${host}:${ports.rest}`;
  const startControl = (host: string): Program =>
    start(
      'flocker',
      [
        ...[
          'control',
          '--store',
          `${etcd.url}/takeover`,
          '--certificates-directory',
          join(cluster.directory, 'control'),
        ],
        ...['--port', `tcp:${ports.rest}:interface=${host}`, '--agent-port', `tcp:${ports.agents}:interface=${host}`],
        ...['--mesos-master', mesos.url],
      ],
      cluster.scratch.env,
    );
  const leads = (program: Program): boolean => program.running && program.stdout.includes('control service listens');
  /** The one that leads, once there is one and no other. */
  const leader = async (): Promise<number> => {
    let index = -1;
    await eventually(() => {
      expect(controls.filter(leads)).toHaveLength(1);
      index = controls.findIndex(leads);
    }, TIMEOUT_MS);
    return index;
  };
  const connected = (): Promise<void> =>
    eventually(async () => {
      const nodes = await client.inspectNodes(soon(5_000));
      expect(nodes?.filter((each) => each.connected)).toHaveLength(2);
    }, TIMEOUT_MS);
  const create = async (id: DatasetId): Promise<void> => {
    await client.createDataset(
      { primary: node, datasetId: id, maximumSizeBytes: 64 * MIB, metadata: { name: id } },
      { kind: 'none' },
      soon(15_000),
    );
  };
  /** Creates datasets until told to stop; those that were answered with 2xx. */
  const load = (): { readonly acknowledged: DatasetId[]; readonly stop: () => Promise<void> } => {
    const acknowledged: DatasetId[] = [];
    const over = new AbortController();
    const worker = async (): Promise<void> => {
      while (!over.signal.aborted) {
        const id = newDatasetId(randomUUID);
        await create(id).then(
          () => acknowledged.push(id),
          () => pause(20),
        );
      }
    };
    const workers = [1, 2, 3, 4].map(worker);
    return {
      acknowledged,
      stop: async () => {
        over.abort();
        await Promise.all(workers);
      },
    };
  };
  const expectAll = async (ids: readonly DatasetId[]): Promise<void> => {
    const { datasets } = await client.listDatasets(soon());
    const known = new Set(datasets.map(({ dataset_id: id }) => id));
    expect(ids.filter((id) => !known.has(id))).toEqual([]);
    expect(ids.length).toBeGreaterThan(20);
  };
  const clear = async (ids: readonly DatasetId[]): Promise<void> => {
    for (const id of ids) await client.deleteDataset(id, { kind: 'none' }, soon());
  };

  it('listen to Mesos with the one that leads', async () => {
    for (let round = 0; round < 2; round += 1) {
      const index = await leader();
      await controls[index]?.says('subscribed to the leading Mesos master');
      await eventually(() => expect(mesos.subscribers).toBe(1), TIMEOUT_MS);
      controls[index]?.kill('SIGTERM');
      expect(await controls[index]?.ended).toMatchObject({ status: 0 });
      controls[index] = startControl(HOSTS[index] ?? '');
    }
    // Nobody listened but those who led.
    expect(mesos.calls).toEqual(['SUBSCRIBE', 'SUBSCRIBE']);
    await leader();
    await connected();
  });

  it.each(['SIGKILL', 'SIGTERM'] as const)(
    'take over from one that ends by %s, with all that was acknowledged',
    async (signal) => {
      const old = await leader();
      const { acknowledged, stop } = load();
      await eventually(() => expect(acknowledged.length).toBeGreaterThan(20), TIMEOUT_MS);
      const beganMs = performance.now();
      controls[old]?.kill(signal);
      const ended = await controls[old]?.ended;
      expect(ended?.signal ?? ended?.status).toBe(signal === 'SIGKILL' ? 'SIGKILL' : 0);
      const before = acknowledged.length;
      await eventually(() => expect(acknowledged.length).toBeGreaterThan(before), TIMEOUT_MS, 10);
      const tookMs = performance.now() - beganMs;
      // The lease lasts 3 s; one that is given up is free at once. The rest is for a busy machine.
      expect(tookMs).toBeLessThan(signal === 'SIGKILL' ? 15_000 : 10_000);
      await pause(500);
      await stop();
      await expectAll(acknowledged);
      await connected();
      const id = newDatasetId(randomUUID);
      await create(id);
      await client.waitUntilMounted(id, node, () => undefined, soon());
      controls[old] = startControl(HOSTS[old] ?? '');
      await clear([...acknowledged, id]);
    },
  );

  it('take over from one that is halted, which changes nothing and ends when it goes on', async () => {
    const old = await leader();
    const halted = controls[old];
    if (halted === undefined) throw new Error('nobody leads');
    const direct = connectFlocker({
      urls: [urlOf(HOSTS[old] ?? '')],
      ...{
        tls: await cluster.user(),
        clock: systemClock,
        random: Math.random,
        logger: silentLogger,
        requestTimeoutMs: 30_000,
      },
    });
    await direct.listDatasets(soon());
    halted.kill('SIGSTOP');
    // Written to its connection and waiting there when it goes on.
    const [read, write] = [
      direct.listDatasets(soon()).then(() => 'answered', String),
      direct
        .createDataset({ primary: node, datasetId: newDatasetId(randomUUID), metadata: {} }, { kind: 'none' }, soon())
        .then(() => 'answered', String),
    ];
    const id = newDatasetId(randomUUID);
    await eventually(
      () => create(id).catch((error: unknown) => expect(String(error)).toContain('already')),
      TIMEOUT_MS,
    );
    halted.kill('SIGCONT');
    expect(await halted.ended).toMatchObject({
      status: 1,
      stdout: expect.stringContaining('no longer leads') as string,
    });
    expect([await read, await write]).not.toContain('answered');
    await direct.close();
    await connected();
    await client.waitUntilMounted(id, node, () => undefined, soon());
    controls[old] = startControl(HOSTS[old] ?? '');
    expect((await client.listDatasets(soon())).datasets.map(({ dataset_id: each }) => each)).toContain(id);
    await clear([id]);
  });

  it('give tasks their volumes while etcd loses a member', async () => {
    etcd.signalMember(0, 'SIGKILL');
    const id = newDatasetId(randomUUID);
    await create(id);
    await client.waitUntilMounted(id, node, () => undefined, soon());
    await etcd.startMember(0);
    await leader();
    await clear([id]);
  });

  it('are refused options that do not go together, and wait for an etcd that is not there', async () => {
    const refused = (...args: readonly string[]): Promise<unknown> =>
      start('flocker', ['control', ...args], cluster.scratch.env).ended;
    expect(await refused('--store', 'http://x')).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('etcd://host1') as string,
    });
    expect(await refused('--etcd-ca', '/x')).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('--store') as string,
    });
    const waiting = start(
      'flocker',
      ['control', '--store', 'etcd://127.0.0.1:1', '--certificates-directory', join(cluster.directory, 'control')],
      cluster.scratch.env,
    );
    await waiting.says('waiting for etcd');
    waiting.kill('SIGTERM');
    await waiting.ended;
  });
});

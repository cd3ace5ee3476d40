import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { cephSkipReason } from '../support/ceph-cluster.ts';
import { MesosOperatorApi, markAgentGone, nodeAttribute } from '../support/mesos-operator-api.ts';
import { CephNodes } from './support/ceph-nodes.ts';
import { eventually } from './support/eventually.ts';
import { type Program } from './support/program.ts';
import { expectSequence, lastRecord, WRITER } from './support/records.ts';
import type { UpCluster } from './support/up.ts';

const TIMEOUT_MS = 90_000;
const skip = await cephSkipReason();

describe.skipIf(skip !== null)(`a control service that listens to Mesos, with volumes on Ceph${skip ?? ''}`, () => {
  let master: MesosOperatorApi;
  let standby: MesosOperatorApi;
  let nodes: CephNodes;
  let cluster: UpCluster;

  beforeAll(async () => {
    [master, standby] = await Promise.all([MesosOperatorApi.start(), MesosOperatorApi.start()]);
    standby.follow = master.url;
    master.beatEvery(500);
    nodes = await CephNodes.start('--mesos-master', standby.url);
    cluster = nodes.cluster;
    await nodes.control.says('subscribed to the leading Mesos master', TIMEOUT_MS);
  }, 120_000);
  afterAll(async () => {
    await nodes.remove();
    await Promise.all([master.close(), standby.close()]);
  }, 120_000);

  /** Starts a task with the volume; it has written a few records when this resolves. */
  const write = async (number: number): Promise<Program> => {
    const writer = cluster.run(number, '--timeout', '80', '-v', 'web:/mnt,size=64MiB', '--', ...WRITER);
    await writer.says(/\d+\n\d+\n\d+\n/, TIMEOUT_MS);
    return writer;
  };
  const read = (number: number): Program =>
    cluster.run(number, '--timeout', '80', '-v', 'web:/mnt', '--', 'cat', '/mnt/records');

  /** The address of a node, as the control service knows it. */
  const hostOf = async (number: number): Promise<string> => {
    const { uuid } = await cluster.node(number);
    const { json } = await (await cluster.api()).get('/v1/inspect/nodes');
    const node = (json as { uuid: string; host: string }[]).find((one) => one.uuid === uuid);
    return node?.host ?? '';
  };

  it(
    'cuts off a silent node once its agent was marked gone, and not when the master has lost it',
    async () => {
      const { id } = master.register({ address: await hostOf(1) });
      master.register({ address: await hostOf(2) });
      const writer = await write(1);
      await nodes.killAgent(1);
      master.lose(id);
      const reader = read(2);
      await nodes.control.says('nobody marked it gone', TIMEOUT_MS);
      expect(writer.running).toBe(true);

      expect(await markAgentGone(master.url, id)).toBe(200);
      const ended = await reader.ended;
      expect(ended).toMatchObject({ status: 0, stderr: '' });
      await eventually(() => expect(writer.running).toBe(false), TIMEOUT_MS);
      expectSequence(ended.stdout, lastRecord(writer.stdout));
      expect(nodes.control.stdout).toMatch(/marked the agent of a silent node gone/);
    },
    3 * TIMEOUT_MS,
  );

  it(
    'leaves a node alone that is connected, and does not wait when it leaves',
    async () => {
      await nodes.startAgent(1);
      await cluster.connected();
      const { uuid } = await cluster.node(1);
      const { id } = master.register({ hostname: 'one', attributes: [nodeAttribute(uuid)] });
      const shown = async (): Promise<string> => (await cluster.ctl('nodes')).stdout;
      await eventually(async () => expect(await shown()).toContain(`one (${id})`), TIMEOUT_MS);
      const writer = await write(1);
      expect(await markAgentGone(master.url, id)).toBe(200);
      const told = writer.stdout.length;
      await eventually(() => expect(writer.stdout.length).toBeGreaterThan(told), TIMEOUT_MS);
      await cluster.connected();
      expect(nodes.control.stdout.match(/is declared dead and cut off/g)).toHaveLength(1);

      await nodes.killAgent(1);
      const ended = await read(2).ended;
      expect(ended).toMatchObject({ status: 0, stderr: '' });
      await eventually(() => expect(writer.running).toBe(false), TIMEOUT_MS);
      expectSequence(ended.stdout, lastRecord(writer.stdout));
      const metrics = await (await cluster.api()).raw({ method: 'GET', path: '/metrics' });
      expect(metrics.body.toString()).toContain('flocker_control_nodes_declared_dead_total{by="mesos"} 2');
      await nodes.startAgent(1);
      await cluster.connected();
    },
    3 * TIMEOUT_MS,
  );
});

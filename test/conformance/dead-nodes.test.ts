import { randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Hello } from '../../src/api/agent-channel.ts';
import { type ClusterRun, clusterRun } from '../support/cluster-run.ts';
import { LEASES } from '../support/contract-bodies.ts';
import { startTestControl, type TestControl } from '../support/control.ts';
import { FakeAgent, helloOf } from '../support/fake-agent.ts';
import { ManualClock } from '../support/manual-clock.ts';
import { Member } from '../support/member.ts';

const clock = new ManualClock();
let control: TestControl;
let cluster: ClusterRun;
let a: Member;
let b: Member;

beforeAll(async () => {
  control = await startTestControl({ clock, store: 'level' });
  cluster = clusterRun(() => control);
});
beforeEach(async () => {
  a = await Member.start(cluster, await control.certificates.node(), { host: '10.0.0.1' });
  b = await Member.start(cluster, await control.certificates.node(), { host: '10.0.0.2' });
});
afterEach(() => cluster.cutAll());
afterAll(() => control.close());

const declare = (node: string): ReturnType<TestControl['api']['post']> =>
  control.api.post(`/v1/nodes/${node}/declare-dead`, {});
const nodeOf = async (uuid: string): Promise<{ connected: boolean; declared_dead?: string } | undefined> => {
  const { json } = await control.api.get('/v1/inspect/nodes');
  return (json as unknown as { uuid: string; connected: boolean }[]).find((node) => node.uuid === uuid);
};
async function mountedOnA(): Promise<string> {
  const id = await cluster.create(a.id);
  await a.mounts(id);
  await cluster.shows(id, { status: 'mounted' });
  return id;
}
async function dies(member: Member): Promise<void> {
  member.agent.cut();
  await expect.poll(() => nodeOf(member.id), { interval: 5 }).toMatchObject({ connected: false });
}
/** What a hello of a node that was declared dead is answered. */
async function refusal(member: Member, fields: Partial<Hello>): Promise<string | undefined> {
  const agent = await FakeAgent.dial(control.agentPort, member.credentials);
  agent.send(helloOf(fields));
  await agent.until(() => agent.messages.length > 0, 'an answer');
  const [message] = agent.messages;
  agent.cut();
  return message?.kind === 'refused' ? message.declaration : undefined;
}

describe('POST /v1/nodes/<uuid>/declare-dead (addition)', () => {
  it('is refused for nodes that are connected, unknown, or no nodes', async () => {
    expect(await declare(a.id)).toMatchObject({ status: 409, json: { description: 'The node is connected.' } });
    expect(await declare(randomUUID())).toMatchObject({ status: 404 });
    expect(await declare('node')).toMatchObject({ status: 400 });
    expect(await nodeOf(a.id)).not.toHaveProperty('declared_dead');
  });

  it('lets another node have its volumes, which is told whose they were', async () => {
    const id = await mountedOnA();
    await dies(a);
    await cluster.move(id, b.id);
    expect(await cluster.inspect(id)).toMatchObject({ holder: a.id, problem: { code: 'node_away' } });
    const { status, json } = await declare(a.id);
    expect([status, json]).toMatchObject([200, { uuid: a.id, datasets: [id], leases: [] }]);
    expect(await b.agent.ordered(id, 'mounted')).toMatchObject({ mayCreate: false, leftBy: [a.id] });
    b.becomes(id, 'mounted');
    await cluster.shows(id, { holder: b.id, status: 'mounted', problem: null });
    await cluster.move(id, a.id);
    await b.releases(id);
    await cluster.shows(id, { holder: null, status: 'detached' });
  });

  it('is said once: a second time changes nothing', async () => {
    const id = await mountedOnA();
    await dies(a);
    const first = await declare(a.id);
    expect(await declare(a.id)).toMatchObject({ status: 200, json: { datasets: [], leases: [] } });
    expect((await nodeOf(a.id))?.declared_dead).toBe((first.json as { declared_dead: string }).declared_dead);
    await cluster.shows(id, { holder: null, status: 'detached' });
  });

  it('ends its leases, and gives it none', async () => {
    const id = await mountedOnA();
    await cluster.lease(id, a.id, null);
    await dies(a);
    expect(await declare(a.id)).toMatchObject({ json: { leases: [id] } });
    expect(await cluster.inspect(id)).toMatchObject({ lease: null });
    const lease = { dataset_id: id, node_uuid: a.id, expires: null };
    expect(await control.api.post(LEASES, lease)).toMatchObject({ status: 409 });
    await cluster.lease(id, b.id, null);
  });

  it('lets what is deleted be destroyed by another node of the pool', async () => {
    const id = await mountedOnA();
    await dies(a);
    await cluster.remove(id);
    await declare(a.id);
    const holder = (await cluster.inspect(id)).holder;
    // Any node of the pool does; the tests before this one left some behind.
    if (holder === b.id) {
      expect(await b.agent.ordered(id, 'destroyed')).toMatchObject({ leftBy: [a.id] });
      await b.destroys(id);
      await cluster.shows(id, { status: 'deleted' });
    } else expect(holder).not.toBe(a.id);
  });

  it('remembers a node that died before it took over what another had left', async () => {
    const id = await mountedOnA();
    const c = await Member.start(cluster, await control.certificates.node(), { host: '10.0.0.3' });
    await dies(a);
    await cluster.move(id, b.id);
    await declare(a.id);
    await b.agent.ordered(id, 'mounted');
    await dies(b);
    await cluster.move(id, c.id);
    await declare(b.id);
    expect(await c.agent.ordered(id, 'mounted')).toMatchObject({ leftBy: [a.id, b.id] });
    c.becomes(id, 'elsewhere');
    await cluster.heardAll(c.agent);
    expect(c.agent.order(id)).toMatchObject({ leftBy: [a.id, b.id] });
    c.becomes(id, 'attached');
    await cluster.heardAll(c.agent);
    expect(c.agent.order(id)).not.toHaveProperty('leftBy');
  });

  it('is durable, and keeps the node out until it has acknowledged it', async () => {
    const id = await mountedOnA();
    await dies(a);
    await declare(a.id);
    b.agent.cut();
    await control.restart();
    b = await Member.start(cluster, b.credentials, { host: '10.0.0.2' });
    const declaration = await refusal(a, {});
    expect(declaration).toMatch(/^[0-9a-f-]{36}$/);
    expect(await refusal(a, { acknowledges: randomUUID() })).toBe(declaration);
    expect(await cluster.inspect(id)).toMatchObject({ holder: null });
    const back = await cluster.join(a.credentials, { acknowledges: declaration ?? '' });
    expect(await back.ordered(id, 'mounted')).toMatchObject({ mayCreate: false });
    expect(await nodeOf(a.id)).toMatchObject({ connected: true });
    expect(await nodeOf(a.id)).not.toHaveProperty('declared_dead');
    await control.restart();
    const again = await cluster.join(a.credentials);
    await again.ordered(id, 'mounted');
  });
});

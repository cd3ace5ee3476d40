import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { LONGEST_MESSAGE_BYTES } from '../../src/api/agent-channel.ts';
import type { StorageView } from '../../src/api/storage.ts';
import { type ClusterRun, clusterRun } from '../support/cluster-run.ts';
import { newId } from '../support/contract-bodies.ts';
import { startTestControl, type TestControl } from '../support/control.ts';
import { FakeAgent, helloOf, mountedState, type NodeCredentials, storageOf } from '../support/fake-agent.ts';
import { ManualClock } from '../support/manual-clock.ts';

const clock = new ManualClock();
let control: TestControl;
let cluster: ClusterRun;
let node: NodeCredentials;
beforeAll(async () => {
  control = await startTestControl({ clock });
  cluster = clusterRun(() => control);
});
beforeEach(async () => {
  node = await control.certificates.node();
});
afterEach(() => cluster.cutAll());
afterAll(() => control.close());

async function nodeIds(): Promise<string[]> {
  const { json } = await control.api.get('/v1/state/nodes');
  return (json as { uuid: string }[]).map(({ uuid }) => uuid);
}

describe('a connection of an agent', () => {
  it('gets its full orders as the answer to hello, empty when there are none', async () => {
    const agent = await cluster.join(node);
    expect(agent.messages).toEqual([{ kind: 'orders', full: true, orders: [], withdrawn: [] }]);
  });

  it('gets only what concerns its node, with everything it needs to make it', async () => {
    const other = await cluster.join(await control.certificates.node());
    const agent = await cluster.join(node);
    const metadata = { name: 'x', 'clusterhq:flocker:profile': 'gold' };
    const id = await cluster.create(node.nodeId, { maximum_size: 67108864, metadata });
    const order = await agent.ordered(id, 'mounted');
    expect(order).toMatchObject({ mayCreate: true, sizeBytes: 67108864, metadata });
    await cluster.heardAll(other);
    expect(other.order(id)).toBeUndefined();
  });

  it.each([
    ['text that is not JSON', 'junk'],
    ['JSON that is no message', '[]'],
    ['an unknown kind', { kind: 'goodbye' }],
    ['hello without its parts', { kind: 'hello', protocol: 1 }],
    ['hello with a name that is too long', helloOf({ host: 'x'.repeat(257) })],
    ['a report before hello', { kind: 'report', reports: [] }],
    ['figures of storage before hello', storageOf()],
    ['orders', { kind: 'orders', full: true, orders: [], withdrawn: [] }],
    ['bytes', Buffer.from([0xff, 0x00])],
  ])('is closed for %s, and nothing is done', async (_, message) => {
    const agent = await FakeAgent.dial(control.agentPort, node);
    agent.send(message);
    agent.send(helloOf());
    await agent.closed();
    expect(agent.messages).toEqual([]);
    expect(await nodeIds()).not.toContain(node.nodeId);
  });

  it.each([
    ['an order below zero', { order: -1 }],
    ['half an order', { order: 0.5 }],
    ['a dataset that is no UUID', { datasetId: '../../etc' }],
    ['a size below zero', { state: { kind: 'detached', sizeBytes: -1 } }],
    ['an unknown state', { state: { kind: 'lost' } }],
    ['an unknown problem', { problem: { code: 'bored', message: '' } }],
    ['a path without end', { state: { kind: 'mounted', sizeBytes: 1, path: '/'.repeat(4097) } }],
  ])('is closed for a report with %s, and none of the message counts', async (_, fields) => {
    const agent = await cluster.join(node);
    const id = await cluster.create(node.nodeId);
    await agent.ordered(id, 'mounted');
    const good = agent.reportOf(id, mountedState(id));
    agent.send({ kind: 'report', reports: [good, { ...good, ...fields }] });
    agent.send({ kind: 'report', reports: [good] });
    await agent.closed();
    expect(await cluster.state(id)).toEqual([]);
  });

  it.each([
    ['bytes below zero', { figures: { ...storageOf().figures, usedBytes: -1 } }],
    ['half a byte', { figures: { ...storageOf().figures, usedBytes: 0.5 } }],
    ['a figure less', { figures: {} }],
    ['a medium that there is not', { profiles: [{ ...storageOf().profiles[0], media: 'tape' }] }],
    ['no copy of its blocks', { profiles: [{ ...storageOf().profiles[0], replication: 0 }] }],
    ['a volume that is no UUID', { volumes: [{ datasetId: '../..', usedBytes: 1, availableBytes: 1 }] }],
  ])('is closed for storage with %s, and none of the message counts', async (_, fields) => {
    const pool = newId();
    const agent = await cluster.join(node, { pool });
    agent.send({ ...storageOf(), ...fields });
    await agent.closed();
    const { pools } = (await control.api.get('/v1/state/storage')).json as unknown as StorageView;
    expect(pools.find((candidate) => candidate.pool === pool)).toMatchObject({
      measured: null,
      figures: { used: null },
    });
  });

  it('is closed for a second hello', async () => {
    const agent = await cluster.join(node);
    agent.send(helloOf({ host: 'other' }));
    await agent.closed();
    const { json } = await control.api.get('/v1/state/nodes');
    expect(json).toContainEqual({ uuid: node.nodeId, host: '10.0.0.1' });
  });

  it('is closed for a message that is too long', async () => {
    const agent = await FakeAgent.dial(control.agentPort, node);
    agent.send(helloOf({ host: 'x'.repeat(LONGEST_MESSAGE_BYTES) }));
    await agent.closed();
    expect(await nodeIds()).not.toContain(node.nodeId);
  });

  it('is closed when no hello comes', async () => {
    const agent = await FakeAgent.dial(control.agentPort, node);
    clock.advance(10_001);
    await agent.closed();
  });

  it('is closed when the agent is silent for a minute, and not while it answers', async () => {
    const agent = await cluster.join(node);
    for (let i = 0; i < 5; i += 1) {
      clock.advance(30_001);
      await cluster.heardAll(agent);
    }
    expect(agent.open).toBe(true);
    agent.freeze();
    clock.advance(30_001);
    clock.advance(30_001);
    clock.advance(30_001);
    await expect.poll(async () => (await inspectedNode())?.connected).toBe(false);
  });

  it('is refused with the reason when it speaks another protocol', async () => {
    const agent = await FakeAgent.dial(control.agentPort, node);
    agent.send(helloOf({ protocol: 99 }));
    await agent.closed();
    expect(agent.messages).toEqual([{ kind: 'refused', reason: expect.stringContaining('99') as unknown }]);
    expect(await nodeIds()).not.toContain(node.nodeId);
  });

  it('is taken on the agents’ path only', async () => {
    await expect(FakeAgent.dial(control.agentPort, node, '/')).rejects.toThrow('404');
    await expect(FakeAgent.dial(control.agentPort, node, '/v1/agent/')).rejects.toThrow('404');
  });

  it('is not taken with a certificate that names no node', async () => {
    const tls = await control.certificates.named('node-somewhere');
    await expect(FakeAgent.dial(control.agentPort, { ...tls, nodeId: node.nodeId })).rejects.toThrow('404');
  });
});

async function inspectedNode(): Promise<{ connected: boolean } | undefined> {
  const { json } = await control.api.get('/v1/inspect/nodes');
  return (json as unknown as { uuid: string; connected: boolean }[]).find(({ uuid }) => uuid === node.nodeId);
}

describe('the node of the certificate', () => {
  it('is the only one an agent can report on', async () => {
    const victim = await cluster.join(await control.certificates.node());
    const id = await cluster.create(victim.nodeId);
    await victim.ordered(id, 'mounted');
    victim.mounted(id);
    await cluster.shows(id, { status: 'mounted' });
    await cluster.move(id, node.nodeId);
    const release = await victim.ordered(id, 'released');
    const liar = await cluster.join(node);
    // The victim's order, and its name in fields that the protocol does not have.
    const lie = { ...liar.reportOf(id, { kind: 'absent' }, { order: release.order }), node: victim.nodeId };
    liar.send({ kind: 'report', nodeId: victim.nodeId, node_uuid: victim.nodeId, reports: [lie] });
    await cluster.heardAll(liar);
    expect(liar.order(id)).toBeUndefined();
    expect(await cluster.inspect(id)).toMatchObject({ holder: victim.nodeId, status: 'moving' });
  });

  it('has one agent: a second one is refused while the first lives', async () => {
    const first = await cluster.join(node);
    const second = await FakeAgent.dial(control.agentPort, node);
    second.send(helloOf({ host: 'impostor' }));
    await second.closed();
    expect(second.messages).toEqual([{ kind: 'refused', reason: expect.stringContaining('certificate') as unknown }]);
    await cluster.heardAll(first);
    expect((await control.api.get('/v1/state/nodes')).text).not.toContain('impostor');
  });

  it('has one agent: when the first is dead, one of those that come gets its place', async () => {
    const first = await cluster.join(node);
    first.freeze();
    const others = await Promise.all([1, 2, 3].map(() => FakeAgent.dial(control.agentPort, node)));
    for (const other of others) other.send(helloOf());
    const joined = (): FakeAgent[] => others.filter(({ messages }) => messages.some(({ kind }) => kind === 'orders'));
    await expect
      .poll(() => {
        clock.advance(2_001);
        return (
          joined().length + others.filter(({ messages }) => messages.some(({ kind }) => kind === 'refused')).length
        );
      })
      .toBe(3);
    const [winner, ...more] = joined();
    expect(more).toEqual([]);
    const id = await cluster.create(node.nodeId);
    await winner?.ordered(id, 'mounted');
    for (const other of others) other.cut();
  });

  it('keeps its era in any writing', async () => {
    const era = newId();
    await cluster.join(node, { era: era.toUpperCase() });
    const { json } = await control.api.get(`/v1/state/nodes/by_era/${era}`);
    expect(json).toEqual({ uuid: node.nodeId });
  });
});

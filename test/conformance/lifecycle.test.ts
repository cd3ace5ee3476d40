import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type ClusterRun, clusterRun } from '../support/cluster-run.ts';
import { startTestControl, type TestControl } from '../support/control.ts';
import { ManualClock } from '../support/manual-clock.ts';
import { Member } from '../support/member.ts';

/** Every story is told twice: the second time the control service is restarted on its store between any two steps. */
describe.each([false, true])('the life of a volume (restarts between steps: %s)', (restarts) => {
  const clock = new ManualClock();
  let control: TestControl;
  let cluster: ClusterRun;
  let a: Member;
  let b: Member;
  let members: Member[];

  const join = async (pool: string): Promise<Member> => {
    const member = await Member.start(cluster, await control.certificates.node(), { pool, host: `host-${pool}` });
    members.push(member);
    return member;
  };

  /** Between two steps. */
  const then = async (): Promise<void> => {
    if (!restarts) return;
    await control.restart();
    for (const member of members) await member.rejoin();
  };

  beforeAll(async () => {
    control = await startTestControl({ clock, store: 'level' });
    cluster = clusterRun(() => control);
  });
  beforeEach(async () => {
    members = [];
    a = await join('pool-a');
    b = await join('pool-a');
  });
  afterEach(() => cluster.cutAll());
  afterAll(() => control.close());

  const mountedOn = async (member: Member): Promise<string> => {
    const id = await cluster.create(member.id, { metadata: { name: 'story' } });
    await cluster.shows(id, { status: 'pending', problem: { code: 'in_progress' } });
    await then();
    await member.mounts(id);
    await cluster.shows(id, { status: 'mounted', holder: member.id, problem: null });
    await then();
    return id;
  };

  it('is made, moved, moved back and deleted', async () => {
    const id = await mountedOn(a);
    for (const [from, to] of [
      [a, b],
      [b, a],
    ] as const) {
      await cluster.move(id, to.id);
      await then();
      await from.agent.ordered(id, 'released');
      expect(to.agent.order(id)).toBeUndefined();
      await then();
      await from.releases(id);
      await to.agent.ordered(id, 'mounted');
      await from.agent.until(() => from.agent.order(id) === undefined, 'no order');
      await then();
      expect(from.agent.order(id)).toBeUndefined();
      await to.mounts(id);
      await cluster.shows(id, { status: 'mounted', holder: to.id, problem: null });
      await then();
    }
    await cluster.remove(id);
    await then();
    await a.agent.ordered(id, 'destroyed');
    expect(await cluster.inspect(id)).toMatchObject({ status: 'deleting' });
    await then();
    await a.destroys(id);
    await cluster.shows(id, { status: 'deleted', holder: null, state: null, problem: null });
    await then();
    await a.agent.until(() => a.agent.order(id) === undefined, 'no order');
    expect(await cluster.inspect(id)).toMatchObject({ status: 'deleted', configuration: { deleted: true } });
  });

  it('is destroyed only when the report says so under the present order', async () => {
    const id = await mountedOn(a);
    await cluster.remove(id);
    await a.agent.ordered(id, 'destroyed');
    const order = a.agent.order(id)?.order ?? 0;
    a.becomes(id, 'absent', { busy: true });
    a.becomes(id, 'absent', { order: order - 1 });
    a.becomes(id, 'elsewhere');
    a.becomes(id, 'detached');
    await cluster.heardAll(a.agent);
    expect(await cluster.inspect(id)).toMatchObject({ status: 'deleting', holder: a.id });
    await then();
    await a.destroys(id);
    await cluster.shows(id, { status: 'deleted' });
  });

  it('is gone at once when it was deleted before any node could make it', async () => {
    const id = await cluster.create('11111111-1111-4111-8111-111111111111');
    await cluster.shows(id, { status: 'pending', problem: { code: 'node_unknown' } });
    await then();
    await cluster.remove(id);
    expect(await cluster.inspect(id)).toMatchObject({ status: 'deleted', problem: null });
    await then();
    expect(await cluster.inspect(id)).toMatchObject({ status: 'deleted' });
  });

  it('is kept mounted against a move by a lease, until that is released', async () => {
    const id = await mountedOn(a);
    await cluster.lease(id, a.id, null);
    await then();
    await cluster.move(id, b.id);
    await then();
    await cluster.heardAll(a.agent);
    expect(a.agent.order(id)).toMatchObject({ want: 'mounted' });
    expect(await cluster.inspect(id)).toMatchObject({ status: 'moving', problem: { code: 'waiting_for_lease' } });
    await then();
    await cluster.release(id);
    await a.releases(id);
    await cluster.shows(id, { holder: b.id });
    await then();
    await b.mounts(id);
    await cluster.shows(id, { status: 'mounted', holder: b.id });
  });

  it('is kept mounted against deletion by a lease, until that expires', async () => {
    const id = await mountedOn(a);
    await cluster.lease(id, a.id, 20);
    await cluster.remove(id);
    await then();
    await cluster.heardAll(a.agent);
    expect(a.agent.order(id)).toMatchObject({ want: 'mounted', mayCreate: false });
    await then();
    clock.advance(20_500);
    await a.destroys(id);
    await cluster.shows(id, { status: 'deleted' });
  });

  it('is not kept by a lease of another node, nor by one when it is not mounted', async () => {
    const id = await mountedOn(a);
    await cluster.lease(id, b.id, null);
    await cluster.move(id, b.id);
    await then();
    await a.releases(id);
    await b.agent.ordered(id, 'mounted');
    b.becomes(id, 'attached');
    await cluster.shows(id, { state: { maximum_size: 2 ** 30 } });
    await then();
    await cluster.move(id, a.id);
    await cluster.heardAll(b.agent);
    expect(b.agent.order(id)).toMatchObject({ want: 'released' });
    expect(await cluster.inspect(id)).toMatchObject({ problem: { code: 'waiting_for_release' } });
    await cluster.release(id);
  });

  it('cannot reach a node of another pool, and can come back', async () => {
    const far = await join('pool-b');
    const id = await mountedOn(a);
    await cluster.move(id, far.id);
    await then();
    await a.releases(id);
    const unreachable = { code: 'pool_unreachable', needs_action: true, node_uuid: far.id };
    await cluster.shows(id, { status: 'detached', holder: null, problem: unreachable });
    expect(far.agent.order(id)).toBeUndefined();
    await then();
    expect(far.agent.order(id)).toBeUndefined();
    expect(await cluster.state(id)).toEqual([{ dataset_id: id, maximum_size: 2 ** 30 }]);
    await cluster.move(id, b.id);
    await b.mounts(id);
    await cluster.shows(id, { status: 'mounted', problem: null });
  });

  it('is destroyed by any node of its pool when its own cannot reach it', async () => {
    const far = await join('pool-b');
    const id = await mountedOn(a);
    await cluster.move(id, far.id);
    await a.releases(id);
    await cluster.shows(id, { status: 'detached' });
    for (const near of [a, b]) near.agent.cut();
    members = [far];
    await expect.poll(async () => (await control.api.get('/v1/inspect/nodes')).text).toContain('"connected":false');
    await cluster.remove(id);
    await then();
    expect(await cluster.inspect(id)).toMatchObject({ status: 'deleting', problem: { code: 'node_away' } });
    await b.rejoin();
    await b.destroys(id);
    await cluster.shows(id, { status: 'deleted' });
  });

  it('stays with the node that has it when the records come from an old backup', async () => {
    const away = await control.certificates.node();
    const id = await cluster.create(away.nodeId);
    // Nobody was allowed to make it, says the store; node a has it all the same.
    a.becomes(id, 'mounted');
    await cluster.shows(id, { holder: a.id, status: 'moving' });
    await then();
    const late = await cluster.join(away);
    expect(late.order(id)).toBeUndefined();
    await a.releases(id);
    await late.until(() => late.order(id)?.want === 'mounted');
    expect(late.order(id)).toMatchObject({ mayCreate: false });
  });

  it('is left alone when nobody knows it', async () => {
    const id = '22222222-2222-4222-8222-222222222222';
    a.becomes(id, 'mounted');
    await cluster.heardAll(a.agent);
    await then();
    expect(a.agent.order(id)).toBeUndefined();
    expect(await cluster.state(id)).toEqual([]);
  });

  it('is in conflict when a second node has it, which is ordered nothing', async () => {
    const id = await mountedOn(a);
    b.becomes(id, 'mounted');
    const conflict = { code: 'conflict', needs_action: true, node_uuid: b.id };
    await cluster.shows(id, { holder: a.id, problem: conflict });
    await then();
    await cluster.shows(id, { holder: a.id, problem: conflict });
    expect(b.agent.order(id)).toBeUndefined();
    expect((await cluster.state(id))[0]).toMatchObject({ primary: a.id });
    b.becomes(id, 'detached');
    await cluster.shows(id, { status: 'mounted', problem: null });
  });

  it('tells the problem of its node', async () => {
    const id = await cluster.create(a.id);
    await a.agent.ordered(id, 'mounted');
    const problem = { code: 'no_space', message: 'pool-a has 1 GiB left and 75 GiB were asked for.' } as const;
    a.becomes(id, 'absent', { problem });
    await cluster.shows(id, { status: 'pending', problem: { ...problem, needs_action: true, node_uuid: a.id } });
    await then();
    await a.mounts(id);
    await cluster.shows(id, { status: 'mounted', problem: null });
  });
});

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type ClusterRun, clusterRun } from '../support/cluster-run.ts';
import { startTestControl, type TestControl } from '../support/control.ts';
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

/** A dataset that `a` has mounted and that is then configured onto `b`. */
async function moving(): Promise<string> {
  const id = await cluster.create(a.id);
  await a.mounts(id);
  await cluster.shows(id, { status: 'mounted' });
  await cluster.move(id, b.id);
  await a.agent.ordered(id, 'released');
  return id;
}

async function notGranted(id: string): Promise<void> {
  await cluster.heardAll(b.agent);
  expect(b.agent.order(id)).toBeUndefined();
  expect(await cluster.inspect(id)).toMatchObject({ holder: a.id, status: 'moving' });
}

async function granted(id: string): Promise<void> {
  expect(await b.agent.ordered(id, 'mounted')).toMatchObject({ mayCreate: false });
  await a.agent.until(() => a.agent.order(id) === undefined, 'no order');
  b.becomes(id, 'mounted');
  await cluster.shows(id, { holder: b.id, status: 'mounted', problem: null });
}

describe('what confirms that a node let go (one writer)', () => {
  it('a state without the volume, not busy, under the present order', async () => {
    const id = await moving();
    await notGranted(id);
    a.becomes(id, 'detached');
    await granted(id);
  });

  it.each(['attached', 'mounted'] as const)('not the state %s', async (kind) => {
    const id = await moving();
    a.becomes(id, kind);
    await cluster.heardAll(a.agent);
    await notGranted(id);
  });

  it.each(['absent', 'detached', 'elsewhere'] as const)('not a busy report of %s', async (kind) => {
    const id = await moving();
    a.becomes(id, kind, { busy: true });
    await cluster.heardAll(a.agent);
    await notGranted(id);
  });

  it.each(['absent', 'detached', 'elsewhere'] as const)('not %s under an older order or none', async (kind) => {
    const id = await moving();
    const present = a.agent.order(id)?.order ?? 0;
    for (const order of [0, present - 1, present + 1]) a.becomes(id, kind, { order });
    await cluster.heardAll(a.agent);
    await notGranted(id);
  });

  it('not a release under an order that was since taken back and given again', async () => {
    const id = await moving();
    const first = await a.agent.ordered(id, 'released');
    await cluster.move(id, a.id);
    await a.agent.ordered(id, 'mounted');
    await cluster.move(id, b.id);
    const second = await a.agent.ordered(id, 'released');
    expect(second.order).toBeGreaterThan(first.order);
    a.becomes(id, 'detached', { order: first.order });
    await cluster.heardAll(a.agent);
    await notGranted(id);
    a.becomes(id, 'detached');
    await granted(id);
  });

  it('not a lost connection, however long', async () => {
    const id = await moving();
    a.agent.cut();
    await cluster.shows(id, { problem: { code: 'node_away', node_uuid: a.id } });
    await notGranted(id);
    b.agent.cut();
    clock.advance(86_400_000);
    await b.rejoin();
    await notGranted(id);
    await cluster.shows(id, { problem: { code: 'node_unknown', node_uuid: a.id } });
    await a.rejoin();
    await a.releases(id);
    await granted(id);
  });

  it('not a hello that does not list the dataset', async () => {
    const id = await moving();
    a.agent.cut();
    await a.agent.closed();
    await cluster.shows(id, { problem: { code: 'node_away' } });
    await cluster.join(a.credentials).then(async (agent) => {
      expect(agent.order(id)).toMatchObject({ want: 'released' });
      await notGranted(id);
      agent.report(id, { kind: 'absent' });
    });
    await b.agent.ordered(id, 'mounted');
  });

  it('not the word of another node', async () => {
    const id = await moving();
    const order = a.agent.order(id)?.order ?? 0;
    for (const kind of ['absent', 'detached'] as const) b.becomes(id, kind, { order });
    await notGranted(id);
  });

  it('not a report that comes on an older connection', async () => {
    const id = await moving();
    a.agent.freeze();
    const old = a.agent;
    const rejoined = a.rejoin();
    await expect
      .poll(() => {
        clock.advance(2_001);
        return a.agent === old;
      })
      .toBe(false);
    await rejoined;
    old.report(id, { kind: 'detached', sizeBytes: 1 });
    await notGranted(id);
  });

  it('two datasets in one message are two confirmations', async () => {
    const [one, two] = [await moving(), await moving()];
    const gone = { kind: 'detached', sizeBytes: 2 ** 30 } as const;
    a.agent.send({ kind: 'report', reports: [a.agent.reportOf(one, gone), a.agent.reportOf(two, gone)] });
    await granted(one);
    await granted(two);
  });

  it('a message that lets go and then still has it leaves a conflict for people to see', async () => {
    const id = await moving();
    const order = a.agent.order(id)?.order ?? 0;
    const reports = [
      a.agent.reportOf(id, { kind: 'detached', sizeBytes: 2 ** 30 }, { order }),
      a.agent.reportOf(id, { kind: 'attached', sizeBytes: 2 ** 31 }, { order }),
    ];
    a.agent.send({ kind: 'report', reports });
    await cluster.shows(id, { holder: b.id, problem: { code: 'conflict', needs_action: true, node_uuid: a.id } });
  });
});

describe('a volume that may have been made', () => {
  it('is not made a second time elsewhere while its node is away', async () => {
    const id = await cluster.create(a.id);
    expect(await a.agent.ordered(id, 'mounted')).toMatchObject({ mayCreate: true });
    a.agent.cut();
    await cluster.move(id, b.id);
    await notGranted(id);
    await a.rejoin();
    await a.releases(id);
    await granted(id);
  });

  it('may be made elsewhere once its node says that it did not', async () => {
    const id = await cluster.create(a.id);
    await a.agent.ordered(id, 'mounted');
    await cluster.move(id, b.id);
    await a.agent.ordered(id, 'released');
    a.becomes(id, 'absent');
    expect(await b.agent.ordered(id, 'mounted')).toMatchObject({ mayCreate: true });
  });

  it.each(['attached', 'detached', 'elsewhere'] as const)('is never made anew once it was seen %s', async (kind) => {
    const id = await cluster.create(a.id);
    await a.agent.ordered(id, 'mounted');
    a.becomes(id, kind, { busy: true });
    await a.agent.until(() => a.agent.order(id)?.want === 'mounted' && notCreating(a, id), 'mayCreate false');
    await cluster.move(id, b.id);
    await a.agent.ordered(id, 'released');
    a.becomes(id, 'absent');
    expect(await b.agent.ordered(id, 'mounted')).toMatchObject({ mayCreate: false });
  });
});

function notCreating(member: Member, id: string): boolean {
  const order = member.agent.order(id);
  return order?.want === 'mounted' && !order.mayCreate;
}

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type ClusterRun, clusterRun } from '../support/cluster-run.ts';
import { expectAnswer, expectError, expectRefusal, newId } from '../support/contract-bodies.ts';
import { startTestControl, type TestControl } from '../support/control.ts';
import { ManualClock } from '../support/manual-clock.ts';
import { Member } from '../support/member.ts';

const clock = new ManualClock();
let control: TestControl;
let cluster: ClusterRun;
let node: Member;
const era = newId();
beforeAll(async () => {
  control = await startTestControl({ clock, store: 'level' });
  cluster = clusterRun(() => control);
});
beforeEach(async () => {
  node = await Member.start(cluster, await control.certificates.node(), { host: '10.0.0.7', era });
});
afterEach(() => cluster.cutAll());
afterAll(() => control.close());

const entry = (id: string): object => ({
  dataset_id: id,
  primary: node.id,
  path: `/flocker/${id}`,
  maximum_size: 2 ** 30,
});

async function mounted(): Promise<string> {
  const id = await cluster.create(node.id, { maximum_size: 67108864 });
  expect(await cluster.state(id)).toEqual([]);
  await node.mounts(id);
  await expect.poll(() => cluster.state(id)).toEqual([entry(id)]);
  return id;
}

const listedNodes = async (): Promise<unknown[]> => (await control.api.get('/v1/state/nodes')).json as unknown[];

describe('GET /v1/state/datasets (contract 1.5)', () => {
  it('lists a dataset with node, path and real size once it is mounted', async () => {
    await mounted();
  });

  it.each(['attached', 'detached'] as const)('lists a dataset that is %s without node and path', async (kind) => {
    const id = await cluster.create(node.id);
    await node.agent.ordered(id, 'mounted');
    node.becomes(id, kind);
    await expect.poll(() => cluster.state(id)).toEqual([{ dataset_id: id, maximum_size: 2 ** 30 }]);
  });

  it('keeps a mount through a short loss of the connection and forgets it after 120 s', async () => {
    const id = await mounted();
    node.agent.cut();
    await cluster.shows(id, { problem: { code: 'node_away' } });
    clock.advance(119_000);
    expect(await cluster.state(id)).toEqual([entry(id)]);
    expect(await listedNodes()).toContainEqual({ uuid: node.id, host: '10.0.0.7' });
    clock.advance(2_000);
    expect(JSON.stringify(await cluster.state(id))).not.toContain('primary');
    expect(JSON.stringify(await cluster.state(id))).not.toContain('path');
    expect(await listedNodes()).not.toContainEqual({ uuid: node.id, host: '10.0.0.7' });
    await node.rejoin();
    expect(await cluster.state(id)).toEqual([entry(id)]);
  });

  it.each([3_600_000, -3_600_000])('counts the 120 s right when the wall clock jumps by %d ms', async (jumpMs) => {
    const id = await mounted();
    clock.jumpWall(jumpMs);
    node.agent.cut();
    await cluster.shows(id, { problem: { code: 'node_away' } });
    clock.advance(120_001);
    expect(JSON.stringify(await cluster.state(id))).not.toContain('primary');
  });

  it('keeps it when the node is back in time', async () => {
    const id = await mounted();
    node.agent.cut();
    await cluster.shows(id, { problem: { code: 'node_away' } });
    clock.advance(100_000);
    await node.rejoin();
    clock.advance(21_000);
    expect(await cluster.state(id)).toEqual([entry(id)]);
  });

  it('knows no mounts after a restart until nodes report them', async () => {
    const id = await mounted();
    await control.restart();
    expect(JSON.stringify(await cluster.state(id))).not.toContain('primary');
    expect(await listedNodes()).toEqual([]);
    await node.rejoin();
    expect(await cluster.state(id)).toEqual([entry(id)]);
  });

  it('does not list what is gone, nor show metadata or deleted', async () => {
    const id = await mounted();
    await cluster.remove(id);
    expect(Object.keys((await cluster.state(id))[0] ?? {}).sort()).toEqual([
      'dataset_id',
      'maximum_size',
      'path',
      'primary',
    ]);
    await node.destroys(id);
    await cluster.shows(id, { status: 'deleted' });
    expect(await cluster.state(id)).toEqual([]);
  });
});

describe('GET /v1/state/nodes/by_era (contract 1.5)', () => {
  const byEra = (text: string) => control.api.get(`/v1/state/nodes/by_era/${encodeURIComponent(text)}`);

  it('finds a node by its era in every form that Python takes', async () => {
    const hex = era.replaceAll('-', '');
    for (const text of [era, era.toUpperCase(), hex, `{${era}}`, `urn:uuid:${era}`, `uuid:${hex}`]) {
      expectAnswer(await byEra(text), 200, { uuid: node.id });
    }
  });

  it('answers 404 for an unknown era, and 4xx for what is none, which was a 500', async () => {
    expectError(await byEra(newId()), 404, 'No node found with given era.');
    for (const text of ['x', era.slice(1), `${era}0`, 'g'.repeat(32)]) expectRefusal(await byEra(text));
  });

  it('takes an era of any UUID version, as boot ids need not be version 4', async () => {
    const other = '11111111-1111-1111-1111-111111111111';
    const member = await Member.start(cluster, await control.certificates.node(), { era: other });
    expectAnswer(await byEra(other), 200, { uuid: member.id });
  });

  it('still finds a node that is gone, and no longer under the era before a reboot', async () => {
    const [before, after] = [newId(), newId()];
    const credentials = await control.certificates.node();
    const first = await cluster.join(credentials, { era: before });
    expectAnswer(await byEra(before), 200, { uuid: credentials.nodeId });
    first.cut();
    await expect.poll(async () => (await control.api.get('/v1/inspect/nodes')).text).toContain('"connected":false');
    clock.advance(130_000);
    expectAnswer(await byEra(before), 200, { uuid: credentials.nodeId });
    const second = await cluster.join(credentials, { era: before });
    second.cut();
    await second.closed();
    await cluster.join(credentials, { era: after });
    expectAnswer(await byEra(after), 200, { uuid: credentials.nodeId });
    expectError(await byEra(before), 404, 'No node found with given era.');
  });
});

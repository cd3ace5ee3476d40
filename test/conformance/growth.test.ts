import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type ClusterRun, clusterRun } from '../support/cluster-run.ts';
import { DATASETS, expectAnswer, expectBadSchema, expectError, newId } from '../support/contract-bodies.ts';
import { startTestControl, type TestControl } from '../support/control.ts';
import { Member } from '../support/member.ts';

let control: TestControl;
let cluster: ClusterRun;
let node: Member;
beforeAll(async () => {
  control = await startTestControl();
  cluster = clusterRun(() => control);
});
beforeEach(async () => {
  node = await Member.start(cluster, await control.certificates.node());
});
afterEach(() => cluster.cutAll());
afterAll(() => control.close());

async function mounted(): Promise<string> {
  const id = await cluster.create(node.id);
  await node.mounts(id);
  await cluster.shows(id, { status: 'mounted' });
  return id;
}

describe('POST /v1/configuration/datasets/<id>/size (addition)', () => {
  const resize = (id: string, body: object): ReturnType<typeof control.api.post> =>
    control.api.post(`${DATASETS}/${id}/size`, body);

  it('orders more room, changes the tag, and says why it is not there', async () => {
    const id = await mounted();
    const tag = async (): Promise<unknown> => (await control.api.get(DATASETS)).headers['x-configuration-tag'];
    const before = await tag();
    const configuration = { dataset_id: id, primary: node.id, deleted: false, metadata: {}, maximum_size: 2 ** 31 };
    expectAnswer(await resize(id, { maximum_size: 2 ** 31 }), 200, configuration);
    expect(await tag()).not.toEqual(before);
    await expect.poll(() => node.agent.order(id)).toMatchObject({ want: 'mounted', sizeBytes: 2 ** 31 });
    await cluster.shows(id, { status: 'mounted', problem: null, growth: { code: 'in_progress' } });
    node.agent.report(
      id,
      { kind: 'mounted', sizeBytes: 2 ** 30, path: '/flocker/x' },
      {
        problem: { code: 'no_space', message: 'full' },
      },
    );
    await cluster.shows(id, { status: 'mounted', problem: null, growth: { code: 'no_space', needs_action: true } });
    node.agent.mounted(id, 2 ** 31);
    await cluster.shows(id, { status: 'mounted', problem: null, state: { maximum_size: 2 ** 31 } });
    expect(await cluster.inspect(id)).not.toHaveProperty('growth');
    expectAnswer(await resize(id, { maximum_size: 2 ** 31 }), 200, configuration);
  });

  it('refuses less, other bodies, other datasets, and stale tags', async () => {
    const id = await mounted();
    const less = await resize(id, { maximum_size: 2 ** 29 });
    expect(less).toMatchObject({ status: 409, json: { description: 'A dataset only grows.' } });
    for (const body of [{}, { maximum_size: 1000 }, { maximum_size: null }, { maximum_size: 2 ** 31, junk: 1 }]) {
      expectBadSchema(await resize(id, body));
    }
    expectError(await resize(newId(), { maximum_size: 2 ** 31 }), 404, 'Dataset not found.');
    const stale = [['x-if-configuration-matches', 'stale']] as const;
    const conditional = await control.api.post(`${DATASETS}/${id}/size`, { maximum_size: 2 ** 31 }, stale);
    expect(conditional.status).toBe(412);
    await cluster.remove(id);
    expectError(await resize(id, { maximum_size: 2 ** 31 }), 405, 'The dataset has been deleted.');
  });
});

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { SnapshotView } from '../../src/api/snapshots.ts';
import type { Credentials } from '../../src/tls/credentials.ts';
import { type ClusterRun, clusterRun } from '../support/cluster-run.ts';
import {
  DATASETS,
  expectAnswer,
  expectBadSchema,
  expectError,
  expectRefusal,
  newId,
} from '../support/contract-bodies.ts';
import { startTestControl, type TestControl } from '../support/control.ts';
import { EventStream } from '../support/event-stream.ts';
import { Member } from '../support/member.ts';

const SNAPSHOTS = '/v1/configuration/snapshots';
const PRESENT = { kind: 'present', sizeBytes: 2 ** 30, takenAtMs: 1_700_000_000_000 } as const;
const ABSENT = { kind: 'absent' } as const;
const TAKEN = { pool: 'pool-a', size: 2 ** 30, taken: '2023-11-14T22:13:20.000Z', problem: null };
const UNTAKEN = { pool: null, size: null, taken: null };

let control: TestControl;
let cluster: ClusterRun;
let user: Credentials;
let node: Member;
let streams: EventStream[];
beforeAll(async () => {
  control = await startTestControl({ store: 'level' });
  cluster = clusterRun(() => control);
  user = await control.certificates.user('watcher');
});
beforeEach(async () => {
  streams = [];
  node = await Member.start(cluster, await control.certificates.node(), { pool: 'pool-a' });
});
afterEach(() => {
  for (const stream of streams) stream.close();
  cluster.cutAll();
});
afterAll(() => control.close());

async function mounted(member = node): Promise<string> {
  const id = await cluster.create(member.id);
  await member.mounts(id);
  await cluster.shows(id, { status: 'mounted' });
  return id;
}

async function create(datasetId: string, more: object = {}): Promise<SnapshotView> {
  const { status, json } = await control.api.post(SNAPSHOTS, { dataset_id: datasetId, ...more });
  expect(status).toBe(201);
  return json as unknown as SnapshotView;
}

async function find(query: string): Promise<SnapshotView[]> {
  const { status, json } = await control.api.get(`${SNAPSHOTS}?${query}`);
  expect(status).toBe(200);
  return json as unknown as SnapshotView[];
}

async function shows(id: string, expected: object): Promise<void> {
  await expect.poll(() => find(`snapshot_id=${id}`), { interval: 5, timeout: 5_000 }).toMatchObject([expected]);
}

async function ready(datasetId: string): Promise<string> {
  const { snapshot_id: id } = await create(datasetId);
  await node.agent.snapshotOrdered(id, 'taken');
  node.agent.reportSnapshot(id, PRESENT);
  await shows(id, { status: 'ready' });
  return id;
}

async function open(query: string): Promise<EventStream> {
  const stream = await EventStream.open(control.restPort, user, `/v1/events${query}`);
  streams.push(stream);
  return stream;
}

const statuses = (stream: EventStream): string[] =>
  stream.events.filter(({ name }) => name === 'snapshot').map(({ data }) => (data as SnapshotView).status);

describe('POST /v1/configuration/snapshots (addition)', () => {
  it('answers 201 with the snapshot, orders it from the node that has the dataset, and shows it when it is taken', async () => {
    const datasetId = await mounted();
    const id = newId();
    const metadata = { name: 'größe 💾' };
    const made = await create(datasetId.toUpperCase(), { snapshot_id: id.toUpperCase(), metadata });
    const fixed = { snapshot_id: id, dataset_id: datasetId, metadata };
    const told = expect.stringContaining('was told to take') as unknown;
    expect(made).toEqual({
      ...{ ...fixed, ...UNTAKEN, status: 'pending' },
      problem: { code: 'in_progress', message: told, needs_action: false, node_uuid: node.id },
    });
    await node.agent.snapshotOrdered(id, 'taken');
    expect(node.agent.snapshotOrder(id)).toMatchObject({ datasetId });
    node.agent.reportSnapshot(id, PRESENT);
    await shows(id, { ...fixed, ...TAKEN, status: 'ready' });
    await node.agent.until(() => node.agent.snapshotOrder(id) === undefined);
    const again = await control.api.post(SNAPSHOTS, { dataset_id: datasetId, snapshot_id: id });
    expectAnswer(again, 200, { ...fixed, ...TAKEN, status: 'ready' });
  });

  it('refuses what cannot be', async () => {
    const post = (body: object): ReturnType<typeof control.api.post> => control.api.post(SNAPSHOTS, body);
    const [one, two] = [await mounted(), await mounted()];
    const { snapshot_id } = await create(one);
    expectError(await post({ dataset_id: newId() }), 404, 'Dataset not found.');
    const inUse = 'The provided snapshot_id is already in use.';
    expectError(await post({ dataset_id: two, snapshot_id }), 409, inUse);
    await cluster.remove(two);
    expectError(await post({ dataset_id: two }), 405, 'The dataset has been deleted.');
    for (const body of [
      {},
      { dataset_id: 'x' },
      { dataset_id: one, junk: 1 },
      { dataset_id: one, metadata: { a: 1 } },
    ]) {
      expectBadSchema(await post(body));
    }
  });

  it('shows what keeps it from being taken, and that it passes', async () => {
    const datasetId = await mounted();
    const { snapshot_id: id } = await create(datasetId);
    await node.agent.snapshotOrdered(id, 'taken');
    node.agent.reportSnapshot(id, ABSENT, { problem: { code: 'no_space', message: 'full' } });
    await shows(id, { status: 'pending', problem: { code: 'no_space', needs_action: true, node_uuid: node.id } });
    node.agent.cut();
    await shows(id, { status: 'pending', problem: { code: 'node_away' } });
    await node.rejoin();
    await node.agent.snapshotOrdered(id, 'taken');
    node.agent.reportSnapshot(id, PRESENT, { busy: true });
    node.agent.reportSnapshot(id, PRESENT, { order: 99 });
    await cluster.heardAll(node.agent);
    await shows(id, { status: 'pending', problem: { code: 'in_progress' } });
    node.agent.reportSnapshot(id, PRESENT);
    await shows(id, { status: 'ready' });
  });

  it('follows its dataset to another node, but only once the first says that it has not taken it', async () => {
    const to = await Member.start(cluster, await control.certificates.node(), { pool: 'pool-a' });
    const datasetId = await mounted();
    const { snapshot_id: id } = await create(datasetId);
    await node.agent.snapshotOrdered(id, 'taken');
    await cluster.move(datasetId, to.id);
    await node.releases(datasetId);
    await to.mounts(datasetId);
    await cluster.shows(datasetId, { status: 'mounted', holder: to.id });
    expect(to.agent.snapshotOrder(id)).toBeUndefined();
    node.agent.reportSnapshot(id, ABSENT);
    await to.agent.snapshotOrdered(id, 'taken');
    await node.agent.until(() => node.agent.snapshotOrder(id) === undefined);
    to.agent.reportSnapshot(id, PRESENT);
    await shows(id, { status: 'ready' });
  });

  it('fails when its dataset is destroyed first', async () => {
    const datasetId = await mounted();
    const { snapshot_id: id } = await create(datasetId);
    await node.agent.snapshotOrdered(id, 'taken');
    await cluster.remove(datasetId);
    await node.destroys(datasetId);
    await cluster.shows(datasetId, { status: 'deleted' });
    await shows(id, { status: 'pending' });
    node.agent.reportSnapshot(id, ABSENT);
    await shows(id, { status: 'failed', ...UNTAKEN, problem: { code: 'volume_lost', needs_action: true } });
  });
});

describe('GET /v1/configuration/snapshots (addition)', () => {
  it('finds by dataset, name and id, and leaves out what is deleted', async () => {
    const datasetId = await mounted();
    const name = `of ${newId()} & co`;
    const one = await create(datasetId, { metadata: { name } });
    const two = await create(datasetId);
    const ids = async (query: string): Promise<string[]> => (await find(query)).map(({ snapshot_id }) => snapshot_id);
    expect((await ids(`dataset_id=${datasetId.toUpperCase()}`)).sort()).toEqual(
      [one, two].map(({ snapshot_id }) => snapshot_id).sort(),
    );
    expect(await ids(`name=${encodeURIComponent(name)}`)).toEqual([one.snapshot_id]);
    expect(await ids(`name=x&dataset_id=${datasetId}`)).toEqual([]);
    expect(await ids(`snapshot_id=${two.snapshot_id}`)).toEqual([two.snapshot_id]);
    for (const none of ['snapshot_id=junk', `snapshot_id=${newId()}`, 'dataset_id=junk', 'name=']) {
      expect(await ids(none), none).toEqual([]);
    }
    await control.api.delete(`${SNAPSHOTS}/${one.snapshot_id}`);
    expect(await ids(`dataset_id=${datasetId}`)).toEqual([two.snapshot_id]);
    expect(await ids(`snapshot_id=${one.snapshot_id}`)).toEqual([one.snapshot_id]);
    expectRefusal(await control.api.get(`${SNAPSHOTS}?junk=1`));
  });
});

describe('DELETE /v1/configuration/snapshots/<id> (addition)', () => {
  it('has any node of the pool destroy it, and answers 200 ever after', async () => {
    const id = await ready(await mounted());
    node.agent.cut();
    const remove = (): ReturnType<typeof control.api.delete> => control.api.delete(`${SNAPSHOTS}/${id}`);
    const { status, json } = await remove();
    expect([status, json]).toMatchObject([200, { status: 'deleting', problem: { code: 'node_away' } }]);
    const elsewhere = await Member.start(cluster, await control.certificates.node(), { pool: 'pool-b' });
    const other = await Member.start(cluster, await control.certificates.node(), { pool: 'pool-a' });
    await other.agent.snapshotOrdered(id, 'destroyed');
    expect(elsewhere.agent.snapshotOrder(id)).toBeUndefined();
    other.agent.cut();
    await node.rejoin();
    await node.agent.snapshotOrdered(id, 'destroyed');
    node.agent.reportSnapshot(id, PRESENT, { busy: true });
    node.agent.reportSnapshot(id, ABSENT);
    await shows(id, { status: 'deleted', problem: null });
    expect(await remove()).toMatchObject({ status: 200, json: { status: 'deleted' } });
    const again = await control.api.post(SNAPSHOTS, { dataset_id: await mounted(), snapshot_id: id });
    expectError(again, 409, 'The provided snapshot_id is already in use.');
  });

  it('waits for the node that may have taken it', async () => {
    const other = await Member.start(cluster, await control.certificates.node(), { pool: 'pool-a' });
    const { snapshot_id: id } = await create(await mounted());
    await node.agent.snapshotOrdered(id, 'taken');
    await control.api.delete(`${SNAPSHOTS}/${id}`);
    await node.agent.snapshotOrdered(id, 'destroyed');
    node.agent.cut();
    await shows(id, { status: 'deleting', problem: { code: 'node_away' } });
    await cluster.heardAll(other.agent);
    expect(other.agent.snapshotOrder(id)).toBeUndefined();
    await node.rejoin();
    await node.agent.snapshotOrdered(id, 'destroyed');
    node.agent.reportSnapshot(id, ABSENT);
    await shows(id, { status: 'deleted' });
  });

  it('knows no other snapshots, and not those that are waited for', async () => {
    for (const id of [newId(), 'junk']) {
      expectError(await control.api.delete(`${SNAPSHOTS}/${id}`), 404, 'Snapshot not found.');
    }
    const id = await ready(await mounted());
    const waiting = await cluster.create(newId(), { source_snapshot: id });
    const inUse = 'A dataset that is not made yet is to be made from the snapshot.';
    expectError(await control.api.delete(`${SNAPSHOTS}/${id}`), 409, inUse);
    await cluster.remove(waiting);
    expect((await control.api.delete(`${SNAPSHOTS}/${id}`)).status).toBe(200);
  });
});

describe('datasets from snapshots (addition)', () => {
  it('are ordered with their source from nodes of its pool, and from no other', async () => {
    const far = await Member.start(cluster, await control.certificates.node(), { pool: 'pool-b' });
    const id = await ready(await mounted());
    const copy = await cluster.create(far.id, { source_snapshot: id });
    const problem = { code: 'pool_unreachable', needs_action: true };
    await cluster.shows(copy, { status: 'pending', source_snapshot: id, holder: null, problem });
    expect((await cluster.inspect(copy)).problem?.message).toContain('pool-a');
    expect((await cluster.inspect(copy)).configuration).toEqual({
      ...{ dataset_id: copy, primary: far.id, deleted: false, metadata: {}, maximum_size: 2 ** 30 },
    });
    await cluster.move(copy, node.id);
    expect(await node.agent.ordered(copy, 'mounted')).toMatchObject({
      source: id,
      sizeBytes: 2 ** 30,
      mayCreate: true,
    });
    await node.mounts(copy);
    await cluster.shows(copy, { status: 'mounted', problem: null, source_snapshot: id });
  });

  it('need a snapshot that is ready and no larger', async () => {
    const post = (body: object): ReturnType<typeof control.api.post> =>
      control.api.post(DATASETS, { primary: node.id, ...body });
    const datasetId = await mounted();
    const id = await ready(datasetId);
    expectError(await post({ source_snapshot: newId() }), 404, 'Snapshot not found.');
    expectBadSchema(await post({ source_snapshot: 'x' }));
    const small = await post({ source_snapshot: id, maximum_size: 2 ** 26 });
    expect(small).toMatchObject({ status: 400, json: { errors: [expect.stringContaining(String(2 ** 30))] } });
    const { snapshot_id: pending } = await create(datasetId);
    expectError(await post({ source_snapshot: pending }), 409, 'The snapshot is not ready.');
    await control.api.delete(`${SNAPSHOTS}/${id}`);
    expectError(await post({ source_snapshot: id }), 409, 'The snapshot is not ready.');
  });
});

describe('events of snapshots (addition)', () => {
  it('begin with the snapshot as it is, show each change, and end when it is ready', async () => {
    const { snapshot_id: id } = await create(await mounted());
    const stream = await open(`?snapshot_id=${id.toUpperCase()}&until=ready`);
    await stream.until(() => stream.events.length > 0);
    expect(stream.events[0]).toMatchObject({ name: 'snapshot', data: (await find(`snapshot_id=${id}`))[0] });
    await create(await mounted());
    await node.agent.snapshotOrdered(id, 'taken');
    node.agent.reportSnapshot(id, PRESENT);
    await stream.until(() => stream.ended);
    expect(statuses(stream).at(-1)).toBe('ready');
    expect(stream.events.every(({ data }) => (data as SnapshotView).snapshot_id === id)).toBe(true);
    const gone = await open(`?snapshot_id=${id}&until=gone`);
    await control.api.delete(`${SNAPSHOTS}/${id}`);
    await node.agent.snapshotOrdered(id, 'destroyed');
    await gone.until(() => statuses(gone).includes('deleting'));
    expect(gone.ended).toBe(false);
    node.agent.reportSnapshot(id, ABSENT);
    await gone.until(() => gone.ended);
    expect(statuses(gone).at(-1)).toBe('deleted');
  });

  it('are among those of everything', async () => {
    const stream = await open('');
    const { snapshot_id: id } = await create(await mounted());
    await stream.until(() =>
      stream.events.some(({ name, data }) => name === 'snapshot' && (data as SnapshotView).snapshot_id === id),
    );
  });

  it('refuse what is no snapshot and no such wait', async () => {
    const id = await ready(await mounted());
    expectError(await control.api.get(`/v1/events?snapshot_id=${newId()}`), 404, 'Snapshot not found.');
    for (const query of ['until=ready', `snapshot_id=${id}&until=mounted`, `snapshot_id=${id}&dataset_id=${newId()}`]) {
      expectRefusal(await control.api.get(`/v1/events?${query}`));
    }
  });
});

describe('after a restart of the control service', () => {
  it('everything is as it was', async () => {
    const datasetId = await mounted();
    const id = await ready(datasetId);
    const { snapshot_id: pending } = await create(datasetId);
    const copy = await cluster.create(node.id, { source_snapshot: id });
    await control.restart();
    await shows(id, { status: 'ready', ...TAKEN });
    await shows(pending, { status: 'pending' });
    expect(await cluster.inspect(copy)).toMatchObject({ source_snapshot: id });
    await node.rejoin();
    await node.agent.snapshotOrdered(pending, 'taken');
    expect(await node.agent.ordered(copy, 'mounted')).toMatchObject({ source: id });
    node.agent.reportSnapshot(pending, PRESENT);
    await shows(pending, { status: 'ready' });
  });
});

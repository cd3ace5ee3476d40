import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Credentials } from '../../src/tls/credentials.ts';
import { type ClusterRun, clusterRun } from '../support/cluster-run.ts';
import { expectError, expectRefusal, newId } from '../support/contract-bodies.ts';
import { startTestControl, type TestControl } from '../support/control.ts';
import { EventStream } from '../support/event-stream.ts';
import { Member } from '../support/member.ts';

let control: TestControl;
let cluster: ClusterRun;
let user: Credentials;
let node: Member;
let streams: EventStream[];
beforeAll(async () => {
  control = await startTestControl();
  cluster = clusterRun(() => control);
  user = await control.certificates.user('watcher');
});
beforeEach(async () => {
  streams = [];
  node = await Member.start(cluster, await control.certificates.node());
});
afterEach(() => {
  for (const stream of streams) stream.close();
  cluster.cutAll();
});
afterAll(() => control.close());

async function open(query: string, headers: Record<string, string> = {}): Promise<EventStream> {
  const stream = await EventStream.open(control.restPort, user, `/v1/events${query}`, headers);
  streams.push(stream);
  return stream;
}

const statuses = (stream: EventStream): string[] => stream.datasets.map(({ status }) => status);

describe('GET /v1/events of one dataset (addition)', () => {
  it('begins with the dataset as it is, in the same words as the inspection', async () => {
    const id = await cluster.create(node.id, { metadata: { name: 'größe 💾' } });
    const stream = await open(`?dataset_id=${id}`);
    await stream.until(() => stream.datasets.length > 0);
    expect(stream.datasets[0]).toEqual(await cluster.inspect(id));
    expect(stream.events[0]?.id).toEqual(expect.any(String));
  });

  it('takes the id in either case, shows each change, and no other dataset', async () => {
    const id = await cluster.create(node.id);
    const stream = await open(`?dataset_id=${id.toUpperCase()}`);
    const other = await cluster.create(node.id);
    await node.mounts(id);
    await stream.until(() => statuses(stream).includes('mounted'));
    await cluster.lease(id, node.id, null);
    await stream.until(() => stream.datasets.at(-1)?.lease !== null);
    await cluster.release(id);
    await cluster.remove(id);
    await stream.until(() => statuses(stream).includes('deleting'));
    await node.destroys(id);
    await stream.until(() => statuses(stream).includes('deleted'));
    expect(stream.ended).toBe(false);
    expect(stream.datasets.map(({ configuration }) => configuration.dataset_id)).not.toContain(other);
  });

  it('knows no other datasets', async () => {
    for (const id of [newId(), 'junk', '']) {
      expectError(await control.api.get(`/v1/events?dataset_id=${id}`), 404, 'Dataset not found.');
    }
  });

  it.each(['?until=mounted', '?until=gone', `?dataset_id=${newId()}&until=x`, '?junk=1', '?node_uuid=x&dataset_id=y'])(
    'refuses the query %s',
    async (query) => {
      expectRefusal(await control.api.get(`/v1/events${query}`));
    },
  );

  it('refuses a node that is no UUID instead of waiting for it for ever', async () => {
    const id = await cluster.create(node.id);
    expectRefusal(await control.api.get(`/v1/events?dataset_id=${id}&until=mounted&node_uuid=x`));
  });
});

describe('until=mounted', () => {
  it('ends after the event that shows it mounted', async () => {
    const id = await cluster.create(node.id);
    const stream = await open(`?dataset_id=${id}&until=mounted`);
    await stream.until(() => stream.datasets.length > 0);
    expect(stream.ended).toBe(false);
    await node.mounts(id);
    await stream.until(() => stream.ended);
    expect(stream.datasets.at(-1)).toMatchObject({ status: 'mounted', state: { primary: node.id } });
  });

  it('ends at once when it is mounted already', async () => {
    const id = await cluster.create(node.id);
    await node.mounts(id);
    await cluster.shows(id, { status: 'mounted' });
    const stream = await open(`?dataset_id=${id}&until=mounted`);
    await stream.until(() => stream.ended);
    expect(statuses(stream)).toEqual(['mounted']);
  });

  it('waits for the node that is named, in either case', async () => {
    const to = await Member.start(cluster, await control.certificates.node());
    const id = await cluster.create(node.id);
    await node.mounts(id);
    await cluster.shows(id, { status: 'mounted' });
    const stream = await open(`?dataset_id=${id}&until=mounted&node_uuid=${to.id.toUpperCase()}`);
    await stream.until(() => stream.datasets.length > 0);
    await cluster.move(id, to.id);
    await node.releases(id);
    await stream.until(() => stream.datasets.at(-1)?.holder === to.id);
    expect(stream.ended).toBe(false);
    await to.mounts(id);
    await stream.until(() => stream.ended);
    expect(stream.datasets.at(-1)).toMatchObject({ state: { primary: to.id } });
  });

  it('ends with a problem that needs somebody to act, and not with one that passes', async () => {
    const id = await cluster.create(node.id);
    const stream = await open(`?dataset_id=${id}&until=mounted`);
    await node.agent.ordered(id, 'mounted');
    node.becomes(id, 'absent', { problem: { code: 'backend_failed', message: 'once' } });
    await stream.until(() => stream.datasets.at(-1)?.problem?.code === 'backend_failed');
    expect(stream.ended).toBe(false);
    node.becomes(id, 'absent', { problem: { code: 'no_space', message: 'full' } });
    await stream.until(() => stream.ended);
    expect(stream.datasets.at(-1)?.problem).toMatchObject({ code: 'no_space', needs_action: true });
  });

  it('ends when the dataset is deleted', async () => {
    const id = await cluster.create(node.id);
    const stream = await open(`?dataset_id=${id}&until=mounted`);
    await cluster.remove(id);
    await stream.until(() => stream.ended);
    expect(stream.datasets.at(-1)?.configuration.deleted).toBe(true);
  });
});

describe('until=gone', () => {
  it('ends when the volume is destroyed, not when that is asked for', async () => {
    const id = await cluster.create(node.id);
    await node.mounts(id);
    await cluster.remove(id);
    const stream = await open(`?dataset_id=${id}&until=gone`);
    await stream.until(() => statuses(stream).includes('deleting'));
    expect(stream.ended).toBe(false);
    await node.destroys(id);
    await stream.until(() => stream.ended);
    expect(statuses(stream).at(-1)).toBe('deleted');
  });

  it('ends with a problem that needs somebody to act', async () => {
    const id = await cluster.create(node.id);
    await node.mounts(id);
    await cluster.remove(id);
    const stream = await open(`?dataset_id=${id}&until=gone`);
    const other = await Member.start(cluster, await control.certificates.node());
    other.becomes(id, 'mounted');
    await stream.until(() => stream.ended);
    expect(stream.datasets.at(-1)?.problem).toMatchObject({ code: 'conflict', needs_action: true });
  });
});

describe('GET /v1/events of everything (addition)', () => {
  it('shows datasets and nodes, and gives a place to resume from before the first event', async () => {
    const stream = await open('');
    await stream.until(() => stream.lastId !== undefined);
    expect(stream.events).toEqual([]);
    const id = await cluster.create(node.id);
    await stream.until(() => stream.datasets.some(({ configuration }) => configuration.dataset_id === id));
    const other = await Member.start(cluster, await control.certificates.node(), { host: '10.9.9.9' });
    const nodes = (): unknown[] => stream.events.filter(({ name }) => name === 'node').map(({ data }) => data);
    await stream.until(() => nodes().length > 0);
    expect(nodes()).toContainEqual(expect.objectContaining({ uuid: other.id, host: '10.9.9.9', connected: true }));
    other.agent.cut();
    await stream.until(() => JSON.stringify(nodes()).includes('"connected":false'));
  });

  it('resumes after Last-Event-ID with what was missed, once and in order', async () => {
    const first = await open('');
    await first.until(() => first.lastId !== undefined);
    first.close();
    const ids = [await cluster.create(node.id), await cluster.create(node.id), await cluster.create(node.id)];
    const second = await open('', { 'last-event-id': first.lastId ?? '' });
    await second.until(() => second.datasets.length >= 3);
    expect(second.datasets.map(({ configuration }) => configuration.dataset_id)).toEqual(ids);
    const middle = second.events[1]?.id ?? '';
    const third = await open('', { 'last-event-id': middle });
    await third.until(() => third.datasets.length >= 1);
    expect(third.events).toEqual(second.events.slice(2));
  });

  it('says reset when it cannot tell what was missed', async () => {
    const reader = await open('');
    await reader.until(() => reader.lastId !== undefined);
    const lastId = reader.lastId ?? '';
    const unknown = ['junk', '', `${newId()}-1`, lastId.replace(/\d+$/, '999999999')];
    for (const id of unknown) {
      const stream = await open('', { 'last-event-id': id });
      await stream.until(() => stream.events.length > 0);
      expect(stream.events[0]?.name, id).toBe('reset');
    }
    await control.restart();
    await node.rejoin();
    const stream = await open('', { 'last-event-id': lastId });
    await stream.until(() => stream.events.length > 0);
    expect(stream.events[0]?.name).toBe('reset');
    expect(stream.lastId).not.toBe(lastId);
  });

  it('says reset when more was missed than is kept', async () => {
    const reader = await open('');
    await reader.until(() => reader.lastId !== undefined);
    const lastId = reader.lastId ?? '';
    reader.close();
    const id = await cluster.create(node.id);
    await node.agent.ordered(id, 'mounted');
    for (let i = 0; i < 2500; i += 1) node.becomes(id, 'attached');
    await cluster.heardAll(node.agent);
    const stream = await open('', { 'last-event-id': lastId });
    await stream.until(() => stream.events.length > 0);
    expect(stream.events[0]?.name).toBe('reset');
  });

  it('leaves no subscription behind', async () => {
    const id = await cluster.create(node.id);
    const before = control.service.events.subscribers;
    const open20 = Array.from({ length: 20 }, (_, i) => open(i % 2 === 0 ? '' : `?dataset_id=${id}`));
    for (const stream of await Promise.all(open20)) stream.close();
    await expect.poll(() => control.service.events.subscribers).toBe(before);
  });
});

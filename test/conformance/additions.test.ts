import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { PATHS } from '../../src/api/paths.ts';
import type { StorageView } from '../../src/api/storage.ts';
import { type ClusterRun, clusterRun } from '../support/cluster-run.ts';
import { DATASETS, expectAnswer, expectRefusal, newId } from '../support/contract-bodies.ts';
import { startTestControl, type TestControl } from '../support/control.ts';
import { EventStream } from '../support/event-stream.ts';
import { storageOf } from '../support/fake-agent.ts';
import { Member } from '../support/member.ts';
import { openApiFaults } from '../support/openapi-faults.ts';

let control: TestControl;
let cluster: ClusterRun;
let node: Member;
beforeAll(async () => {
  control = await startTestControl();
  cluster = clusterRun(() => control);
});
beforeEach(async () => {
  node = await Member.start(cluster, await control.certificates.node(), { host: '10.0.0.9', profiles: ['gold'] });
});
afterEach(() => cluster.cutAll());
afterAll(() => control.close());

describe('GET /v1/inspect/datasets (addition)', () => {
  const inspect = async (query: string): Promise<{ configuration: { dataset_id: string } }[]> => {
    const { status, json } = await control.api.get(`/v1/inspect/datasets${query}`);
    expect(status).toBe(200);
    return json as unknown as { configuration: { dataset_id: string } }[];
  };
  const ids = async (query: string): Promise<string[]> =>
    (await inspect(query)).map(({ configuration }) => configuration.dataset_id).sort();

  it('shows everything that is known of a dataset', async () => {
    const metadata = { name: 'whole' };
    const id = await cluster.create(node.id, { metadata, maximum_size: 67108864 });
    await node.mounts(id);
    await cluster.lease(id, node.id, null);
    await cluster.shows(id, { status: 'mounted' });
    expect(await cluster.inspect(id)).toEqual({
      configuration: { dataset_id: id, primary: node.id, deleted: false, metadata, maximum_size: 67108864 },
      status: 'mounted',
      state: { primary: node.id, path: `/flocker/${id}`, maximum_size: 2 ** 30 },
      holder: node.id,
      lease: { node_uuid: node.id, expires: null },
      problem: null,
    });
  });

  it('finds by name what is not deleted, and by id everything', async () => {
    const name = `näme & co ${newId()}`;
    const [one, two] = [
      await cluster.create(node.id, { metadata: { name } }),
      await cluster.create(node.id, { metadata: { FLOCKER_ID: name } }),
    ];
    const query = `?name=${encodeURIComponent(name)}`;
    expect(await ids(query)).toEqual([one, two].sort());
    await cluster.remove(one);
    expect(await ids(query)).toEqual([two]);
    expect(await ids(`?dataset_id=${one}`)).toEqual([one]);
    expect(await ids(`?dataset_id=${two.toUpperCase()}`)).toEqual([two]);
    expect(await ids(`${query}&dataset_id=${two}`)).toEqual([two]);
    expect(await ids(`?name=other&dataset_id=${two}`)).toEqual([]);
    for (const none of ['?name=', '?name=nothing', '?dataset_id=junk', `?dataset_id=${newId()}`]) {
      expect(await ids(none), none).toEqual([]);
    }
    expect(await ids('')).toEqual(expect.arrayContaining([one, two]));
  });

  it('refuses a query it does not know', async () => {
    for (const query of ['?junk=1', '?name=a&name=b']) {
      expectRefusal(await control.api.get(`/v1/inspect/datasets${query}`));
    }
  });

  it('gives a reason for whatever is not mounted', async () => {
    const nowhere = newId();
    const id = await cluster.create(nowhere);
    expect(await cluster.inspect(id)).toMatchObject({
      status: 'pending',
      state: null,
      holder: null,
      problem: { code: 'node_unknown', node_uuid: nowhere, needs_action: false },
    });
    const all = (await inspect('')) as unknown as { status: string; problem: unknown }[];
    for (const { status, problem } of all) if (status === 'pending') expect(problem).not.toBeNull();
  });
});

describe('GET /v1/inspect/nodes (addition)', () => {
  it('shows what nodes said of themselves, and which are connected', async () => {
    const find = async (): Promise<unknown> => {
      const { json } = await control.api.get('/v1/inspect/nodes');
      return (json as unknown as { uuid: string }[]).find(({ uuid }) => uuid === node.id);
    };
    expect(await find()).toEqual({
      uuid: node.id,
      host: '10.0.0.9',
      connected: true,
      last_heard: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/) as unknown,
      era: '11111111-1111-4111-8111-111111111111',
      version: '0.0.0',
      backend: 'loopback',
      pool: 'pool-a',
      profiles: ['gold'],
    });
    node.agent.cut();
    await expect.poll(find).toMatchObject({ connected: false });
  });
});

describe('GET /v1/state/storage (addition)', () => {
  const storage = async (): Promise<StorageView> => {
    const { status, json } = await control.api.get('/v1/state/storage');
    expect(status).toBe(200);
    return json as unknown as StorageView;
  };
  const poolCalled = async (name: string): Promise<unknown> =>
    (await storage()).pools.find(({ pool }) => pool === name);
  const metric = async (start: string): Promise<string[]> => {
    const { body } = await control.api.raw({ method: 'GET', path: '/metrics' });
    return body
      .toString()
      .split('\n')
      .filter((line) => line.startsWith(start));
  };
  const figures = {
    total: 1000,
    available: 600,
    used: 400,
    logical: 800,
    physical: 400,
    saved_by_compression: 200,
    saved_by_sharing: null,
    compression_share: 0.25,
  };

  it('shows a pool of two nodes once, from what they measured and what was promised', async () => {
    const pool = newId();
    const [one, two] = [
      await Member.start(cluster, await control.certificates.node(), { pool, profiles: ['gold'] }),
      await Member.start(cluster, await control.certificates.node(), { pool, profiles: ['gold'] }),
    ];
    const metadata = { 'clusterhq:flocker:profile': 'gold' };
    await cluster.create(one.id, { maximum_size: 67108864, metadata });
    await cluster.create(two.id, { maximum_size: 67108864 });
    one.agent.send(storageOf({ figures: { ...storageOf().figures, usedBytes: 0, totalBytes: null } }));
    await expect.poll(() => poolCalled(pool)).toMatchObject({ figures: { total: null, used: 0 } });
    two.agent.send(storageOf());
    await expect
      .poll(() => poolCalled(pool))
      .toEqual({
        pool,
        backend: 'loopback',
        nodes: [one.id, two.id],
        measured: expect.stringMatching(/^\d{4}-.*Z$/) as unknown,
        profiles: [
          {
            ...{
              name: 'gold',
              media: 'ssd',
              compression: 'zstd:3',
              dedup: 'none',
              replication: null,
              encryption: false,
            },
            ...{ datasets: 1, provisioned: 67108864 },
          },
        ],
        figures: { ...figures, provisioned: 2 * 67108864 },
      });
    const { nodes, total } = await storage();
    expect(nodes).toContainEqual({ uuid: one.id, host: '10.0.0.1', connected: true, pool });
    // The node of the other tests has measured nothing.
    expect(total).toMatchObject({ total: null, used: null });
    expect(await metric(`flocker_pool_used_bytes{pool="${pool}"`)).toEqual([
      `flocker_pool_used_bytes{pool="${pool}",backend="loopback"} 400`,
    ]);
    expect(await metric(`flocker_pool_saved_by_sharing_bytes{pool="${pool}"`)).toEqual([]);
    expect(await metric(`flocker_profile_provisioned_bytes{pool="${pool}"`)).toEqual([
      `flocker_profile_provisioned_bytes{pool="${pool}",profile="gold"} 67108864`,
    ]);
    expect(await metric(`flocker_profile_datasets{pool="${pool}"`)).toEqual([
      `flocker_profile_datasets{pool="${pool}",profile="gold"} 1`,
    ]);
  });

  it('shows how full a volume is while it is mounted, in inspections and metrics', async () => {
    const name = `odd "name" \\ ${newId()}`;
    const id = await cluster.create(node.id, { metadata: { name } });
    await node.mounts(id);
    await cluster.shows(id, { status: 'mounted' });
    expect(await cluster.inspect(id)).not.toHaveProperty('usage');
    const volumes = [{ datasetId: id, usedBytes: 5, availableBytes: null }];
    node.agent.send(storageOf({ volumes }));
    await cluster.shows(id, { usage: { used: 5, available: null } });
    const labels = `{dataset_id="${id}",name="${name.replace(/["\\]/g, '\\$&')}",node="${node.id}"}`;
    expect(await metric(`flocker_volume_size_bytes{dataset_id="${id}"`)).toEqual([
      `flocker_volume_size_bytes${labels} ${2 ** 30}`,
    ]);
    expect(await metric(`flocker_volume_used_bytes{dataset_id="${id}"`)).toEqual([
      `flocker_volume_used_bytes${labels} 5`,
    ]);
    expect(await metric(`flocker_volume_available_bytes{dataset_id="${id}"`)).toEqual([]);
    // A node that has it no more has nothing to say about it.
    await cluster.remove(id);
    await node.destroys(id);
    await cluster.shows(id, { status: 'deleted' });
    node.agent.send(storageOf({ volumes }));
    await cluster.heardAll(node.agent);
    expect(await cluster.inspect(id)).not.toHaveProperty('usage');
    expect(await metric(`flocker_volume_size_bytes{dataset_id="${id}"`)).toEqual([]);
  });

  it('is told as an event', async () => {
    const stream = await EventStream.open(control.restPort, await control.certificates.user('listener'), '/v1/events');
    const pool = newId();
    const alone = await Member.start(cluster, await control.certificates.node(), { pool });
    alone.agent.send(storageOf());
    await stream.until(() => stream.events.some(({ name }) => name === 'storage'));
    stream.close();
    const event = stream.events.find(({ name }) => name === 'storage');
    expect(event?.data).toEqual(await poolCalled(pool));
    expect(event?.data).toMatchObject({ pool, nodes: [alone.id], figures });
  });
});

describe('GET /v1/openapi.json (addition)', () => {
  interface OpenApi {
    readonly openapi: string;
    readonly paths: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
  }
  const fetchDocument = async (): Promise<OpenApi> => {
    const { status, json } = await control.api.get('/v1/openapi.json');
    expect(status).toBe(200);
    return json as unknown as OpenApi;
  };

  it('is a sound OpenAPI 3.1 document', async () => {
    const document = await fetchDocument();
    expect(document.openapi).toMatch(/^3\.1\.\d+$/);
    expect(openApiFaults(document)).toEqual([]);
  });

  it('has every path of the API with its methods', async () => {
    const { paths } = await fetchDocument();
    const methods = Object.fromEntries(Object.entries(paths).map(([path, item]) => [path, Object.keys(item).sort()]));
    const one = { [`${PATHS.configurationDatasets}/{dataset_id}`]: ['delete', 'post'] };
    expect(methods).toEqual({
      ...Object.fromEntries(Object.values(PATHS).map((path) => [path, ['get']])),
      [PATHS.configurationDatasets]: ['get', 'post'],
      ...one,
      [`${PATHS.configurationDatasets}/{dataset_id}/size`]: ['post'],
      [PATHS.snapshots]: ['get', 'post'],
      [`${PATHS.snapshots}/{snapshot_id}`]: ['delete'],
      [PATHS.leases]: ['get', 'post'],
      [`${PATHS.leases}/{dataset_id}`]: ['delete'],
      [PATHS.nodes]: undefined,
      [`${PATHS.nodes}/{uuid}/declare-dead`]: ['post'],
      [`${PATHS.restored}/confirm`]: ['post'],
      ...withoutBare(),
    });
    expect(paths).not.toHaveProperty(PATHS.nodesByEra);
    expect(paths).toHaveProperty([`${PATHS.nodesByEra}/{era}`]);
  });

  it('tells the kinds of answers that are not JSON', async () => {
    const { paths } = await fetchDocument();
    expect(paths[PATHS.events]).toHaveProperty(['get', 'responses', '200', 'content', 'text/event-stream']);
    expect(paths[PATHS.metrics]).toHaveProperty(['get', 'responses', '200', 'content', 'text/plain']);
  });

  /** The paths that exist only with something behind them. */
  function withoutBare(): Record<string, unknown> {
    return { [PATHS.nodesByEra]: undefined, [`${PATHS.nodesByEra}/{era}`]: ['get'] };
  }
});

describe('health and metrics (additions)', () => {
  it('say that the service works', async () => {
    expectAnswer(await control.api.get('/health'), 200, { status: 'ok' });
  });

  it('count in Prometheus text', async () => {
    const page = async (): Promise<string> => {
      const { status, headers, body } = await control.api.raw({ method: 'GET', path: '/metrics' });
      expect(status).toBe(200);
      expect(headers['content-type']?.[0]).toMatch(/^text\/plain; version=0\.0\.4/);
      return body.toString();
    };
    const figure = async (name: string): Promise<number> => {
      const match = new RegExp(`^${name} (\\S+)$`, 'm').exec(await page());
      return Number(match?.[1]);
    };
    const [datasets, leases] = [await figure('flocker_control_datasets'), await figure('flocker_control_leases')];
    const id = await cluster.create(node.id);
    await cluster.lease(id, node.id, null);
    expect(await figure('flocker_control_datasets')).toBe(datasets + 1);
    expect(await figure('flocker_control_leases')).toBe(leases + 1);
    await expect.poll(() => figure('flocker_control_nodes_connected')).toBe(1);
    await cluster.remove(id);
    expect(await figure('flocker_control_datasets')).toBe(datasets);
    expect(await page()).toMatch(
      /flocker_control_request_duration_seconds_count\{[^}]*route="\/v1\/configuration\/datasets"/,
    );
    await control.api.get('/v1/nothing');
    await control.api.delete(`${DATASETS}/${newId()}`);
    expect(await page()).not.toContain('nothing');
  });
});

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DATASETS, expectBadSchema, expectError, LEASES, newId } from '../support/contract-bodies.ts';
import { startTestControl, type TestControl } from '../support/control.ts';
import type { JsonAnswer } from '../support/rest-api.ts';

let control: TestControl;
beforeAll(async () => {
  control = await startTestControl({ store: 'level' });
});
afterAll(() => control.close());

const IF_TAG = 'X-If-Configuration-Matches';
const IF_NAME_UNUSED = 'X-Flocker-If-Name-Unused';
const IF_UNLEASED = 'X-Flocker-If-Unleased';

async function tag(): Promise<string> {
  const { headers } = await control.api.get(DATASETS);
  const [value, ...others] = headers['x-configuration-tag'] ?? [];
  expect(others).toEqual([]);
  return value ?? '';
}

async function createdId(fields: object = {}): Promise<string> {
  const { json, status } = await control.api.post(DATASETS, { primary: newId(), ...fields });
  expect(status).toBe(201);
  return (json as { dataset_id: string }).dataset_id;
}

const create = (headers: [string, string][], body: unknown = { primary: newId() }): Promise<JsonAnswer> =>
  control.api.post(DATASETS, body, headers);

describe('the configuration tag (contract 1.9)', () => {
  it('is 32 lower-case hexadecimal digits, on the dataset list only', async () => {
    expect(await tag()).toMatch(/^[0-9a-f]{32}$/);
    const id = await createdId();
    const others = [
      await control.api.get(LEASES),
      await control.api.get('/v1/state/datasets'),
      await control.api.post(`${DATASETS}/${id}`, {}),
      await control.api.delete(`${DATASETS}/${id}`),
    ];
    for (const { headers } of others) expect(headers).not.toHaveProperty('x-configuration-tag');
  });

  it('changes with every change of datasets and leases, and with nothing else', async () => {
    const tags = [await tag()];
    const note = async (): Promise<void> => void tags.push(await tag());
    const id = await createdId();
    await note();
    await control.api.post(`${DATASETS}/${id}`, { primary: newId() });
    await note();
    const lease = { dataset_id: id, node_uuid: newId(), expires: 60 };
    await control.api.post(LEASES, lease);
    await note();
    await control.api.post(LEASES, { ...lease, expires: null });
    await note();
    await control.api.delete(`${LEASES}/${id}`);
    await note();
    await control.api.delete(`${DATASETS}/${id}`);
    await note();
    expect(new Set(tags).size).toBe(tags.length);
    const last = await tag();
    await control.api.post(DATASETS, { primary: newId(), dataset_id: id });
    await control.api.post(`${DATASETS}/${newId()}`, {});
    await control.api.delete(`${LEASES}/${newId()}`);
    await control.api.get('/v1/state/nodes');
    expect(await tag()).toBe(last);
  });

  it('changes when a lease expires', async () => {
    const before = [await tag()];
    const { status } = await control.api.post(LEASES, { dataset_id: newId(), node_uuid: newId(), expires: 0.2 });
    expect(status).toBe(201);
    before.push(await tag());
    await expect.poll(async () => (await control.api.get(LEASES)).json).toEqual([]);
    before.push(await tag());
    expect(new Set(before).size).toBe(3);
  });
});

describe('conditional requests (contract 1.9)', () => {
  it('pass with the present tag, which the change then ends', async () => {
    const present = await tag();
    expect((await create([[IF_TAG, present]])).status).toBe(201);
    const refused = await create([[IF_TAG, present]]);
    expectError(refused, 412, `Tag doesn't match. Required: ${present}, current: ${await tag()}`);
  });

  it('are honoured by create, move and delete', async () => {
    const id = await createdId();
    const stale: [string, string][] = [[IF_TAG, 'stale']];
    const description = `Tag doesn't match. Required: stale, current: ${await tag()}`;
    expectError(await create(stale), 412, description);
    expectError(await control.api.post(`${DATASETS}/${id}`, { primary: newId() }, stale), 412, description);
    expectError(await control.api.delete(`${DATASETS}/${id}`, stale), 412, description);
    expect((await control.api.post(`${DATASETS}/${id}`, {}, [[IF_TAG, await tag()]])).status).toBe(200);
    expect((await control.api.delete(`${DATASETS}/${id}`, [[IF_TAG, await tag()]])).status).toBe(200);
  });

  it('are ignored by leases and reads', async () => {
    const stale: [string, string][] = [[IF_TAG, 'stale']];
    const id = newId();
    const lease = { dataset_id: id, node_uuid: newId(), expires: 60 };
    expect((await control.api.post(LEASES, lease, stale)).status).toBe(201);
    expect((await control.api.delete(`${LEASES}/${id}`, stale)).status).toBe(200);
    expect((await control.api.get(DATASETS, stale)).status).toBe(200);
  });

  it('come before everything else about the request', async () => {
    const stale: [string, string][] = [[IF_TAG, 'stale']];
    const id = await createdId();
    await control.api.delete(`${DATASETS}/${id}`);
    for (const body of [undefined, 'junk', '[]', { junk: 1 }, { primary: newId(), dataset_id: id }]) {
      expect((await create(stale, body)).status).toBe(412);
    }
    for (const path of [`${DATASETS}/${id}`, `${DATASETS}/${newId()}`]) {
      expect((await control.api.post(path, 'junk', stale)).status).toBe(412);
      expect((await control.api.delete(path, stale)).status).toBe(412);
    }
  });

  it('come after routing', async () => {
    expect((await control.api.json({ method: 'PUT', path: DATASETS, headers: [[IF_TAG, 'stale']] })).status).toBe(405);
    expect((await control.api.post('/v1/nothing', {}, [[IF_TAG, 'stale']])).status).toBe(404);
  });

  it('pass when any of a repeated header is the present tag', async () => {
    expect(
      (
        await create([
          [IF_TAG, 'one'],
          [IF_TAG, await tag()],
        ])
      ).status,
    ).toBe(201);
    expect(
      (
        await create([
          [IF_TAG, await tag()],
          [IF_TAG, 'two'],
        ])
      ).status,
    ).toBe(201);
    const present = await tag();
    const refused = await create([
      [IF_TAG, 'one'],
      [IF_TAG, 'two'],
    ]);
    expectError(refused, 412, `Tag doesn't match. Required: one, current: ${present}`);
  });

  it('compare exactly', async () => {
    const present = await tag();
    for (const other of [present.toUpperCase(), `"${present}"`, present.slice(1), '*']) {
      if (other === present) continue;
      expect((await create([[IF_TAG, other]])).status, other).toBe(412);
    }
    expect((await create([[IF_TAG, '']])).status).toBe(412);
  });

  it('still need a body that fits', async () => {
    expectBadSchema(await create([[IF_TAG, await tag()]], {}));
  });

  it('let exactly one of 50 parallel creates win', async () => {
    const present = await tag();
    const answers = await Promise.all(Array.from({ length: 50 }, () => create([[IF_TAG, present]])));
    const statuses = answers.map(({ status }) => status);
    expect(statuses.filter((status) => status === 201)).toHaveLength(1);
    expect(statuses.filter((status) => status === 412)).toHaveLength(49);
  });
});

describe('the condition that a name is unused (addition)', () => {
  const named = (name: string, headers: [string, string][] = [[IF_NAME_UNUSED, encodeURIComponent(name)]]) =>
    create(headers, { primary: newId(), metadata: { name } });

  it('lets exactly one of 50 parallel creates win, whatever else changes meanwhile', async () => {
    const answers = await Promise.all(
      Array.from({ length: 50 }, (_, i) => Promise.all([named('parallel'), i % 5 === 0 ? create([]) : undefined])),
    );
    const statuses = answers.map(([{ status }]) => status);
    expect(statuses.filter((status) => status === 201)).toHaveLength(1);
    expect(statuses.filter((status) => status === 412)).toHaveLength(49);
  });

  it('takes a name in any writing, encoded', async () => {
    const name = 'größe 大小 💾, 100%';
    expect((await named(name)).status).toBe(201);
    const refused = await named(name);
    expect(refused.status).toBe(412);
    expect(refused.json).toEqual({ description: expect.stringContaining(name) as unknown });
  });

  it('sees the name of the first Mesos isolator too', async () => {
    await createdId({ metadata: { FLOCKER_ID: 'older' } });
    expect((await named('older')).status).toBe(412);
  });

  it('lets the name of a deleted dataset be used again', async () => {
    const id = await createdId({ metadata: { name: 'again' } });
    expect((await named('again')).status).toBe(412);
    await control.api.delete(`${DATASETS}/${id}`);
    expect((await named('again')).status).toBe(201);
  });

  it('comes before the body, survives a restart, and concerns creates only', async () => {
    const id = await createdId({ metadata: { name: 'kept' } });
    await control.restart();
    expect((await create([[IF_NAME_UNUSED, 'kept']], 'junk')).status).toBe(412);
    const header: [string, string][] = [[IF_NAME_UNUSED, 'kept']];
    expect((await control.api.post(`${DATASETS}/${id}`, { primary: newId() }, header)).status).toBe(200);
    expect((await control.api.delete(`${DATASETS}/${id}`, header)).status).toBe(200);
  });
});

describe('the condition that nothing is leased (addition)', () => {
  const remove = (id: string, ...ids: string[]): Promise<JsonAnswer> =>
    control.api.delete(`${DATASETS}/${id}`, [[IF_UNLEASED, ids.join(', ')]]);

  it('keeps a dataset while any of the ids has a lease, in either case of letters', async () => {
    const id = await createdId();
    const other = newId();
    for (const leased of [id, other]) {
      await control.api.post(LEASES, { dataset_id: leased, node_uuid: newId(), expires: 60 });
      const refused = await remove(id, id.toUpperCase(), other.toUpperCase());
      expect(refused).toMatchObject({ status: 412, json: { description: expect.stringContaining(leased) as unknown } });
      await control.api.delete(`${LEASES}/${leased}`);
    }
    expect((await remove(id, id, other)).status).toBe(200);
  });

  it('is of deletions only', async () => {
    const id = await createdId();
    await control.api.post(LEASES, { dataset_id: id, node_uuid: newId(), expires: 60 });
    expect((await control.api.post(`${DATASETS}/${id}`, {}, [[IF_UNLEASED, id]])).status).toBe(200);
  });

  it('stands in the OpenAPI document, as the others do', async () => {
    const { json } = await control.api.get('/v1/openapi.json');
    const { paths } = json as {
      paths: Record<string, Record<string, { parameters?: { name: string; in: string }[] }>>;
    };
    const headersOf = (path: string, method: string): string[] =>
      (paths[path]?.[method]?.parameters ?? []).filter((one) => one.in === 'header').map(({ name }) => name);
    expect(headersOf(DATASETS, 'post')).toEqual([IF_TAG, IF_NAME_UNUSED].map((name) => name.toLowerCase()));
    expect(headersOf(`${DATASETS}/{dataset_id}`, 'delete')).toEqual(
      [IF_TAG, IF_UNLEASED].map((name) => name.toLowerCase()),
    );
  });
});

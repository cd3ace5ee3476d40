import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  DATASETS,
  expectAnswer,
  expectBadSchema,
  expectError,
  LEASES,
  newId,
  UNDECODABLE,
} from '../support/contract-bodies.ts';
import { startTestControl, type TestControl } from '../support/control.ts';

let control: TestControl;
beforeAll(async () => {
  control = await startTestControl({ store: 'level' });
});
afterAll(() => control.close());

interface Dataset {
  readonly dataset_id: string;
  readonly primary: string;
}

async function created(fields: object = {}): Promise<Dataset> {
  const answer = await control.api.post(DATASETS, { primary: newId(), ...fields });
  expect(answer.status).toBe(201);
  return answer.json as unknown as Dataset;
}

async function listed(id: string): Promise<unknown> {
  const { json } = await control.api.get(DATASETS);
  return (json as unknown as Dataset[]).filter(({ dataset_id: listedId }) => listedId === id);
}

describe('create (contract 1.4.2)', () => {
  it('answers 201 with the whole dataset and lists it', async () => {
    const primary = newId();
    const metadata = { name: 'demo', owner: 'alice' };
    const answer = await control.api.post(DATASETS, { primary, maximum_size: 1073741824, metadata });
    const { dataset_id: id } = answer.json as unknown as Dataset;
    expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    const whole = { dataset_id: id, primary, maximum_size: 1073741824, metadata, deleted: false };
    expectAnswer(answer, 201, whole);
    expect(await listed(id)).toEqual([whole]);
  });

  it('fills in metadata and deleted, and leaves out a size that was not given', async () => {
    const primary = newId();
    for (const body of [{ primary }, { primary, maximum_size: null }]) {
      const answer = await control.api.post(DATASETS, body);
      const { dataset_id: id } = answer.json as unknown as Dataset;
      expectAnswer(answer, 201, { dataset_id: id, primary, metadata: {}, deleted: false });
    }
  });

  it('takes the id it is given, once, in either case', async () => {
    const { dataset_id: id } = await created({ dataset_id: newId() });
    for (const again of [id, id.toUpperCase()]) {
      const answer = await control.api.post(DATASETS, { primary: newId(), dataset_id: again });
      expectError(answer, 409, 'The provided dataset_id is already in use.');
    }
  });

  it('does not give the id of a deleted dataset again', async () => {
    const { dataset_id: id } = await created();
    await control.api.delete(`${DATASETS}/${id}`);
    const answer = await control.api.post(DATASETS, { primary: newId(), dataset_id: id });
    expectError(answer, 409, 'The provided dataset_id is already in use.');
  });

  it('makes as many datasets of one name as are asked for', async () => {
    const primary = newId();
    const [one, other] = [
      await created({ primary, metadata: { name: 'x' } }),
      await created({ primary, metadata: { name: 'x' } }),
    ];
    expect(one.dataset_id).not.toBe(other.dataset_id);
  });

  it('looks at the body before the id', async () => {
    const { dataset_id: id } = await created();
    expectBadSchema(await control.api.post(DATASETS, { primary: 'x', dataset_id: id }));
  });
});

describe('move (contract 1.4.4)', () => {
  it('answers 200 with the new primary and everything else as it was', async () => {
    const metadata = { name: 'demo' };
    const before = await created({ metadata, maximum_size: 67108864 });
    const primary = newId();
    const answer = await control.api.post(`${DATASETS}/${before.dataset_id}`, { primary });
    expectAnswer(answer, 200, { ...before, primary });
    expect(await listed(before.dataset_id)).toEqual([{ ...before, primary }]);
  });

  it('changes nothing, and no tag, for {} and for the same primary in either case', async () => {
    const before = await created();
    const { headers } = await control.api.get(DATASETS);
    for (const body of [{}, { primary: before.primary }, { primary: before.primary.toUpperCase() }]) {
      expectAnswer(await control.api.post(`${DATASETS}/${before.dataset_id}`, body), 200, before);
    }
    expect((await control.api.get(DATASETS)).headers['x-configuration-tag']).toEqual(headers['x-configuration-tag']);
  });

  it('cannot resize, rename or undelete', async () => {
    const { dataset_id: id } = await created();
    for (const body of [{ maximum_size: 134217728 }, { metadata: {} }, { deleted: false }, { dataset_id: id }]) {
      expectBadSchema(await control.api.post(`${DATASETS}/${id}`, body));
    }
  });

  it('knows no other dataset, and looks at the body first', async () => {
    const path = `${DATASETS}/${newId()}`;
    expectError(await control.api.post(path, {}), 404, 'Dataset not found.');
    expectError(await control.api.post(`${DATASETS}/junk`, {}), 404, 'Dataset not found.');
    expectBadSchema(await control.api.post(path, { junk: 1 }));
    expectAnswer(await control.api.post(path, 'junk'), 400, UNDECODABLE);
  });

  it('compares the id in the path as it is written', async () => {
    const id = 'abcdefab-cdef-4bcd-abcd-abcdefabcdef';
    await created({ dataset_id: id });
    expectError(await control.api.post(`${DATASETS}/${id.toUpperCase()}`, {}), 404, 'Dataset not found.');
  });

  it('answers 405 without Allow for a deleted dataset, after looking at the body', async () => {
    const { dataset_id: id, primary } = await created();
    await control.api.delete(`${DATASETS}/${id}`);
    for (const body of [{ primary: newId() }, { primary }, {}]) {
      const answer = await control.api.post(`${DATASETS}/${id}`, body);
      expectError(answer, 405, 'The dataset has been deleted.');
      expect(answer.headers).not.toHaveProperty('allow');
    }
    expectBadSchema(await control.api.post(`${DATASETS}/${id}`, { junk: 1 }));
  });

  it('is not stopped by a lease', async () => {
    const { dataset_id: id, primary } = await created();
    await control.api.post(LEASES, { dataset_id: id, node_uuid: primary, expires: null });
    expect((await control.api.post(`${DATASETS}/${id}`, { primary: newId() })).status).toBe(200);
  });
});

describe('delete (contract 1.4.3)', () => {
  it('answers 200 with deleted set, every time, and keeps it in the list', async () => {
    const before = await created({ metadata: { name: 'x' }, maximum_size: 67108864 });
    const after = { ...before, deleted: true };
    for (let i = 0; i < 3; i += 1)
      expectAnswer(await control.api.delete(`${DATASETS}/${before.dataset_id}`), 200, after);
    expect(await listed(before.dataset_id)).toEqual([after]);
  });

  it('changes no tag the second time', async () => {
    const { dataset_id: id } = await created();
    await control.api.delete(`${DATASETS}/${id}`);
    const { headers } = await control.api.get(DATASETS);
    await control.api.delete(`${DATASETS}/${id}`);
    expect((await control.api.get(DATASETS)).headers['x-configuration-tag']).toEqual(headers['x-configuration-tag']);
  });

  it('knows no other dataset, and compares ids as they are written', async () => {
    const id = 'abcdefab-cdef-4bcd-abcd-abcdefabcd00';
    await created({ dataset_id: id });
    for (const other of [newId(), 'junk', id.toUpperCase(), `{${id}}`]) {
      expectError(await control.api.delete(`${DATASETS}/${other}`), 404, 'Dataset not found.');
    }
  });

  it('is not stopped by a lease', async () => {
    const { dataset_id: id, primary } = await created();
    await control.api.post(LEASES, { dataset_id: id, node_uuid: primary, expires: 60 });
    expect((await control.api.delete(`${DATASETS}/${id}`)).status).toBe(200);
  });
});

describe('durability', () => {
  it('gives everything back after a restart, in every character', async () => {
    const metadata = { name: 'naïve 名 💾 \u2028', '\ud800': '\udfff\u0000' };
    const [kept, moved, gone] = [await created({ metadata, maximum_size: 67108864 }), await created(), await created()];
    await control.api.post(`${DATASETS}/${moved.dataset_id}`, { primary: newId() });
    await control.api.delete(`${DATASETS}/${gone.dataset_id}`);
    const before = await control.api.get(DATASETS);
    await control.restart();
    const after = await control.api.get(DATASETS);
    const byId = (json: unknown): unknown =>
      [...(json as Dataset[])].sort((a, b) => (a.dataset_id < b.dataset_id ? -1 : 1));
    expect(byId(after.json)).toEqual(byId(before.json));
    expect(after.headers['x-configuration-tag']).toEqual(before.headers['x-configuration-tag']);
    expect(await listed(kept.dataset_id)).toEqual([kept]);
  });
});

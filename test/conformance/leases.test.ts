import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import {
  DATASETS,
  expectAnswer,
  expectBadSchema,
  expectError,
  expectRefusal,
  LEASES,
  newId,
} from '../support/contract-bodies.ts';
import { startTestControl, type TestControl } from '../support/control.ts';
import { ManualClock } from '../support/manual-clock.ts';
import type { JsonAnswer } from '../support/rest-api.ts';

const clock = new ManualClock();
let control: TestControl;
let id: string;
let node: string;
beforeAll(async () => {
  control = await startTestControl({ clock, store: 'level' });
});
beforeEach(() => {
  id = newId();
  node = newId();
});
afterAll(() => control.close());

const acquire = (expires: number | null, fields: object = {}): Promise<JsonAnswer> =>
  control.api.post(LEASES, { dataset_id: id, node_uuid: node, expires, ...fields });
const leaseOf = (expires: number | null): object => ({ dataset_id: id, node_uuid: node, expires });

async function listed(): Promise<unknown> {
  const { status, json } = await control.api.get(LEASES);
  expect(status).toBe(200);
  return (json as { dataset_id: string }[]).filter(({ dataset_id: listedId }) => listedId === id);
}

describe('taking a lease (contract 1.6)', () => {
  it('answers 201 the first time and 200 to the same node, shorter, longer, for ever and back', async () => {
    expectAnswer(await acquire(30), 201, leaseOf(30));
    for (const expires of [60, 10, null, 0.5, 29.998, null]) {
      expectAnswer(await acquire(expires), 200, leaseOf(expires));
      expect(await listed()).toEqual([leaseOf(expires)]);
    }
  });

  it('answers 409 to another node, and leaves the lease alone', async () => {
    await acquire(30);
    for (const expires of [10, 0, -5, null]) {
      expectError(await acquire(expires, { node_uuid: newId() }), 409, 'Lease already held.');
    }
    expect(await listed()).toEqual([leaseOf(30)]);
  });

  it('gives ids back in lower case and compares them so', async () => {
    await acquire(30);
    const upper = { dataset_id: id.toUpperCase(), node_uuid: node.toUpperCase() };
    expectAnswer(await acquire(40, upper), 200, leaseOf(40));
  });

  it('asks neither whether the dataset exists, nor where it is, nor whether it is deleted', async () => {
    const { json } = await control.api.post(DATASETS, { primary: newId() });
    ({ dataset_id: id } = json as { dataset_id: string });
    await control.api.delete(`${DATASETS}/${id}`);
    expectAnswer(await acquire(null), 201, leaseOf(null));
  });

  it('takes a UUID of any version for the dataset, and only version 4 for the node', async () => {
    id = `${newId().slice(0, 14)}1${newId().slice(15)}`;
    expectAnswer(await acquire(null), 201, leaseOf(null));
    await control.restart();
    expect(await listed()).toEqual([leaseOf(null)]);
    expectAnswer(await control.api.delete(`${LEASES}/${id}`), 200, leaseOf(null));
    expectBadSchema(await acquire(1, { node_uuid: '11111111-1111-1111-8111-111111111111' }));
  });

  it('refuses 36 characters that are no UUID, which was a 500', async () => {
    for (const text of ['x'.repeat(36), '-'.repeat(36), `g${id.slice(1)}`]) {
      expectRefusal(await acquire(1, { dataset_id: text }));
    }
  });

  it.each([
    ['a short dataset_id', { dataset_id: 'x' }],
    ['a long dataset_id', { dataset_id: 'x'.repeat(37) }],
    ['a null dataset_id', { dataset_id: null }],
    ['a null node', { node_uuid: null }],
    ['a node that is no UUID', { node_uuid: 'x'.repeat(36) }],
    ['a string for expires', { expires: '30' }],
    ['a boolean for expires', { expires: true }],
    ['another property', { junk: 1 }],
    ['no dataset_id', { dataset_id: undefined }],
    ['no node_uuid', { node_uuid: undefined }],
    ['no expires', { expires: undefined }],
  ])('refuses %s', async (_, fields) => {
    expectBadSchema(await acquire(30, fields));
  });

  it.each(['1e300', '1e400', '-1e300'])('refuses to expire in %s seconds, which was a 500', async (number) => {
    const body = `{"dataset_id": "${id}", "node_uuid": "${node}", "expires": ${number}}`;
    expectRefusal(await control.api.post(LEASES, body));
    expect(await listed()).toEqual([]);
  });

  it('takes whole numbers written as floats', async () => {
    const body = `{"dataset_id": "${id}", "node_uuid": "${node}", "expires": 30.0}`;
    expectAnswer(await control.api.post(LEASES, body), 201, leaseOf(30));
  });
});

describe('releasing a lease (contract 1.6)', () => {
  it('answers 200 with what was left, to anybody, and 404 afterwards', async () => {
    await acquire(60);
    clock.advance(8_800);
    expectAnswer(await control.api.delete(`${LEASES}/${id}`), 200, leaseOf(51.2));
    expectError(await control.api.delete(`${LEASES}/${id}`), 404, 'Lease not found.');
    expect(await listed()).toEqual([]);
    expectAnswer(await acquire(5), 201, leaseOf(5));
  });

  it('takes the id in either case, and refuses what is no UUID', async () => {
    await acquire(null);
    expectAnswer(await control.api.delete(`${LEASES}/${id.toUpperCase()}`), 200, leaseOf(null));
    for (const text of ['junk', 'x'.repeat(36)]) expectRefusal(await control.api.delete(`${LEASES}/${text}`));
  });
});

describe('the end of a lease (contract 1.6)', () => {
  const ended = (): Promise<void> => expect.poll(listed, { interval: 2 }).toEqual([]);

  it('counts down and then comes by itself', async () => {
    await acquire(30);
    clock.advance(10_500);
    expect(await listed()).toEqual([leaseOf(19.5)]);
    clock.advance(19_500);
    expect(await listed()).toEqual([leaseOf(0)]);
    clock.advance(1_000);
    await ended();
    node = newId();
    expectAnswer(await acquire(1), 201, leaseOf(1));
  });

  it.each([0, -1, -0.5, -1e6])('comes at once for %d', async (expires) => {
    const answer = await acquire(expires);
    expectAnswer(answer, 201, leaseOf(expires));
    clock.advance(1_000);
    await ended();
  });

  it('moves with renewals', async () => {
    await acquire(10);
    clock.advance(9_000);
    await acquire(100);
    clock.advance(50_000);
    expect(await listed()).toEqual([leaseOf(50)]);
    await acquire(1);
    clock.advance(2_000);
    await ended();
    await acquire(1);
    await acquire(null);
    clock.advance(10 ** 9);
    expect(await listed()).toEqual([leaseOf(null)]);
  });

  it('is kept for fractions of a second', async () => {
    await acquire(0.25);
    clock.advance(249);
    expect(await listed()).toEqual([leaseOf(0.001)]);
    clock.advance(1_000);
    await ended();
  });

  it('is later than any timer of node can wait', async () => {
    await acquire(10 * 365 * 86_400);
    clock.advance(365 * 86_400_000);
    expect(await listed()).toEqual([leaseOf(9 * 365 * 86_400)]);
    clock.advance(10 * 365 * 86_400_000);
    await ended();
  });

  it('holds across a restart, and comes while the service is down', async () => {
    await acquire(100);
    const lasting = id;
    id = newId();
    await acquire(1);
    const short = id;
    clock.advance(500);
    await control.restart();
    id = lasting;
    expect(await listed()).toEqual([leaseOf(99.5)]);
    expectError(await acquire(1, { node_uuid: newId() }), 409, 'Lease already held.');
    id = short;
    clock.jumpWall(1_000);
    await control.restart();
    clock.advance(1);
    await ended();
  });
});

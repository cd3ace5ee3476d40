import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DATASETS, expectBadSchema, newId } from '../support/contract-bodies.ts';
import { startTestControl, type TestControl } from '../support/control.ts';
import type { JsonAnswer } from '../support/rest-api.ts';

let control: TestControl;
beforeAll(async () => {
  control = await startTestControl();
});
afterAll(() => control.close());

const create = (fields: object): Promise<JsonAnswer> => control.api.post(DATASETS, { primary: newId(), ...fields });

/** A body with a number as it is written, which JSON.stringify would write anew. */
const createSized = (number: string): Promise<JsonAnswer> =>
  control.api.post(DATASETS, `{"primary": "${newId()}", "maximum_size" : ${number}}`);

const NOT_V4 = [
  ['', 'empty'],
  ['x', 'no UUID'],
  ['11111111-1111-1111-8111-111111111111', 'version 1'],
  ['11111111-1111-5111-8111-111111111111', 'version 5'],
  ['11111111-1111-4111-7111-111111111111', 'another variant'],
  ['11111111-1111-4111-c111-111111111111', 'another variant'],
  ['11111111-1111-4111-8111-11111111111', 'one digit short'],
  ['11111111-1111-4111-8111-1111111111111', 'one digit long'],
  ['11111111-1111-4111-8111-111111111111\n', 'a newline after it'],
  ['111111111111411181111111111111111111', 'no hyphens'],
  ['{1111111-1111-4111-8111-11111111111}', 'braces'],
  ['1111111g-1111-4111-8111-111111111111', 'no digit'],
  [' 1111111-1111-4111-8111-111111111111', 'a space'],
  ['１1111111-1111-4111-8111-11111111111', 'a full-width digit'],
] as const;

describe('uuid (contract 1.3)', () => {
  it.each(NOT_V4)('refuses %j as primary: %s', async (primary) => {
    expectBadSchema(await create({ primary }));
  });

  it.each(NOT_V4)('refuses %j as dataset_id: %s', async (id) => {
    expectBadSchema(await create({ dataset_id: id }));
  });

  it.each(NOT_V4)('refuses %j as the primary of a move: %s', async (primary) => {
    const { json } = await create({});
    expectBadSchema(await control.api.post(`${DATASETS}/${(json as { dataset_id: string }).dataset_id}`, { primary }));
  });

  it.each([null, 1, true, {}, ['11111111-1111-4111-8111-111111111111']])('refuses %j for a UUID', async (value) => {
    expectBadSchema(await create({ primary: value }));
    expectBadSchema(await create({ dataset_id: value }));
    expectBadSchema(await control.api.post(`${DATASETS}/${newId()}`, { primary: value }));
  });

  it.each(['8', '9', 'a', 'b', 'A', 'B'])('takes variant %s', async (variant) => {
    const primary = `${newId().slice(0, 19)}${variant}${newId().slice(20)}`;
    expect((await create({ primary })).status).toBe(201);
  });

  it('gives ids back in lower case', async () => {
    const [id, primary] = [newId(), newId()];
    const answer = await create({ dataset_id: id.toUpperCase(), primary: primary.toUpperCase() });
    expect(answer.status).toBe(201);
    expect(answer.json).toMatchObject({ dataset_id: id, primary });
    const moved = await control.api.post(`${DATASETS}/${id}`, { primary: newId().toUpperCase() });
    expect(moved.json).toMatchObject({ primary: expect.stringMatching(/^[0-9a-f-]{36}$/) as unknown });
  });
});

describe('maximum_size (contract 1.3, 1.11)', () => {
  it.each(['67108864', '67109888', '1073741824', '80530636800', '1125899906842624', '9007199254739968'])(
    'takes %s',
    async (number) => {
      const answer = await createSized(number);
      expect(answer.status).toBe(201);
      expect(answer.text).toContain(`"maximum_size":${number}`);
    },
  );

  it('has no upper bound', async () => {
    const answer = await createSized('102400000000000000000');
    expect(answer.status).toBe(201);
    expect(answer.text).toContain('"maximum_size":102400000000000000000');
  });

  it.each([
    ['0'],
    ['-67108864'],
    ['1024'],
    ['67107840'],
    ['67108863'],
    ['67108865'],
    ['67109376'],
    ['67108864.0'],
    ['67108864.5'],
    ['67108864e0'],
    ['6.7108864E7'],
    ['"67108864"'],
    ['true'],
    ['{}'],
    ['[]'],
    ['[67108864]'],
  ])('refuses %s', async (number) => {
    expectBadSchema(await createSized(number));
  });

  it('takes null for no size', async () => {
    const answer = await createSized('null');
    expect(answer.status).toBe(201);
    expect(answer.json).not.toHaveProperty('maximum_size');
  });

  it('is not confused by metadata that speaks of sizes', async () => {
    const metadata = { maximum_size: '67108864.0', note: '"maximum_size": 1.5', '"maximum_size"': '1.5' };
    const answer = await create({ metadata });
    expect(answer.status).toBe(201);
    expect(answer.json).toMatchObject({ metadata });
  });
});

describe('metadata (contract 1.3)', () => {
  const entries = (count: number): Record<string, string> =>
    Object.fromEntries(Array.from({ length: count }, (_, i) => [`key-${i}`, `${i}`]));

  it.each([0, 1, 16])('takes %i entries', async (count) => {
    const answer = await create({ metadata: entries(count) });
    expect(answer.status).toBe(201);
    expect(answer.json).toMatchObject({ metadata: entries(count) });
  });

  it('refuses 17 entries', async () => {
    expectBadSchema(await create({ metadata: entries(17) }));
  });

  // U+1F4BE is one character and two UTF-16 units.
  it.each(['a', 'é', '💾'])('counts 256 times %s as 256 characters', async (character) => {
    const text = character.repeat(256);
    const answer = await create({ metadata: { [text]: text } });
    expect(answer.status).toBe(201);
    expect(answer.json).toMatchObject({ metadata: { [text]: text } });
    expectBadSchema(await create({ metadata: { [text + character]: '' } }));
    expectBadSchema(await create({ metadata: { x: text + character } }));
  });

  it('takes an empty value, and none of an empty key', async () => {
    expect((await create({ metadata: { x: '' } })).status).toBe(201);
    expectBadSchema(await create({ metadata: { '': 'x' } }));
  });

  it('takes a newline in a value, and none in a key', async () => {
    expect((await create({ metadata: { x: 'a\nb\n' } })).status).toBe(201);
    for (const key of ['\n', 'a\n', '\na', 'a\nb']) expectBadSchema(await create({ metadata: { [key]: 'x' } }));
  });

  it('treats no key as special', async () => {
    const text = '{"__proto__":"a","constructor":"b","toString":"c","hasOwnProperty":"d"}';
    const answer = await control.api.post(DATASETS, `{"primary": "${newId()}", "metadata": ${text}}`);
    expect(answer.status).toBe(201);
    expect(answer.text).toContain(`"metadata":${text}`);
  });

  it.each([null, 1, 'x', true, []])('refuses %j for metadata', async (metadata) => {
    expectBadSchema(await create({ metadata }));
  });

  it.each([null, 1, true, {}, []])('refuses %j for a value', async (value) => {
    expectBadSchema(await create({ metadata: { x: value } }));
  });
});

describe('request objects (contract 1.1)', () => {
  it('take no other properties', async () => {
    for (const extra of [{ junk: 1 }, { deleted: false }, { deleted: true }, { path: '/x' }]) {
      expectBadSchema(await create(extra));
      expectBadSchema(await control.api.post(`${DATASETS}/${newId()}`, extra));
    }
  });

  it('are told all that is wrong with them at once', async () => {
    const answer = await create({ primary: 'x', metadata: { a: 1 }, junk: true });
    expectBadSchema(answer);
    expect((answer.json as { errors: string[] }).errors.length).toBeGreaterThanOrEqual(3);
  });

  it('must name the primary', async () => {
    expectBadSchema(await control.api.post(DATASETS, {}));
    expectBadSchema(await control.api.post(DATASETS, { dataset_id: newId() }));
  });
});

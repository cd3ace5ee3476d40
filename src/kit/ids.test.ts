import { randomUUID } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { derivedUuid, newDatasetId, parseAnyUuid, parseDatasetId, parseLeasedId, parseNodeId } from './ids.ts';

const ID = '0a1b2c3d-4e5f-4a6b-8c7d-9e0f1a2b3c4d';
const VERSION_1 = '0a1b2c3d-4e5f-1a6b-8c7d-9e0f1a2b3c4d';

describe.each([parseDatasetId, parseNodeId])('%o', (parse) => {
  it('takes version 4 in either case and gives lower case', () => {
    expect([parse(ID), parse(ID.toUpperCase())]).toEqual([ID, ID]);
  });

  it.each([VERSION_1, '', 'x', ID.slice(1), `${ID}0`, `${ID}\n`, ` ${ID}`, ID.replaceAll('-', ''), `{${ID}}`])(
    'refuses %j',
    (text) => {
      expect(parse(text)).toBeUndefined();
    },
  );
});

it('reads any UUID in the forms that Python takes', () => {
  const hex = ID.replaceAll('-', '');
  for (const text of [ID, ID.toUpperCase(), hex, `{${ID}}`, `urn:uuid:${ID}`, `uuid:${hex}`]) {
    expect([parseAnyUuid(text), parseLeasedId(text)], text).toEqual([ID, ID]);
  }
  expect(parseAnyUuid(VERSION_1)).toBe(VERSION_1);
  for (const text of ['', 'x', hex.slice(1), `${hex}0`, `${hex}\n`, `g${hex.slice(1)}`]) {
    expect(parseAnyUuid(text), text).toBeUndefined();
  }
});

it('makes dataset ids that can be read back', () => {
  const id = newDatasetId(() => randomUUID().toUpperCase());
  expect(parseDatasetId(id)).toBe(id);
});

it('derives the same version 4 UUID from the same parts only', () => {
  const ids = [derivedUuid('a', 'b'), derivedUuid('ab'), derivedUuid('a', 'b', ''), derivedUuid('b', 'a')];
  expect(new Set(ids).size).toBe(4);
  expect(derivedUuid('a', 'b')).toBe(ids[0]);
  for (const id of ids) expect(parseDatasetId(id)).toBe(id);
});

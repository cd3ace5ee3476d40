import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseBoundedJson } from './bounded-json.ts';

const LONG = 4 * 2 ** 20;

describe('JSON of a peer that may be hostile', () => {
  it.each([
    ['brackets', '['.repeat(LONG), /deeper/],
    ['closed brackets', '['.repeat(LONG / 2) + ']'.repeat(LONG / 2), /deeper/],
    ['nested objects', '{"a":'.repeat(LONG / 5), /deeper/],
    ['empty objects', `[${'{},'.repeat(LONG / 3)}{}]`, /too many values/],
    ['ones', `[${'1,'.repeat(LONG / 2)}1]`, /too many values/],
    ['brackets behind an escaped quote', `["\\"",${'['.repeat(LONG)}`, /deeper/],
  ])('is refused before it costs anything: %s', (_, text, reason) => {
    const startedMs = performance.now();
    expect(() => parseBoundedJson(Buffer.from(text))).toThrow(reason);
    expect(performance.now() - startedMs).toBeLessThan(2_000);
  });

  it('is what JSON.parse makes of it, short or long', () => {
    fc.assert(
      fc.property(fc.json(), fc.boolean(), (text, long) => {
        const padded = long ? `${text}${' '.repeat(2 ** 20)}` : text;
        expect(parseBoundedJson(Buffer.from(padded))).toEqual(JSON.parse(text));
      }),
      { numRuns: 50 },
    );
  });

  it('may be a long hello', () => {
    const report = {
      datasetId: 'a49f3c9f-7dee-43b1-8d6f-d01bd31ff9ee',
      order: 0,
      busy: false,
      state: { kind: 'absent' },
    };
    const hello = { kind: 'hello', has: Array.from({ length: 50_000 }, () => ({ ...report, problem: null })) };
    expect(parseBoundedJson(Buffer.from(JSON.stringify(hello)))).toEqual(hello);
    const braces = { text: '{[,"\\'.repeat(500_000) };
    expect(parseBoundedJson(Buffer.from(JSON.stringify(braces)))).toEqual(braces);
  });
});

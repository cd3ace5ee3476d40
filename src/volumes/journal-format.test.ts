import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decodeJournal, encodeGroup, type JournalChange } from './journal-format.ts';

const first = encodeGroup({ number: 7, kind: 'all', changes: [['a', { text: 'ä\n' }]] });
const second = encodeGroup({
  number: 8,
  kind: 'changes',
  changes: [
    ['b', 2],
    ['c', 3],
  ],
});
const third = encodeGroup({ number: 9, kind: 'changes', changes: [['a', null]] });

function decode(...pieces: readonly (string | Buffer)[]): ReturnType<typeof decodeJournal> {
  return decodeJournal(Buffer.concat(pieces.map((piece) => Buffer.from(piece as string))));
}

function entriesOf(content: ReturnType<typeof decodeJournal>): unknown {
  return content.kind === 'whole' ? Object.fromEntries(content.entries) : content;
}

describe('decodeJournal', () => {
  it('replays groups in order', () => {
    expect(entriesOf(decode(first, second, third))).toEqual({ b: 2, c: 3 });
  });

  it('cut at any byte of the last group, gives all groups before it and never half a group', () => {
    const bytes = Buffer.from(first + second + third);
    const beforeLast = Buffer.byteLength(first + second);
    for (let length = beforeLast; length < bytes.length; length += 1) {
      const content = decodeJournal(bytes.subarray(0, length));
      expect(entriesOf(content)).toEqual({ a: { text: 'ä\n' }, b: 2, c: 3 });
      expect(content).toMatchObject({ kind: 'whole', number: 8, tornBytes: length - beforeLast });
    }
  });

  it('takes zeros in the last line for data that a power cut kept from the disk', () => {
    const torn = Buffer.from(third);
    torn.fill(0, 12, 20);
    expect(decode(first, second, torn)).toMatchObject({ kind: 'whole', number: 8 });
    expect(decode(first, second, Buffer.alloc(4096))).toMatchObject({ kind: 'whole', number: 8 });
  });

  it('refuses damage in anything that was acknowledged', () => {
    const bytes = Buffer.from(first + second + third);
    const tail = bytes.length - 1;
    for (let index = 0; index < tail; index += 1) {
      const damaged = Buffer.from(bytes);
      damaged[index] = (damaged[index] ?? 0) ^ 1;
      expect(decodeJournal(damaged).kind, `bit flipped in byte ${index}`).toBe('damaged');
    }
  });

  it('refuses a lost line, an empty file and a file without its beginning', () => {
    expect(decode(first, third)).toMatchObject({ kind: 'damaged', line: 2 });
    expect(decode('')).toMatchObject({ kind: 'damaged' });
    expect(decode(second, third)).toMatchObject({ kind: 'damaged', line: 1 });
    expect(decode(first.slice(0, 20))).toMatchObject({ kind: 'damaged', line: 1 });
  });

  it('gives back whatever was written, for any values', () => {
    const changes = fc.array(fc.tuple(fc.string(), fc.option(fc.jsonValue().filter((value) => value !== null))));
    fc.assert(
      fc.property(fc.array(changes, { minLength: 1, maxLength: 8 }), (groups) => {
        const expected = new Map<string, unknown>();
        const lines = groups.map((group, index) => {
          for (const [key, value] of group) {
            if (value === null) expected.delete(key);
            else expected.set(key, value);
          }
          const asWritten = group as JournalChange[];
          return encodeGroup({ number: index + 1, kind: index === 0 ? 'all' : 'changes', changes: asWritten });
        });
        const content = decode(...lines);
        expect(content.kind === 'whole' && JSON.stringify([...content.entries])).toBe(JSON.stringify([...expected]));
      }),
    );
  });
});

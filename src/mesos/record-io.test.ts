import fc from 'fast-check';
import { expect, it } from 'vitest';
import { RecordIo } from './record-io.ts';

it('finds the records however they are cut', () => {
  fc.assert(
    fc.property(fc.array(fc.string({ unit: 'grapheme' })), fc.array(fc.nat(40)), (texts, cuts) => {
      const stream = Buffer.concat(texts.map((text) => Buffer.from(`${Buffer.byteLength(text)}\n${text}`)));
      const records = new RecordIo();
      const found: string[] = [];
      let from = 0;
      for (const length of [...cuts, stream.length]) {
        found.push(...records.push(stream.subarray(from, from + length)));
        from += length;
      }
      expect(found).toEqual(texts);
    }),
  );
});

it.each(['x\n', '\n', '-1\n', '12345678901234567890', '99999999999\n', '1.5\n{'])('refuses %j', (text) => {
  expect(() => new RecordIo().push(Buffer.from(text))).toThrow(/Mesos/);
});

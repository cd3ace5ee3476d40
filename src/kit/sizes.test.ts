import fc from 'fast-check';
import { expect, it } from 'vitest';
import { formatSize, parseSizeBytes, roundUp } from './sizes.ts';

it.each([
  ['0', 0],
  ['67108864', 67108864],
  ['1k', 1024],
  ['1 KB', 1024],
  ['1KiB', 1024],
  ['100MiB', 104857600],
  ['1.5g', 1610612736],
  [' 2TB ', 2199023255552],
  ['1p', 1125899906842624],
  ['10b', 10],
])('reads %j', (text, sizeBytes) => {
  expect(parseSizeBytes(text)).toBe(sizeBytes);
});

it.each([
  '',
  ' ',
  'g',
  '-1',
  '+1',
  '1e3',
  '0x10',
  '1,5g',
  '1.g',
  '.5g',
  '1.5',
  '0.3k',
  '1x',
  '1ii',
  '1g g',
  '9p9',
  '9000p',
  'NaN',
])('refuses %j', (text) => {
  expect(parseSizeBytes(text)).toBeUndefined();
});

it('writes sizes for people', () => {
  expect([0, 1, 1023, 1024, 1536, 2 ** 30, 75 * 2 ** 30, 2 ** 60].map(formatSize)).toEqual([
    '0 bytes',
    '1 bytes',
    '1023 bytes',
    '1 KiB',
    '1.5 KiB',
    '1 GiB',
    '75 GiB',
    '1024 PiB',
  ]);
});

it('rounds up to the next multiple and no further', () => {
  fc.assert(
    fc.property(fc.nat(2 ** 31), fc.integer({ min: 1, max: 2 ** 20 }), (sizeBytes, unitBytes) => {
      const rounded = roundUp(sizeBytes, unitBytes);
      expect(rounded % unitBytes).toBe(0);
      expect(rounded - sizeBytes).toBeGreaterThanOrEqual(0);
      expect(rounded - sizeBytes).toBeLessThan(unitBytes);
    }),
  );
});

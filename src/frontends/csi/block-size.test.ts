import { describe, expect, it } from 'vitest';
import { blockBytesIn, blockBytesOf, blockMetadata, storageBytesFor } from './block-size.ts';

const GIB = 2 ** 30;
const SIZES = [64 * 2 ** 20, GIB, GIB + 4096, 10 * GIB - 4096, 75 * GIB, 2 ** 44 + 7 * 4096];

describe('the size of a block volume', () => {
  it.each(SIZES)('is known from the size of the dataset: %d', (blockBytes) => {
    const storageBytes = storageBytesFor(blockBytes);
    expect(storageBytes % 4096).toBe(0);
    expect(blockBytesIn(storageBytes)).toBe(blockBytes);
    expect(blockBytesIn(storageBytes - 1)).toBe(blockBytes - 4096);
    expect(blockBytesOf(blockMetadata(blockBytes), storageBytes)).toBe(blockBytes);
  });

  it('is what it was made with or has grown to', () => {
    expect(blockBytesOf(blockMetadata(GIB), storageBytesFor(3 * GIB))).toBe(3 * GIB);
    expect(blockBytesOf(blockMetadata(GIB), null)).toBe(GIB);
    expect(blockBytesIn(1024)).toBe(0);
  });

  it('is nothing for other volumes', () => {
    expect(blockBytesOf({}, GIB)).toBeUndefined();
    expect(blockBytesOf({ 'flocker:block': 'much' }, GIB)).toBeUndefined();
  });
});

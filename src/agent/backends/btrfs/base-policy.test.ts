import { describe, expect, it } from 'vitest';
import {
  candidateOf,
  commonOf,
  hasRoom,
  isCheapAlong,
  isWorthKeeping,
  knownOf,
  newerOf,
  type PoolVersion,
} from './base-policy.ts';

const version = (identity: string, madeIn: number): PoolVersion => ({
  ...{ id: madeIn, identity, path: `/${identity}`, madeIn: BigInt(madeIn) },
});
const bytes = (referencedBytes: number, exclusiveBytes: number) => ({
  ...{ referencedBytes, exclusiveBytes, limitBytes: null },
});
const [old, middle, young] = [version('old', 1), version('middle', 2), version('young', 3)];
const versions = [middle, young, old];

describe('what a copy builds on', () => {
  it('is the newest version that both have', () => {
    expect(commonOf(versions, { known: ['old', 'middle', 'other'], keepsOne: false })).toBe(middle);
    expect(commonOf(versions, { known: ['other'], keepsOne: true })).toBeNull();
    expect(newerOf(old, young)).toBe(young);
    expect(newerOf(old, null)).toBe(old);
    expect(newerOf(null, null)).toBeNull();
  });

  it('is told newest first, each once, and not without end', () => {
    expect(knownOf([...versions, version('old', 0)])).toEqual(['young', 'middle', 'old']);
    expect(knownOf(Array.from({ length: 100 }, (_, at) => version(`${at}`, at)))).toHaveLength(32);
  });

  it('goes along where it is wanted, not known and cheap', () => {
    expect(candidateOf(versions, { known: ['young'], keepsOne: true })).toBe(middle);
    expect(candidateOf(versions, { known: [], keepsOne: false })).toBeNull();
    expect(candidateOf(versions, { known: ['old', 'middle', 'young'], keepsOne: true })).toBeNull();
    expect(isCheapAlong(bytes(1000, 250), bytes(1000, 250))).toBe(true);
    expect(isCheapAlong(bytes(1000, 251), bytes(1000, 251))).toBe(false);
    // Two snapshots share it all, the volume was written anew.
    expect(isCheapAlong(bytes(1000, 0), bytes(1000, 900))).toBe(false);
    expect(isCheapAlong(bytes(1000, 1000), bytes(0, 0))).toBe(false);
  });

  it('is kept while it takes little, and there is room', () => {
    const [roomy, full] = [
      { blocks: 100, bavail: 10 },
      { blocks: 100, bavail: 9 },
    ];
    expect([hasRoom(roomy), hasRoom(full)]).toEqual([true, false]);
    expect(isWorthKeeping(bytes(1000, 250), bytes(1000, 0), roomy)).toBe(true);
    expect(isWorthKeeping(bytes(1000, 251), bytes(1000, 0), roomy)).toBe(false);
    expect(isWorthKeeping(bytes(1000, 0), bytes(1000, 0), full)).toBe(false);
    expect(isWorthKeeping(undefined, bytes(1000, 0), roomy)).toBe(false);
    expect(isWorthKeeping(bytes(1000, 0), undefined, roomy)).toBe(false);
  });
});

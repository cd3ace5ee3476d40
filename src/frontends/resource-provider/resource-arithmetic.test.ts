import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { datasetBytesOf, mibOfMilli, milliOfBytes, milliOfMib } from './disk-quantity.ts';
import type { Resource } from './mesos-messages.ts';
import { add, convert, kindOf, quantityOf, subtract, sumOf, withQuantity } from './resource-arithmetic.ts';

const pool: Resource = {
  name: 'disk',
  type: 'SCALAR',
  scalar: { value: 100 },
  provider_id: { value: 'P' },
  disk: {
    source: {
      type: 'RAW',
      profile: 'gold',
      metadata: {
        labels: [
          { key: 'a', value: '1' },
          { key: 'b', value: '2' },
        ],
      },
    },
  },
};
const disk: Resource = { ...pool, disk: { source: { type: 'MOUNT', id: 'x', profile: 'gold' } } };

describe('quantities', () => {
  it('are thousandths of a MiB, there and back', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 2 ** 40 }), (milli) => {
        expect(milliOfMib(mibOfMilli(milli))).toBe(milli);
        expect(milliOfMib(JSON.parse(JSON.stringify(mibOfMilli(milli))) as number)).toBe(milli);
      }),
    );
  });
  it('never promise more bytes than there are, nor make a volume that is too small', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 2 ** 52 }), (bytes) => {
        const milli = milliOfBytes(bytes);
        expect(milli * 1048.576).toBeLessThanOrEqual(bytes + 1);
        expect(milliOfBytes(datasetBytesOf(milli))).toBeGreaterThanOrEqual(milli);
        expect(datasetBytesOf(milli) % 1024).toBe(0);
      }),
    );
    expect([1024, 64.001, 0].map((mib) => datasetBytesOf(milliOfMib(mib)))).toEqual([2 ** 30, 67_110_912, 0]);
    expect(milliOfBytes(-5)).toBe(0);
  });
});

describe('resources', () => {
  it('are the same whatever the order of labels, the volume and the principal', () => {
    const labels = (pool.disk?.source?.metadata?.labels ?? []).toReversed();
    const turned = { ...pool, disk: { source: { ...pool.disk?.source, metadata: { labels } } } };
    expect(kindOf(turned)).toBe(kindOf(pool));
    const persistent = (principal: string, volume: object): Resource => ({
      ...disk,
      disk: { ...disk.disk, persistence: { id: 'pv', principal }, volume },
    });
    expect(kindOf(persistent('a', {}))).toBe(kindOf(persistent('b', { mode: 'RW' })));
    expect(kindOf(persistent('a', {}))).not.toBe(kindOf(disk));
  });
  it.each<[string, Partial<Resource>]>([
    ['reservations', { reservations: [{ type: 'DYNAMIC', role: 'r' }] }],
    ['provider', { provider_id: { value: 'Q' } }],
    ['shared', { shared: {} }],
    ['vendor', { disk: { source: { ...pool.disk?.source, vendor: 'v' } } }],
    ['labels', { disk: { source: { ...pool.disk?.source, metadata: { labels: [] } } } }],
  ])('differ by %s', (_what, difference) => {
    expect(kindOf({ ...pool, ...difference })).not.toBe(kindOf(pool));
  });
  it('are split and joined without a loss', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 10_000 }), { maxLength: 20 }), (parts) => {
        let totals: readonly Resource[] = [pool];
        for (const part of parts) {
          const reserved = { ...withQuantity(pool, part), reservations: [{ type: 'DYNAMIC', role: 'r' }] };
          totals = convert(totals, [withQuantity(pool, part)], [reserved]) ?? totals;
          expect(sumOf(totals)).toBe(100_000);
          expect(totals.every((one) => quantityOf(one) > 0)).toBe(true);
        }
      }),
    );
  });
  it('with an id are taken whole or not at all', () => {
    expect(subtract([disk], withQuantity(disk, 1))).toBeUndefined();
    expect(subtract([disk], disk)).toEqual([]);
    expect(add([disk], { ...disk, disk: { source: { type: 'MOUNT', id: 'y' } } })).toHaveLength(2);
    expect(subtract([pool], withQuantity(pool, 100_001))).toBeUndefined();
    expect(subtract([pool], withQuantity(pool, 0))).toBeUndefined();
  });
});

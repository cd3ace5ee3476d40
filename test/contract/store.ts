import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Json, Store } from '../../src/control/store/store.ts';

/** A place that a store can be opened on again and again, as a disk outlives processes. */
export interface StorePlace {
  /** Opens what is there; the store opened before has been closed. */
  open(): Promise<Store>;
  dispose(): Promise<void>;
}

/** What every {@link Store} does. */
export function storeContract(name: string, make: () => Promise<StorePlace>): void {
  describe(`store contract: ${name}`, () => {
    let place: StorePlace;
    let store: Store;

    beforeEach(async () => {
      place = await make();
      store = await place.open();
    });
    afterEach(async () => {
      await store.close();
      await place.dispose();
    });

    const reopen = async (): Promise<ReadonlyMap<string, Json>> => {
      await store.close();
      store = await place.open();
      return store.entries();
    };

    it('starts empty at revision 0 with a cluster id', () => {
      expect(store.revision).toBe(0);
      expect(store.clusterId).toMatch(/^[0-9a-f-]{36}$/);
      expect(store.entries().size).toBe(0);
    });

    it('keeps what was committed, its revision and its identity', async () => {
      const { clusterId } = store;
      await store.commit([
        {
          kind: 'put',
          key: 'dataset/a',
          value: { size: 1, tags: ['x', null, true], nested: { text: 'ü\n\u0000"\ud83d\ude00' } },
        },
        { kind: 'put', key: 'lease/a', value: null },
      ]);
      await store.commit([{ kind: 'put', key: 'dataset/b', value: 0.1 }]);
      const entries = await reopen();
      expect(Object.fromEntries(entries)).toEqual({
        'dataset/a': { size: 1, tags: ['x', null, true], nested: { text: 'ü\n\u0000"\ud83d\ude00' } },
        'lease/a': null,
        'dataset/b': 0.1,
      });
      expect(store.revision).toBe(2);
      expect(store.clusterId).toBe(clusterId);
    });

    it('applies the changes of one commit in order', async () => {
      await store.commit([
        { kind: 'put', key: 'k', value: 1 },
        { kind: 'remove', key: 'k' },
        { kind: 'put', key: 'k', value: 2 },
        { kind: 'put', key: 'gone', value: 1 },
        { kind: 'remove', key: 'gone' },
        { kind: 'remove', key: 'never-there' },
      ]);
      expect([...(await reopen())]).toEqual([['k', 2]]);
    });

    it('keeps the order of concurrent commits and counts each of them', async () => {
      const finished: number[] = [];
      await Promise.all(
        Array.from({ length: 100 }, async (_, index) => {
          await store.commit([
            { kind: 'put', key: 'last', value: index },
            { kind: 'put', key: `each/${index}`, value: index },
          ]);
          expect(store.revision).toBeGreaterThan(index);
          finished.push(index);
        }),
      );
      expect(finished).toEqual(Array.from({ length: 100 }, (_, index) => index));
      expect(store.revision).toBe(100);
      const entries = await reopen();
      expect(entries.get('last')).toBe(99);
      expect(entries.size).toBe(101);
    });

    it('takes the value as it is at the call', async () => {
      const value = { size: 1 };
      const committed = store.commit([{ kind: 'put', key: 'k', value }]);
      value.size = 2;
      await committed;
      expect((await reopen()).get('k')).toEqual({ size: 1 });
    });

    it('gives its entries once', () => {
      store.entries();
      expect(() => store.entries()).toThrow('entries()');
    });

    it.each(['', 'with space', 'ü', 'x'.repeat(513)])('refuses the key %j, and every commit after it', async (key) => {
      await store.commit([{ kind: 'put', key: 'before', value: 1 }]);
      await expect(store.commit([{ kind: 'put', key, value: 1 }])).rejects.toThrow(TypeError);
      await expect(store.commit([{ kind: 'put', key: 'after', value: 1 }])).rejects.toMatchObject({
        code: 'store_failed',
      });
      expect([...(await reopen()).keys()]).toEqual(['before']);
    });

    it('refuses a value that is not JSON', async () => {
      const value = undefined as unknown as Json;
      await expect(store.commit([{ kind: 'put', key: 'k', value }])).rejects.toThrow(TypeError);
      expect((await reopen()).size).toBe(0);
    });

    it('finishes the commits that were called before close, and refuses those after', async () => {
      const before = Promise.all([1, 2, 3].map((value) => store.commit([{ kind: 'put', key: `k/${value}`, value }])));
      const closed = store.close();
      await expect(store.commit([{ kind: 'put', key: 'late', value: 1 }])).rejects.toMatchObject({
        code: 'store_failed',
      });
      await closed;
      await before;
      await store.close();
      expect([...(await reopen()).keys()].sort()).toEqual(['k/1', 'k/2', 'k/3']);
    });
  });
}

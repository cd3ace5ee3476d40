import { describe, expect, it } from 'vitest';
import { storeContract } from '../../../test/contract/store.ts';
import { type MemoryStore, memoryStore } from './memory-store.ts';

const CLUSTER_ID = '1f3c2b90-5a3a-4f0e-9a53-0d6a7b1f2c11';

storeContract('memory', async () => {
  let last: MemoryStore | undefined;
  return {
    open: async () => {
      last = last?.reopened() ?? memoryStore(CLUSTER_ID);
      return last;
    },
    dispose: async () => undefined,
  };
});

describe('memoryStore', () => {
  it('fails the next commit and every later one when told to, and keeps what was there', async () => {
    const store = memoryStore(CLUSTER_ID);
    await store.commit([{ kind: 'put', key: 'kept', value: 1 }]);
    store.failNextCommit('the disk is full');
    for (const key of ['lost', 'later']) {
      await expect(store.commit([{ kind: 'put', key, value: 1 }])).rejects.toMatchObject({
        code: 'store_failed',
        message: 'the disk is full',
      });
    }
    expect(store.revision).toBe(1);
    expect([...store.reopened().entries()]).toEqual([['kept', 1]]);
  });
});

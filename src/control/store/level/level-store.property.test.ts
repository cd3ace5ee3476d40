import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Json, StoreChange } from '../store.ts';
import { inDirectory, openStore } from './testing/store-directory.ts';

const key = fc.constantFrom('dataset/a', 'dataset/b', 'lease/a', 'meta/head', 'entry/a', '__proto__', '~');
const value = fc.jsonValue().map((json) => JSON.parse(JSON.stringify(json)) as Json);
const change: fc.Arbitrary<StoreChange> = fc.oneof(
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('put' as const), key, value }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('remove' as const), key }) },
);
/** Commits that are called without waiting for each other; `reopen` closes and opens the store after them. */
const step = fc.record({
  commits: fc.array(fc.array(change, { maxLength: 4 }), { maxLength: 5 }),
  reopen: fc.boolean(),
});

describe('the level store against a Map', () => {
  it('holds after every reopening what the map holds', { timeout: 30_000 }, () =>
    fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 6 }), (steps) =>
        inDirectory(async (directory) => {
          const model = new Map<string, Json>();
          let revision = 0;
          let store = await openStore(directory);
          for (const { commits, reopen } of [...steps, { commits: [], reopen: true }]) {
            await Promise.all(commits.map((changes) => store.commit(changes)));
            for (const one of commits.flat()) {
              if (one.kind === 'put') model.set(one.key, one.value);
              else model.delete(one.key);
            }
            revision += commits.length;
            expect(store.revision).toBe(revision);
            if (!reopen) continue;
            await store.close();
            store = await openStore(directory);
            expect(store.revision).toBe(revision);
            expect(new Map(store.entries())).toEqual(model);
          }
          await store.close();
        }),
      ),
      { numRuns: 40 },
    ),
  );
});

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { copyStep, type Step, take } from '../support/cluster-steps.ts';
import { ModelCluster } from '../support/model-cluster.ts';

const POOLS = ['one', 'one', 'other', 'other'];
/** A volume on the first node, and everybody there. */
const BEGINNING: readonly Step[] = [
  ...[0, 1, 2, 3].map((node): Step => ({ operation: 'join', node, dataset: 0, settle: true })),
  { operation: 'create', node: 0, dataset: 0, settle: true },
  { operation: 'everything', node: 0, dataset: 0, settle: true },
  { operation: 'move', node: 2, dataset: 0, settle: true },
  { operation: 'everything', node: 0, dataset: 0, settle: true },
];

describe('a volume that moves between pools, in any order of events', () => {
  it('is never mounted as it was before the last write, never cleared away, and in one pool only in the end', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(copyStep, { minLength: 5, maxLength: 80, size: 'max' }), async (steps) => {
        const cluster = new ModelCluster(POOLS);
        for (const next of [...BEGINNING, ...steps]) {
          await take(cluster, next);
          if (next.settle) {
            await cluster.settle();
            cluster.checkSettled();
          }
          cluster.checkNow();
        }
        await cluster.settle();
        expect(await cluster.quiesce()).toEqual([]);
        await cluster.restart();
        expect(await cluster.quiesce()).toEqual([]);
      }),
      { numRuns: 2000 },
    );
  });
});

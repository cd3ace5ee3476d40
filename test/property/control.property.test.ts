import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Step, step, take } from '../support/cluster-steps.ts';
import { ModelCluster } from '../support/model-cluster.ts';

/** Found once: a node that had not read that its order was withdrawn took a snapshot anew that another node had destroyed. */
const WITHDRAWN_UNREAD: readonly Step[] = [
  { operation: 'join', node: 0, dataset: 0, settle: false },
  { operation: 'join', node: 1, dataset: 0, settle: false },
  { operation: 'create', node: 1, dataset: 0, settle: false },
  { operation: 'snapshot', node: 0, dataset: 0, settle: true },
  { operation: 'everything', node: 1, dataset: 0, settle: true },
  { operation: 'removeSnapshot', node: 0, dataset: 0, settle: true },
  { operation: 'everything', node: 0, dataset: 0, settle: false },
  { operation: 'beginSnapshot', node: 1, dataset: 0, settle: false },
];

describe('a control service and its nodes, in any order of events', () => {
  it('never have two writers, destroy nothing unasked, remember what they said, and converge', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 120, size: 'max' }), async (steps) => {
        const cluster = new ModelCluster();
        for (const next of steps) {
          await take(cluster, next);
          if (next.settle) {
            await cluster.settle();
            cluster.checkSettled();
          }
          cluster.checkNow();
        }
        await cluster.settle();
        cluster.checkSettled();
        expect(await cluster.quiesce()).toEqual([]);
        await cluster.restart();
        expect(await cluster.quiesce()).toEqual([]);
      }),
      { numRuns: 1500, examples: [[[...WITHDRAWN_UNREAD]]] },
    );
  });
});

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { DatasetId } from '../../src/kit/ids.ts';
import { type Step, step, take } from '../support/cluster-steps.ts';
import { ModelCluster } from '../support/model-cluster.ts';

/** Without declarations of death, which have tests of their own. */
const quiet = step.filter(({ operation }) => operation !== 'declareDead');
/** Nor from snapshots that may have been destroyed since the copy was made. */
const quieter = quiet.filter(({ operation }) => operation !== 'clone');
const many = { minLength: 3, maxLength: 50, size: 'max' } as const;
const steps = fc.array(quiet, many);
const later = fc.array(quieter, many);

async function play(cluster: ModelCluster, all: readonly Step[]): Promise<void> {
  for (const next of all) {
    await take(cluster, next);
    if (next.settle) {
      await cluster.settle();
      cluster.checkSettled();
    }
    cluster.checkNow();
  }
}

/**
 * Lives through steps before and after a copy of the records is made, and from its restoration to after an operator confirmed it. The disks
 * let everybody do everything and fail when two nodes attach a volume, or one is destroyed that nobody deleted. Returns what lists the
 * volumes that are gone although nobody deleted them.
 */
async function liveThroughRestore(
  cluster: ModelCluster,
  ...[before, lost, doubted, after]: [Step[], Step[], Step[], Step[]]
): Promise<() => DatasetId[]> {
  await play(cluster, before);
  await cluster.backUp();
  await play(cluster, lost);
  const volumes = cluster.volumes().filter((id) => !cluster.wasDeleted(id));
  await cluster.restore();
  await play(cluster, doubted);
  await cluster.confirmRestored();
  await play(cluster, after);
  return () => volumes.filter((id) => !cluster.wasDeleted(id) && !cluster.volumes().includes(id));
}

describe('a control service whose records are replaced by an old copy, in any order of events', () => {
  it('never has two writers, destroys nothing unasked, and serves what it knows once that is confirmed', async () => {
    await fc.assert(
      fc.asyncProperty(steps, steps, later, later, async (...all) => {
        const cluster = new ModelCluster(undefined, { copies: false });
        const vanished = await liveThroughRestore(cluster, ...all);
        // What was busy the first time, was not where the records had it, or moved meanwhile to where it was never seen.
        for (let again = 0; again < 2; again += 1) {
          await cluster.quiesce();
          await cluster.confirmRestored();
        }
        await cluster.quiesce();
        expect(vanished()).toEqual([]);
        expect(cluster.notMounted()).toEqual([]);
      }),
      { numRuns: 1000 },
    );
  });

  it('never has two writers, and destroys nothing unasked, also when volumes were copied between pools since', async () => {
    await fc.assert(
      fc.asyncProperty(steps, steps, later, later, async (...all) => {
        const vanished = await liveThroughRestore(new ModelCluster(), ...all);
        expect(vanished()).toEqual([]);
      }),
      { numRuns: 1000 },
    );
  });
});

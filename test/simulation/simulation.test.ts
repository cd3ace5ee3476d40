import { describe, expect, it } from 'vitest';
import { shrink } from './shrink.ts';
import { type Outcome, simulate } from './simulate.ts';

const FIXED_SEED = 1;
const RUNS = 100;

function said({ seed, broken, hash }: Outcome): string | undefined {
  return broken === undefined ? undefined : `${broken}; npm run simulate -- --seed ${seed} (trace ${hash})`;
}

describe('a whole cluster in simulated time', () => {
  it('does the same again from the same seed', { timeout: 60_000 }, async () => {
    const [once, again, other] = [
      await simulate(FIXED_SEED),
      await simulate(FIXED_SEED),
      await simulate(FIXED_SEED + 1),
    ];
    expect(said(once)).toBeUndefined();
    expect(again.hash).toBe(once.hash);
    expect(again.steps).toBe(once.steps);
    expect(other.hash).not.toBe(once.hash);
  });

  it('finds a disk that lies, with few of the deeds, and finds it again from them', { timeout: 120_000 }, async () => {
    const lying = { diskLies: true };
    let failed: Outcome | undefined;
    for (let seed = FIXED_SEED; failed?.broken === undefined && seed < FIXED_SEED + 50; seed += 1) {
      failed = await simulate(seed, undefined, lying);
    }
    if (failed?.broken === undefined) throw new Error('nothing was found');
    const shrunk = await shrink(failed, lying);
    expect(shrunk.deeds.length).toBeLessThan(failed.deeds.length / 4);
    const again = await simulate(shrunk.seed, shrunk.deeds, lying);
    expect(again.broken).toBe(shrunk.broken);
    expect(again.hash).toBe(shrunk.hash);
    expect((await simulate(shrunk.seed, shrunk.deeds)).broken).toBeUndefined();
  });

  it(`breaks no rule and converges in ${RUNS} runs from a fresh seed`, { timeout: 300_000 }, async () => {
    const first = Date.now() % 1_000_000_000;
    const counts = new Map<string, number>();
    for (let run = 0; run < RUNS; run += 1) {
      const outcome = await simulate(first + run);
      expect(said(outcome)).toBeUndefined();
      for (const [what, count] of outcome.counts) counts.set(what, (counts.get(what) ?? 0) + count);
    }
    // What nothing would be proved without.
    for (const what of [
      'mount done',
      'seize done',
      'destroy done',
      'takeSnapshot done',
      'declareDead answered 200',
      'task began',
    ]) {
      expect(counts.get(what), `${what}, from seed ${first}`).toBeGreaterThan(0);
    }
  });
});

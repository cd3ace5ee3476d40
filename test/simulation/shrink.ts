import type { Deed } from './deeds.ts';
import type { SimOptions } from './sim-cluster.ts';
import { type Outcome, simulate } from './simulate.ts';

const MOST_TRIES = 400;

/** Leaves out deeds of a run that failed as long as a rule stays broken, in ever smaller pieces. */
export async function shrink(failed: Outcome, options: SimOptions = {}): Promise<Outcome> {
  let best = failed;
  let tries = 0;
  for (let size = Math.ceil(failed.deeds.length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let from = 0; from < best.deeds.length && tries < MOST_TRIES; ) {
      const fewer: readonly Deed[] = [...best.deeds.slice(0, from), ...best.deeds.slice(from + size)];
      const outcome = await simulate(failed.seed, fewer, options);
      tries += 1;
      if (outcome.broken === undefined) from += size;
      else best = outcome;
    }
  }
  return best;
}

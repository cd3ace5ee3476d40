import { ask } from './ask.ts';
import { befall } from './befall.ts';
import { type Deed, schedule } from './deeds.ts';
import { brokenRule, unfinished } from './rules.ts';
import { SimCluster, type SimOptions } from './sim-cluster.ts';

/** Deeds are done for so long; then everything is mended. */
const DEEDS_MS = 10 * 60_000;
/** By then everything has to be as it was asked for. */
const CONVERGES_WITHIN_MS = 20 * 60_000;
const LOOK_MS = 1_000;

/** What came of one run. */
export interface Outcome {
  readonly seed: number;
  /** What rule was broken, or what did not converge. */
  readonly broken: string | undefined;
  /** Deeds that were done, of those of the seed. */
  readonly deeds: readonly Deed[];
  readonly steps: number;
  readonly simulatedMs: number;
  /** Of everything that happened: the same seed and deeds have the same. */
  readonly hash: string;
  readonly trace: readonly string[];
  /** How often what happened. */
  readonly counts: ReadonlyMap<string, number>;
}

/** Runs a cluster through what the seed has in store, or through some of it, and checks the rules after every step. */
export async function simulate(
  seed: number,
  deeds: readonly Deed[] = schedule(seed, DEEDS_MS),
  options: SimOptions = {},
): Promise<Outcome> {
  const cluster = new SimCluster(seed, options);
  const { clock, trace } = cluster;
  for (const deed of deeds) {
    clock.timer(deed.atMs, () => {
      trace.note(JSON.stringify(deed));
      cluster.count(deed.kind);
      ask(cluster, deed);
      befall(cluster, deed);
    });
  }
  let steps = 0;
  const runUntil = async (untilMs: number): Promise<string | undefined> => {
    while (clock.step(untilMs)) {
      steps += 1;
      // What follows from it without time passing.
      await new Promise<void>((resolve) => setImmediate(resolve));
      const broken = brokenRule(cluster);
      if (broken !== undefined) return broken;
    }
    return undefined;
  };
  let broken = await runUntil(DEEDS_MS);
  if (broken === undefined) {
    cluster.heal();
    let left = ['nothing was looked at'];
    const deadlineMs = DEEDS_MS + CONVERGES_WITHIN_MS;
    while (broken === undefined && left.length > 0 && clock.nowMs < deadlineMs) {
      broken = await runUntil(clock.nowMs + LOOK_MS);
      left = unfinished(cluster);
    }
    if (broken === undefined && left.length > 0) broken = `it does not converge: ${left.join('; ')}`;
  }
  trace.note(`ends: ${broken ?? 'well'}`);
  const { counts } = cluster;
  return { seed, broken, deeds, steps, simulatedMs: clock.nowMs, hash: trace.digest(), trace: trace.last, counts };
}

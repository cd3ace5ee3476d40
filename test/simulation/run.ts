import { parseArgs } from 'node:util';
import { shrink } from './shrink.ts';
import { simulate } from './simulate.ts';

const { values } = parseArgs({
  options: {
    seed: { type: 'string' },
    minutes: { type: 'string', default: '1' },
    verbose: { type: 'boolean', default: false },
  },
});
const first = Number(values.seed ?? Date.now() % 1_000_000_000);
if (!Number.isInteger(first) || !(Number(values.minutes) >= 0)) throw new Error('--seed and --minutes are numbers');
const beganMs = performance.now();
const minutes = (): number => (performance.now() - beganMs) / 60_000;
const counts = new Map<string, number>();
let [runs, steps, simulatedMs] = [0, 0, 0];
do {
  const outcome = await simulate(first + runs, undefined, { keepsAll: values.verbose });
  runs += 1;
  steps += outcome.steps;
  simulatedMs += outcome.simulatedMs;
  for (const [what, count] of outcome.counts) counts.set(what, (counts.get(what) ?? 0) + count);
  if (values.verbose) process.stdout.write(`${outcome.trace.join('\n')}\n`);
  if (values.verbose || runs === 1) process.stdout.write(`--seed ${outcome.seed}: trace ${outcome.hash}\n`);
  if (outcome.broken === undefined) continue;
  process.exitCode = 1;
  process.stdout.write(`--seed ${outcome.seed} broke a rule: ${outcome.broken}\n`);
  const shrunk = await shrink(outcome);
  process.stdout.write(`with ${shrunk.deeds.length} of ${outcome.deeds.length} deeds: ${shrunk.broken}\n`);
  for (const deed of shrunk.deeds) process.stdout.write(`  ${JSON.stringify(deed)}\n`);
  process.stdout.write(`its last events:\n${shrunk.trace.slice(-40).join('\n')}\n`);
  break;
} while (minutes() < Number(values.minutes));
const perMinute = (count: number): number => Math.round(count / minutes());
process.stdout.write(
  `${runs} runs, ${steps} steps, ${(simulatedMs / 3_600_000).toFixed(1)} simulated hours of a cluster; a minute has ` +
    `${perMinute(steps)} steps and ${perMinute(simulatedMs / 3_600_000)} simulated hours\n`,
);
process.stdout.write(
  `${[...counts]
    .map(([what, count]) => `${count} ${what}`)
    .sort()
    .join(', ')}\n`,
);

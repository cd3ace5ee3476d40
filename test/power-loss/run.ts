import { parseArgs } from 'node:util';
import { cutPower } from './cut-power.ts';
import { SUBJECTS } from './subjects.ts';

const { values } = parseArgs({
  options: { seed: { type: 'string' }, cuts: { type: 'string', default: '2000' }, only: { type: 'string' } },
});
const seed = Number(values.seed ?? Date.now() % 1_000_000_000);
const cuts = Number(values.cuts);
if (!Number.isInteger(seed) || !(cuts > 0)) throw new Error('--seed and --cuts are numbers');
process.stdout.write(`--seed ${seed}\n`);
for (const subject of SUBJECTS) {
  if (values.only !== undefined && values.only !== subject.name) continue;
  const report = await cutPower(subject, seed, cuts);
  process.stdout.write(
    `${subject.name}: ${report.cuts} cuts at ${report.instants} instants, ${report.acknowledged} acknowledged commits, ` +
      `${report.faults.length} faults\n`,
  );
  for (const fault of report.faults) process.stdout.write(`  ${fault}\n`);
  if (report.faults.length > 0) process.exitCode = 1;
}

import { spawn } from 'node:child_process';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { checkAftermath } from './aftermath.ts';
import { Census } from './census.ts';
import { Deeds } from './deeds.ts';
import { FaultCluster } from './fault-cluster.ts';
import { History } from './history.ts';
import { makeHub } from './machine.ts';
import { sh } from './program.ts';
import { type DeedKind, schedule, WEIGHTS } from './schedule.ts';
import { type FaultStorage, STORAGES } from './storage.ts';
import { openWays, parseWays, WAYS } from './ways/ways.ts';

/** Deeds of one round happen for so long; then everything heals and is checked. */
const ROUND_MS = 60_000;

const { values } = parseArgs({
  options: {
    seed: { type: 'string' },
    minutes: { type: 'string', default: '1' },
    only: { type: 'string', default: '' },
    ways: { type: 'string', default: '' },
    backend: { type: 'string', default: 'loopback' },
    inside: { type: 'boolean', default: false },
    verbose: { type: 'boolean', default: false },
  },
});
const only = new Set(values.only.split(',').filter((kind): kind is DeedKind => kind in WEIGHTS));
if ([...only].join(',') !== values.only) throw new Error(`--only takes of: ${Object.keys(WEIGHTS).join(', ')}`);
const ways = parseWays(values.ways) ?? [];
if (ways.length === 0) throw new Error(`--ways takes of: ${Object.keys(WAYS).join(', ')}`);
const storage = Object.values(STORAGES).find(({ wish }) => wish.backend === values.backend);
if (storage === undefined) throw new Error(`--backend takes of: ${Object.keys(STORAGES).join(', ')}`);
const seed = Number(values.seed ?? Date.now() % 1_000_000_000);
if (!Number.isInteger(seed) || !(Number(values.minutes) >= 0)) throw new Error('--seed and --minutes are numbers');

if (values.inside) process.exitCode = await rounds(storage);
else process.exitCode = await inNamespaces();

/** Runs this program as the first process of namespaces of its own, so that its end ends everything. */
function inNamespaces(): Promise<number> {
  if (process.getuid?.() !== 0)
    throw new Error('npm run faults needs root: it makes namespaces, mounts and network links');
  const own = ['--mount', '--propagation', 'private', '--net', '--pid', '--fork', '--kill-child', '--mount-proc'];
  const again = [process.execPath, ...process.argv.slice(1), '--inside', '--seed', String(seed)];
  const child = spawn('unshare', [...own, ...again], { stdio: 'inherit' });
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (status) => resolve(status ?? 1));
  });
}

async function rounds(on: FaultStorage): Promise<number> {
  await makeHub();
  const untilMs = performance.now() + Number(values.minutes) * 60_000;
  let failed = 0;
  let number = 0;
  do {
    const violations = await round(seed + number, on);
    number += 1;
    if (violations.length > 0) failed += 1;
  } while (performance.now() + ROUND_MS < untilMs);
  process.stdout.write(`${number} rounds, ${failed} failed\n`);
  return failed === 0 ? 0 : 1;
}

async function round(roundSeed: number, on: FaultStorage): Promise<readonly string[]> {
  process.stdout.write(`round with --backend ${on.wish.backend} --seed ${roundSeed}\n`);
  const scratch = await mkdtemp(join(tmpdir(), 'flocker-faults-'));
  const directory = join(scratch, 'c');
  await mkdir(directory);
  const history = new History();
  const cluster = await FaultCluster.start(directory, on);
  const census = new Census(cluster, history);
  const by = openWays(cluster);
  const deeds = new Deeds(cluster, history, by);
  const beganMs = performance.now();
  const steps = schedule(roundSeed, ROUND_MS, only, on.without, ways);
  const under: Promise<void>[] = [];
  const counts = new Map<DeedKind, number>();
  for (const { atMs, deed } of steps) {
    await pause(Math.max(0, atMs - (performance.now() - beganMs)));
    if (values.verbose) process.stdout.write(`${atMs} ${JSON.stringify(deed)}\n`);
    counts.set(deed.kind, (counts.get(deed.kind) ?? 0) + 1);
    under.push(deeds.do(deed).catch((error: unknown) => history.violated(`${deed.kind}: ${String(error)}`)));
  }
  await Promise.all(under);
  await checkAftermath(
    cluster,
    history,
    ways.map((way) => [way, by[way]]),
  );
  census.stop();
  await sh('umount', '/usr/sbin/mke2fs');
  await on.remove(cluster.layout);
  const did = [...counts].map(([kind, count]) => `${count} ${kind}`).join(', ');
  const seconds = Math.round((performance.now() - beganMs) / 1000);
  process.stdout.write(`  ${seconds} s, ${history.records} records, ${census.looks} looks at the mounts; ${did}\n`);
  const tasks = [...history.tasks].map(([way, { tried, well }]) => `${well} of ${tried} by ${way}`).sort();
  process.stdout.write(`  tasks that ended well: ${tasks.join(', ')}\n`);
  const reached = await cluster.stepsReached();
  if (reached.length > 0) process.stdout.write(`  died at ${reached.join(', ')}\n`);
  if (history.records === 0) history.violated('no record was written: nothing was tried');
  for (const [said, count] of history.failures) process.stdout.write(`  ${count} tasks failed: ${said}\n`);
  for (const violation of history.violations) process.stdout.write(`  VIOLATED: ${violation}\n`);
  if (history.violations.length === 0) await rm(scratch, { recursive: true });
  else process.stdout.write(`  logs are in ${cluster.layout.logs}\n`);
  return history.violations;
}

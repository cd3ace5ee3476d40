#!/usr/bin/env node
import { randomBytes, randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { tellMove } from '../cli/story/story.ts';
import { StoryTeller } from '../cli/story/teller.ts';
import { Visits } from '../cli/story/visits.ts';
import { whereThingsAre } from '../cli/story/where.ts';
import { type RunningCluster, startCluster } from '../cli/up/start-cluster.ts';
import { systemClock } from '../kit/clock.ts';
import { errorText } from '../kit/coded-error.ts';
import { flockerCommand, flockerEntry } from './flocker-command.ts';

const { values } = parseArgs({
  options: { once: { type: 'boolean' }, json: { type: 'boolean' }, help: { type: 'boolean', short: 'h' } },
});

if (values.help === true) {
  process.stdout.write(
    'npm start [-- --once] [-- --json]: a task keeps its data when it moves from one node to another.\n',
  );
} else {
  process.exitCode = await main(values.once === true || values.json === true, values.json === true);
}

async function main(once: boolean, json: boolean): Promise<number> {
  const interrupted = new AbortController();
  process.on('SIGINT', () => interrupted.abort(new Error('interrupted')));
  process.on('SIGTERM', () => interrupted.abort(new Error('terminated')));
  const isRoot = process.getuid?.() === 0;
  const say = (text: string): void => {
    if (!json) process.stdout.write(`${text}\n`);
  };
  if (!isRoot)
    say('Without root: the directory backend instead of filesystems of their own, tasks in a user namespace.\n');
  const directory = await mkdtemp(join(tmpdir(), 'flocker-'));
  const teller = new StoryTeller(systemClock, say);
  const { signal } = interrupted;
  let cluster: RunningCluster | undefined;
  let status = 0;
  try {
    cluster = await teller.step('cluster', 'Start a control service and two nodes', async () => {
      const value = await startCluster({
        directory,
        nodes: 2,
        backend: undefined,
        isRoot,
        clock: systemClock,
        random: Math.random,
        newUuid: randomUUID,
        randomBytes: (count) => randomBytes(count),
        flocker: flockerCommand,
      });
      return { value, detail: value.json.control.url };
    });
    const { clusterJsonPath } = cluster;
    await tellMove(teller, new Visits({ clock: systemClock, flocker: flockerCommand, clusterJsonPath, signal }));
    if (json) process.stdout.write(`${JSON.stringify({ ok: true, steps: teller.steps })}\n`);
    if (cluster !== undefined && !once) {
      say(`\nThe task kept its data. The cluster goes on:\n\n${whereThingsAre(cluster)}\n`);
      say(tryIt(cluster));
      await new Promise((resolve) => {
        interrupted.signal.addEventListener('abort', resolve, { once: true });
      });
    } else say('\nThe task kept its data.');
  } catch (error) {
    // What was cut off says only that; the reason is what a person did.
    const why = errorText(interrupted.signal.aborted ? interrupted.signal.reason : error);
    if (json) process.stdout.write(`${JSON.stringify({ ok: false, error: why, steps: teller.steps })}\n`);
    process.stderr.write(interrupted.signal.aborted ? `\n${why}\n` : `\nThis did not work: ${why}\n`);
    if (cluster !== undefined && !once) process.stderr.write(`The logs are in ${cluster.logsPath}\n`);
    status = interrupted.signal.aborted ? 130 : 1;
  }
  const left = (await cluster?.stop()) ?? [];
  for (const text of left) process.stderr.write(`left behind: ${text}\n`);
  if (left.length > 0) return 1;
  await rm(directory, { recursive: true, force: true });
  return status;
}

function tryIt(cluster: RunningCluster): string {
  return [
    'Try it from another terminal:',
    '',
    `  node ${flockerEntry} run --cluster ${cluster.clusterJsonPath} --node 1 -v webapp:/mnt -- cat /mnt/visits`,
    `  node ${flockerEntry.replace(/flocker\.js$/, 'flockerctl.js')} --cluster ${cluster.clusterJsonPath} list`,
    '',
    'Ctrl-C stops the cluster and takes everything away.',
  ].join('\n');
}

import { randomBytes, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { tellLoss, tellMove } from '../cli/story/story.ts';
import { StoryTeller } from '../cli/story/teller.ts';
import { Visits } from '../cli/story/visits.ts';
import { whereThingsAre } from '../cli/story/where.ts';
import type { ClusterBackend, ClusterStore } from '../cli/up/cluster-backend.ts';
import { type RunningCluster, startCluster } from '../cli/up/start-cluster.ts';
import { systemClock } from '../kit/clock.ts';
import { errorText } from '../kit/coded-error.ts';
import { flockerCommand, flockerEntry } from './flocker-command.ts';

export interface UpOptions {
  /** Absolute path. */
  readonly directory: string;
  readonly nodes: number | undefined;
  readonly backend: ClusterBackend | undefined;
  readonly poolPerNode?: boolean;
  readonly store: ClusterStore | undefined;
  readonly controls: number | undefined;
  /** Whether a new cluster that cuts lost nodes off shows it first. */
  readonly story: boolean;
}

/** Runs a cluster until SIGINT or SIGTERM; resolves with the exit status. */
export async function runUp(options: UpOptions): Promise<number> {
  const interrupted = new AbortController();
  const { signal } = interrupted;
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(name, () => interrupted.abort(new Error('interrupted')));
  }
  const cluster = await startCluster({
    ...options,
    isRoot: process.getuid?.() === 0,
    clock: systemClock,
    random: Math.random,
    newUuid: randomUUID,
    randomBytes: (count) => randomBytes(count),
    flocker: flockerCommand,
  });
  let status = 0;
  try {
    if (options.story && cluster.isNew && cluster.fenceAfterSeconds !== undefined && cluster.json.nodes.length > 1) {
      await tellStory(cluster, signal);
    }
    say(
      `The cluster runs, with the ${cluster.backend} backend.\n\n${whereThingsAre(cluster)}\n\nRun a command with a volume:\n\n` +
        `  node ${flockerEntry} run --cluster ${cluster.clusterJsonPath} --node 1 -v webapp:/mnt -- df -h /mnt\n\n` +
        'Ctrl-C stops it; the same command starts it again with everything still there.',
    );
    if (!signal.aborted) await once(signal, 'abort');
  } catch (error) {
    if (!signal.aborted) {
      process.stderr.write(`\nThis did not work: ${errorText(error)}\nThe logs are in ${cluster.logsPath}\n`);
      status = 1;
    }
  }
  const left = await cluster.stop();
  for (const text of left) process.stderr.write(`left behind: ${text}\n`);
  return left.length === 0 ? status : 1;
}

/** A task keeps its data when it moves to another node, and when its node is lost. */
async function tellStory(cluster: RunningCluster, signal: AbortSignal): Promise<void> {
  const { clusterJsonPath } = cluster;
  const teller = new StoryTeller(systemClock, say);
  const visits = new Visits({ clock: systemClock, flocker: flockerCommand, clusterJsonPath, signal });
  await tellMove(teller, visits);
  await tellLoss(teller, visits, cluster);
  say('\nThe task kept its data.\n');
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

import { randomBytes, randomUUID } from 'node:crypto';
import { whereThingsAre } from '../cli/story.ts';
import type { ClusterBackend, ClusterStore } from '../cli/up/cluster-backend.ts';
import { startCluster } from '../cli/up/start-cluster.ts';
import { systemClock } from '../kit/clock.ts';
import { flockerCommand, flockerEntry } from './flocker-command.ts';

export interface UpOptions {
  /** Absolute path. */
  readonly directory: string;
  readonly nodes: number | undefined;
  readonly backend: ClusterBackend | undefined;
  readonly poolPerNode?: boolean;
  readonly store: ClusterStore | undefined;
  readonly controls: number | undefined;
}

/** Runs a cluster until SIGINT or SIGTERM; resolves with the exit status. */
export async function runUp(options: UpOptions): Promise<number> {
  const interrupted = new Promise<void>((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => resolve());
  });
  const cluster = await startCluster({
    ...options,
    isRoot: process.getuid?.() === 0,
    clock: systemClock,
    random: Math.random,
    newUuid: randomUUID,
    randomBytes: (count) => randomBytes(count),
    flocker: flockerCommand,
  });
  process.stdout.write(
    `The cluster runs, with the ${cluster.backend} backend.\n\n${whereThingsAre(cluster)}\n\nRun a command with a volume:\n\n` +
      `  node ${flockerEntry} run --cluster ${cluster.clusterJsonPath} --node 1 -v webapp:/mnt -- df -h /mnt\n\n` +
      'Ctrl-C stops it; the same command starts it again with everything still there.\n',
  );
  await interrupted;
  const left = await cluster.stop();
  for (const text of left) process.stderr.write(`left behind: ${text}\n`);
  return left.length === 0 ? 0 : 1;
}

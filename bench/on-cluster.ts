import { randomBytes, randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { flockerCommand } from '../src/bin/flocker-command.ts';
import { type RunningCluster, type StartClusterOptions, startCluster } from '../src/cli/up/start-cluster.ts';
import { systemClock } from '../src/kit/clock.ts';

/** Does `work` on a cluster of its own, with a directory to use that goes with it. */
export async function onCluster<T>(
  { nodes, backend }: Pick<StartClusterOptions, 'backend'> & { readonly nodes: number },
  work: (cluster: RunningCluster, directory: string) => Promise<T>,
): Promise<T> {
  const directory = await mkdtemp(join(tmpdir(), 'flocker-bench-'));
  try {
    const cluster = await startCluster({
      directory,
      nodes,
      backend,
      isRoot: process.getuid?.() === 0,
      clock: systemClock,
      random: Math.random,
      newUuid: randomUUID,
      randomBytes: (count) => randomBytes(count),
      flocker: flockerCommand,
    });
    try {
      return await work(cluster, directory);
    } finally {
      await cluster.stop();
    }
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

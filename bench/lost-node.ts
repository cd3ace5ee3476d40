import { randomBytes, randomUUID } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { flockerCommand } from '../src/bin/flocker-command.ts';
import { Visits } from '../src/cli/story/visits.ts';
import { type RunningCluster, startCluster } from '../src/cli/up/start-cluster.ts';
import { connectFlocker } from '../src/client/connect-flocker.ts';
import type { StorageClient } from '../src/client/storage-client.ts';
import { systemClock } from '../src/kit/clock.ts';
import { parseNodeId } from '../src/kit/ids.ts';
import { silentLogger } from '../src/kit/logger.ts';
import { type Figures, median, rounded, timed } from './figures.ts';

const TIMEOUT_MS = 120_000;
const RETRY_MS = 10;

/**
 * How long a task is away whose node is lost, with its volume on Ceph, of which the node goes on writing: up to the end of the same task on
 * another node, with its data. Medians; needs root and Ceph's packages.
 */
export async function lostNode(rounds: number): Promise<Figures> {
  const directory = await mkdtemp(join(tmpdir(), 'flocker-bench-'));
  const cluster = await startCluster({
    ...{ directory, nodes: 2, backend: 'ceph', isRoot: true, clock: systemClock, random: Math.random },
    ...{ newUuid: randomUUID, randomBytes: (count) => randomBytes(count), flocker: flockerCommand },
  });
  try {
    const client = await clientOf(cluster);
    const [node] = cluster.json.nodes.map(({ uuid }) => parseNodeId(uuid));
    if (node === undefined) throw new Error('there is no node 1');
    const { clusterJsonPath } = cluster;
    const visits = new Visits({
      ...{
        clock: systemClock,
        flocker: flockerCommand,
        clusterJsonPath,
        signal: AbortSignal.timeout(TIMEOUT_MS * rounds),
      },
    });
    const lose = async (
      decide: () => Promise<unknown>,
    ): Promise<{ readonly all: number; readonly decided: number }> => {
      const { ends } = await visits.stay(1);
      await cluster.loseNode(1);
      let decided = 0;
      const all = await timed(async () => {
        await decide();
        decided = await timed(() => visits.visit(2));
      });
      await ends;
      await cluster.regainNode(1);
      await visits.visit(1);
      return { all, decided };
    };
    const declare = async (): Promise<void> => {
      const signal = AbortSignal.timeout(TIMEOUT_MS);
      // Refused as long as its connection is not known to have ended.
      for (;;) {
        const done = await client.declareNodeDead(node, signal).then(
          () => true,
          () => false,
        );
        if (done) return;
        await pause(RETRY_MS, undefined, { signal });
      }
    };
    const [declared, silent]: [number[], number[]] = [[], []];
    for (let round = 0; round < rounds; round += 1) {
      declared.push((await lose(declare)).decided);
      silent.push((await lose(() => Promise.resolve())).all);
    }
    await client.close();
    return {
      'node declared dead': { task_elsewhere_ms: rounded(median(declared)) },
      [`node silent, given up after ${cluster.fenceAfterSeconds} s`]: { task_elsewhere_ms: rounded(median(silent)) },
    };
  } finally {
    const left = await cluster.stop();
    for (const text of left) process.stderr.write(`left behind: ${text}\n`);
    await rm(directory, { recursive: true, force: true });
  }
}

async function clientOf({ json }: RunningCluster): Promise<StorageClient & { close(): Promise<void> }> {
  const [ca = '', cert = '', key = ''] = await Promise.all(
    [json.tls.ca, json.tls.cert, json.tls.key].map((path) => readFile(path, 'utf8')),
  );
  return connectFlocker({
    urls: [json.control.url],
    ...{ tls: { ca, cert, key }, clock: systemClock, random: Math.random, logger: silentLogger },
  });
}

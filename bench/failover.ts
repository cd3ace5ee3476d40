import { randomBytes, randomUUID } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { flockerCommand } from '../src/bin/flocker-command.ts';
import { DaemonProcess } from '../src/cli/up/daemon-process.ts';
import { freePorts } from '../src/cli/up/settings.ts';
import { connectFlocker } from '../src/client/connect-flocker.ts';
import type { FlockerClient } from '../src/client/flocker-client.ts';
import { systemClock } from '../src/kit/clock.ts';
import { type NodeId, newDatasetId, parseNodeId } from '../src/kit/ids.ts';
import { silentLogger } from '../src/kit/logger.ts';
import { cephSkipReason } from '../test/support/ceph-cluster.ts';
import { clusterCertificates } from '../test/support/cluster-certificates.ts';
import { TestEtcd } from '../test/support/etcd.ts';
import { type Figures, figuresTable, median, rounded, timed } from './figures.ts';
import { lostNode } from './lost-node.ts';
import { benchOptions } from './options.ts';

const HOSTS = ['127.0.0.31', '127.0.0.32'];
const TIMEOUT_MS = 60_000;
const RETRY_MS = 10;
/** Each takes half a minute. */
const MOST_NODES_LOST = 3;

/**
 * How long a cluster with two control services on an etcd of three members takes no change: from the kill of the one that leads, or from
 * asking it to stop, to the first dataset that the other one has on record. And how long a task is away whose node is lost. Needs etcd, and
 * root and Ceph for the second.
 */
export async function failover(args: readonly string[]): Promise<void> {
  const { json, rounds } = benchOptions(args);
  const directory = await mkdtemp(join(tmpdir(), 'flocker-bench-'));
  const certificates = await clusterCertificates('failover');
  const etcd = await TestEtcd.start(3);
  const controls: DaemonProcess[] = [];
  let takeovers: Figures = {};
  try {
    const { ca, cert, key } = await certificates.control();
    await writeFile(join(directory, 'cluster.crt'), ca);
    await writeFile(join(directory, 'control-service.crt'), cert);
    await writeFile(join(directory, 'control-service.key'), key, { mode: 0o600 });
    const [restPort = 0, agentPort = 0] = await freePorts(2);
    for (const host of HOSTS) {
      const endpoint = (port: number): string => `tcp:${port}:interface=${host}`;
      const where = ['--store', etcd.url, '--certificates-directory', directory];
      const control = new DaemonProcess({
        ...{
          name: 'control service',
          logPath: join(directory, `${host}.log`),
          clock: systemClock,
          random: Math.random,
        },
        ...{
          command: [
            ...flockerCommand,
            'control',
            ...where,
            '--port',
            endpoint(restPort),
            '--agent-port',
            endpoint(agentPort),
          ],
        },
        onStart: () => undefined,
      });
      controls.push(control);
      // One that stands by is ready when it leads.
      const started = control.start().catch(() => undefined);
      if (controls.length === 1) await started;
    }
    const client = connectFlocker({
      urls: HOSTS.map((host) => `https://${host}:${restPort}`),
      ...{ tls: await certificates.user('bench'), clock: systemClock, random: Math.random, logger: silentLogger },
    });
    const times: Record<'killed' | 'asked', number[]> = { killed: [], asked: [] };
    for (let round = 0; round < rounds; round += 1) {
      for (const [how, signal] of [
        ['killed', 'SIGKILL'],
        ['asked', 'SIGTERM'],
      ] as const) {
        await untilCreated(client);
        const pid = await leaderPid(directory);
        process.kill(pid, signal);
        times[how].push(await timed(() => untilCreated(client)));
        // The other one is started again and stands by.
        await pause(1_500);
      }
    }
    await client.close();
    takeovers = {
      'control service killed': { takeover_ms: rounded(median(times.killed)) },
      'control service asked to stop': { takeover_ms: rounded(median(times.asked)) },
    };
  } finally {
    await Promise.all(controls.map((control) => control.stop()));
    await etcd.dispose();
    await certificates.dispose();
    await rm(directory, { recursive: true, force: true });
  }
  const skip = await cephSkipReason();
  const figures = { ...takeovers, ...(skip === null ? await lostNode(Math.min(rounds, MOST_NODES_LOST)) : {}) };
  const title = `Medians of ${rounds} takeovers of two control services${skip ?? ', and of nodes lost with volumes on Ceph'}`;
  process.stdout.write(json ? `${JSON.stringify(figures)}\n` : figuresTable(title, figures));
}

async function untilCreated(client: FlockerClient): Promise<void> {
  const primary = parseNodeId(randomUUID()) as NodeId;
  const signal = AbortSignal.timeout(TIMEOUT_MS);
  for (;;) {
    const datasetId = newDatasetId(randomUUID);
    const metadata = { name: randomBytes(8).toString('hex') };
    const done = await client.createDataset({ primary, datasetId, metadata }, { kind: 'none' }, signal).then(
      () => true,
      () => false,
    );
    if (done) return;
    await pause(RETRY_MS, undefined, { signal });
  }
}

/** The one that said last that it leads. */
async function leaderPid(directory: string): Promise<number> {
  const logs = await Promise.all(HOSTS.map((host) => readFile(join(directory, `${host}.log`), 'utf8')));
  const lines = logs
    .flatMap((log) => log.split('\n'))
    .filter((line) => line.includes('this control service leads'))
    .map((line) => JSON.parse(line) as { readonly time: number; readonly pid: number })
    .toSorted((one, other) => one.time - other.time);
  const pid = lines.at(-1)?.pid;
  if (pid === undefined) throw new Error('nobody leads');
  return pid;
}

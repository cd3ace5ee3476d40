import { randomUUID } from 'node:crypto';
import { readFile, statfs } from 'node:fs/promises';
import { Client } from 'undici';
import type { RunningCluster } from '../src/cli/up/start-cluster.ts';
import { connectFlocker } from '../src/client/connect-flocker.ts';
import type { FlockerClient } from '../src/client/flocker-client.ts';
import { systemClock } from '../src/kit/clock.ts';
import { type DatasetId, type NodeId, parseDatasetId, parseNodeId } from '../src/kit/ids.ts';
import { silentLogger } from '../src/kit/logger.ts';
import { compared, type Figures, figuresTable, median, rounded, timed } from './figures.ts';
import { onCluster } from './on-cluster.ts';
import { benchOptions } from './options.ts';
import { cpuMs, residentMb } from './processes.ts';
import { shellSteps } from './shell-steps.ts';

const SIZE_BYTES = 2 ** 30;
const ROUND_TIMEOUT_MS = 60_000;
/** An agent runs for months, and V8 compiles what it runs often only then. */
const WARM_UP_ROUNDS = 300;
const IDLE_MS = 5_000;
/** After work, before idleness is measured. */
const SETTLE_MS = 2_000;
/** A node nobody has: a dataset moved there is let go and stays unmounted. */
const NOWHERE = parseNodeId('00000000-0000-4000-8000-000000000000') as NodeId;

/** How long until a volume is ready, against the bare commands on the same machine in the same run. Needs root. */
export async function ready(args: readonly string[]): Promise<void> {
  const { json, rounds } = benchOptions(args);
  await onCluster({ nodes: 2, backend: 'loopback' }, async (cluster, directory) => {
    const figures = await measure(cluster, directory, rounds);
    const title = `Medians of ${rounds} rounds, 1 GiB ext4 on loopback`;
    process.stdout.write(json ? `${JSON.stringify(figures)}\n` : figuresTable(title, figures));
  });
}

async function measure(cluster: RunningCluster, directory: string, rounds: number): Promise<Figures> {
  const { control, tls, nodes } = cluster.json;
  const client = connectFlocker({
    urls: [control.url],
    tls: {
      ca: await readFile(tls.ca, 'utf8'),
      cert: await readFile(tls.cert, 'utf8'),
      key: await readFile(tls.key, 'utf8'),
    },
    clock: systemClock,
    random: Math.random,
    logger: silentLogger,
  });
  const local = new Client('http://localhost', { socketPath: nodes[0]?.socket ?? '' });
  const [first, second] = nodes.map(({ uuid }) => parseNodeId(uuid) as NodeId);
  if (first === undefined || second === undefined) throw new Error('the cluster has no two nodes');
  const times: Record<'create' | 'createShell' | 'attach' | 'attachShell' | 'move' | 'reacquire', number[]> = {
    ...{ create: [], createShell: [], attach: [], attachShell: [], move: [], reacquire: [] },
  };
  for (let round = 0; round < rounds; round += 1) {
    const shell = await shellSteps(directory);
    times.createShell.push(shell.createMs);
    times.attachShell.push(shell.attachMs);
    const name = `bench-${round}`;
    const id = await createAndWait(client, first, name, times.create);
    times.move.push(await timed(() => moveAndWait(client, id, second)));
    await moveAway(client, id);
    times.attach.push(await timed(() => moveAndWait(client, id, first)));
    await client.deleteDataset(id, { kind: 'none' }, limit());
    await client.waitUntilGone(id, limit());
  }
  // A volume that has been here for a while, asked for by one task after the other.
  const name = 'bench-local';
  await createAndWait(client, first, name, []);
  for (let round = 0; round < WARM_UP_ROUNDS; round += 1) await reacquire(local, name);
  for (let round = 0; round < 3 * rounds; round += 1) times.reacquire.push(await reacquire(local, name));
  await local.close();
  await client.close();
  await pause(SETTLE_MS);
  return {
    create: compared(times.create, times.createShell),
    attach: compared(times.attach, times.attachShell),
    reacquire: { ours_ms: rounded(median(times.reacquire)) },
    move: { ours_ms: rounded(median(times.move)) },
    ...(await idleFigures(cluster)),
  };
}

async function createAndWait(client: FlockerClient, node: NodeId, name: string, times: number[]): Promise<DatasetId> {
  const startedMs = performance.now();
  const made = await client.createDataset(
    { primary: node, maximumSizeBytes: SIZE_BYTES, metadata: { name } },
    { kind: 'none' },
    limit(),
  );
  const id = parseDatasetId(made.dataset_id) as DatasetId;
  const { path } = await client.waitUntilMounted(id, node, () => undefined, limit());
  times.push(performance.now() - startedMs);
  const { bsize, blocks } = await statfs(path);
  if (bsize * blocks < SIZE_BYTES * 0.9) throw new Error(`${path} is not the new volume`);
  return id;
}

async function moveAndWait(client: FlockerClient, id: DatasetId, node: NodeId): Promise<void> {
  await client.moveDataset(id, node, { kind: 'none' }, limit());
  await client.waitUntilMounted(id, node, () => undefined, limit());
}

async function moveAway(client: FlockerClient, id: DatasetId): Promise<void> {
  await client.moveDataset(id, NOWHERE, { kind: 'none' }, limit());
  for (let held = true; held; ) {
    const found = await client.inspectDatasets(limit());
    held = found?.some(({ configuration, holder }) => configuration.dataset_id === id && holder !== null) ?? false;
  }
}

/** Time from asking the node agent for a volume that is mounted here already to its answer; it is given back after that. */
async function reacquire(local: Client, name: string): Promise<number> {
  const holder = { id: `bench/${randomUUID()}`, detail: 'benchmark' };
  const send = async (path: string, body: object): Promise<void> => {
    const answer = await local.request({
      method: 'POST',
      path,
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
    const text = await answer.body.text();
    if (answer.statusCode !== 200) throw new Error(`${path} answered ${answer.statusCode}: ${text}`);
  };
  const ms = await timed(() =>
    send('/v1/acquire', { holder, volume: { name, create: 'never', mode: 'rw' }, timeout_ms: ROUND_TIMEOUT_MS }),
  );
  await send('/v1/release', { holder_id: holder.id });
  return ms;
}

async function idleFigures(cluster: RunningCluster): Promise<Figures> {
  const { nodes, pids } = cluster.json;
  const control = pids.control ?? 0;
  const agent = nodes[0]?.pid ?? 0;
  const before = { control: await cpuMs(control), agent: await cpuMs(agent) };
  await pause(IDLE_MS);
  const percent = (usedMs: number): number => rounded((usedMs / IDLE_MS) * 100);
  return {
    control: {
      rss_mb: rounded(await residentMb(control)),
      idle_cpu_percent: percent((await cpuMs(control)) - before.control),
    },
    agent: { rss_mb: rounded(await residentMb(agent)), idle_cpu_percent: percent((await cpuMs(agent)) - before.agent) },
  };
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
}

function limit(): AbortSignal {
  return AbortSignal.timeout(ROUND_TIMEOUT_MS);
}

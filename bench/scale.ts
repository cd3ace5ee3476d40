import { once } from 'node:events';
import { parseArgs } from 'node:util';
import { Pool } from 'undici';
import { type Figures, figuresTable, rounded, timed } from './figures.ts';
import { cpuMs, peakMb, residentMb } from './processes.ts';
import { nameOf, type ScaleWorld, scaleWorld } from './scale-world.ts';
import { type Received, SimulatedAgent } from './simulated-agent.ts';

const CREATES = 500;
const QUERIES = 300;
const FULL_QUERIES = 20;
const IDLE_MS = 5_000;
const SETTLE_MS = 3_000;

/**
 * One control service, as it is shipped, with this many agents over TLS and this many datasets in its store: `[--agents 10,100,1000]
 * [--datasets 1000,10000,100000] [--json]`, a run for each pair.
 */
export async function scale(args: readonly string[]): Promise<void> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      agents: { type: 'string', default: '10,100,1000' },
      datasets: { type: 'string', default: '1000,10000,100000' },
      json: { type: 'boolean', default: false },
    },
  });
  const agents = sizesIn(values.agents);
  const datasets = sizesIn(values.datasets);
  if (agents.length !== datasets.length) throw new Error('--agents and --datasets need as many sizes as each other');
  for (const [index, count] of agents.entries()) {
    const figures = await measure(count, datasets[index] ?? 0);
    const title = `${count} agents, ${datasets[index]} datasets`;
    process.stdout.write(
      values.json
        ? `${JSON.stringify({ agents: count, datasets: datasets[index], ...figures })}\n`
        : figuresTable(title, figures),
    );
  }
}

function sizesIn(text: string): number[] {
  const sizes = text.split(',').map(Number);
  if (sizes.some((size) => !Number.isInteger(size) || size < 1)) throw new Error(`${text} are no whole numbers from 1`);
  return sizes;
}

async function measure(agentCount: number, datasets: number): Promise<Figures> {
  const world = await scaleWorld(agentCount, datasets);
  const received: Received = { bytes: 0 };
  const agents = world.nodes.map(({ tls, datasets: has }) => new SimulatedAgent(world.agentPort, tls, has, received));
  let control = await world.startControl();
  const { startMs } = control;
  const startedMb = await residentMb(control.process.pid ?? 0);
  const client = new Pool(`https://127.0.0.1:${world.restPort}`, {
    connections: 16,
    connect: { ...world.user, servername: 'control-service' },
  });
  try {
    const connectMs = await timed(async () => {
      for (const agent of agents) agent.start();
      await Promise.all(agents.map((agent) => agent.connected()));
    });
    await pause(SETTLE_MS);
    const pid = control.process.pid ?? 0;
    const connectedMb = await residentMb(pid);
    const before = await cpuMs(pid);
    await pause(IDLE_MS);
    const idlePercent = (((await cpuMs(pid)) - before) / IDLE_MS) * 100;
    const stream = await listen(client);
    received.bytes = 0;
    const creates = await createSome(client, world);
    await pause(SETTLE_MS);
    const perChange = {
      agents_bytes: rounded(received.bytes / creates.made),
      listener_bytes: rounded(stream.bytes / creates.made),
    };
    const beforeMeasures = { cpu: await cpuMs(pid), bytes: stream.bytes };
    for (const agent of agents) agent.measure();
    await pause(SETTLE_MS);
    const measures = {
      cpu_ms_each: rounded(((await cpuMs(pid)) - beforeMeasures.cpu) / agentCount),
      listener_bytes_each: rounded((stream.bytes - beforeMeasures.bytes) / agentCount),
    };
    stream.end();
    const byName = await times(QUERIES, (turn) =>
      get(client, `/v1/inspect/datasets?name=${nameOf((turn * 7919) % datasets)}`),
    );
    const state = await times(FULL_QUERIES, () => get(client, '/v1/state/datasets'));
    const configuration = await times(FULL_QUERIES, () => get(client, '/v1/configuration/datasets'));
    const peak = await peakMb(pid);
    control.process.kill('SIGKILL');
    await once(control.process, 'exit');
    control = await world.startControl();
    const reconnectMs = await timed(() => Promise.all(agents.map((agent) => agent.connected())));
    return {
      memory_mb: { started: rounded(startedMb), connected: rounded(connectedMb), peak: rounded(peak) },
      start_ms: { full_store: rounded(startMs), after_kill: rounded(control.startMs) },
      agents_ms: { connect_all: rounded(connectMs), reconnect_all: rounded(reconnectMs) },
      idle: { cpu_percent: rounded(idlePercent) },
      create_ms: creates.alone,
      create_16: { per_second: creates.perSecond },
      per_change: perChange,
      measures,
      by_name_ms: percentiles(byName),
      state_ms: percentiles(state),
      config_ms: percentiles(configuration),
    };
  } finally {
    for (const agent of agents) agent.end();
    control.process.kill('SIGKILL');
    await client.destroy();
    await world.dispose();
  }
}

async function createSome(
  client: Pool,
  { nodes }: ScaleWorld,
): Promise<{ readonly alone: Readonly<Record<string, number>>; readonly perSecond: number; readonly made: number }> {
  const create = async (turn: number): Promise<void> => {
    const body = { primary: nodes[turn % nodes.length]?.id, metadata: { name: `new-${turn}` }, maximum_size: 2 ** 30 };
    const answer = await client.request({
      method: 'POST',
      path: '/v1/configuration/datasets',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
    await answer.body.dump();
    if (answer.statusCode !== 201) throw new Error(`a create was answered with ${answer.statusCode}`);
  };
  const alone = await times(CREATES, create);
  let next = CREATES;
  const togetherMs = await timed(() =>
    Promise.all(
      Array.from({ length: 16 }, async () => {
        while (next < 3 * CREATES) await create((next += 1));
      }),
    ),
  );
  return { alone: percentiles(alone), perSecond: rounded((2 * CREATES) / (togetherMs / 1000)), made: 3 * CREATES };
}

/** One listener to all events, as a dashboard is. */
async function listen(client: Pool): Promise<{ readonly bytes: number; end(): void }> {
  const { body } = await client.request({ method: 'GET', path: '/v1/events', bodyTimeout: 0 });
  let bytes = 0;
  body.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
  });
  body.on('error', () => undefined);
  return {
    get bytes() {
      return bytes;
    },
    end: () => void body.destroy(),
  };
}

async function get(client: Pool, path: string): Promise<void> {
  const answer = await client.request({ method: 'GET', path });
  await answer.body.dump({ limit: 2 ** 30 });
  if (answer.statusCode !== 200) throw new Error(`${path} was answered with ${answer.statusCode}`);
}

async function times(count: number, work: (turn: number) => Promise<void>): Promise<number[]> {
  const all: number[] = [];
  for (let turn = 0; turn < count; turn += 1) all.push(await timed(() => work(turn)));
  return all;
}

function percentiles(values: readonly number[]): Readonly<Record<string, number>> {
  const sorted = values.toSorted((a, b) => a - b);
  const at = (share: number): number =>
    rounded(sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN);
  return { p50: at(0.5), p99: at(0.99) };
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
}

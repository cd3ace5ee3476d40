import { randomUUID } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { request } from 'node:http';
import { join } from 'node:path';
import type { RunningCluster } from '../src/cli/up/start-cluster.ts';
import { rounded, timed } from './figures.ts';
import { onCluster } from './on-cluster.ts';
import { benchOptions } from './options.ts';
import { cpuMs } from './processes.ts';

const WIDTHS = [1, 16] as const;
/** So many containers a round for each that is in flight. */
const CONTAINERS_PER_ROUND = 10;
/** Before anything counts, many at once to be quick: an agent runs for months, and V8 compiles what it runs often only then. */
const WARM_UP = { containers: 3_000, lanes: 16 };

/**
 * How long the volumes of a container take, as the Mesos module sees it: prepare and cleanup over the socket, for a volume
 * that is on this node and that nobody else holds. Needs root.
 */
export async function isolator(args: readonly string[]): Promise<void> {
  const { json, rounds } = benchOptions(args);
  await onCluster({ nodes: 1, backend: 'loopback' }, async (cluster, directory) => {
    await warmUp(cluster, directory);
    const figures: Record<string, Readonly<Record<string, number>>> = {};
    for (const width of WIDTHS) figures[`in flight ${width}`] = await measure(cluster, directory, rounds, width);
    process.stdout.write(json ? `${JSON.stringify(figures)}\n` : table(figures));
  });
}

async function warmUp(cluster: RunningCluster, directory: string): Promise<void> {
  const socketPath = cluster.json.nodes[0]?.isolator ?? '';
  const lanes = Array.from({ length: WARM_UP.lanes }, async (_, lane) => {
    for (let count = 0; count < WARM_UP.containers / WARM_UP.lanes; count += 1)
      await container(socketPath, directory, `bench-${lane}`);
  });
  await Promise.all(lanes);
}

async function measure(
  cluster: RunningCluster,
  directory: string,
  rounds: number,
  width: number,
): Promise<Readonly<Record<string, number>>> {
  const { nodes, pids } = cluster.json;
  const socketPath = nodes[0]?.isolator ?? '';
  const usedMs = async (): Promise<number[]> => Promise.all([nodes[0]?.pid ?? 0, pids.control ?? 0].map(cpuMs));
  const lanes = Array.from({ length: width }, (_, lane) => lane);
  const times: { prepareMs: number; cleanupMs: number }[] = [];
  const [agentBeforeMs = 0, controlBeforeMs = 0] = await usedMs();
  const startedMs = performance.now();
  await Promise.all(
    lanes.map(async (lane) => {
      for (let count = 0; count < rounds * CONTAINERS_PER_ROUND; count += 1)
        times.push(await container(socketPath, directory, `bench-${lane}`));
    }),
  );
  const seconds = (performance.now() - startedMs) / 1000;
  const [agentAfterMs = 0, controlAfterMs = 0] = await usedMs();
  const both = times.map(({ prepareMs, cleanupMs }) => prepareMs + cleanupMs);
  return {
    containers: times.length,
    p50_ms: rounded(percentile(both, 0.5)),
    p99_ms: rounded(percentile(both, 0.99)),
    prepare_p50_ms: rounded(
      percentile(
        times.map(({ prepareMs }) => prepareMs),
        0.5,
      ),
    ),
    cleanup_p50_ms: rounded(
      percentile(
        times.map(({ cleanupMs }) => cleanupMs),
        0.5,
      ),
    ),
    agent_cpu_ms: rounded((agentAfterMs - agentBeforeMs) / times.length),
    control_cpu_ms: rounded((controlAfterMs - controlBeforeMs) / times.length),
    per_second: rounded(times.length / seconds),
  };
}

async function container(
  socketPath: string,
  directory: string,
  volume: string,
): Promise<{ prepareMs: number; cleanupMs: number }> {
  const id = { value: randomUUID() };
  const sandbox = join(directory, 'sandboxes', id.value);
  await mkdir(sandbox, { recursive: true });
  const variables = Object.entries({
    FLOCKER_ID: volume,
    FLOCKER_CONTAINER_VOLUME_PATH: 'data',
    FLOCKER_SIZE: '64MiB',
  });
  const config = {
    directory: sandbox,
    user: 'root',
    command_info: { environment: { variables: variables.map(([name, value]) => ({ name, value, type: 'VALUE' })) } },
  };
  const prepareMs = await timed(() => call(socketPath, 'prepare', { container_id: id, container_config: config }));
  const cleanupMs = await timed(() => call(socketPath, 'cleanup', { container_id: id }));
  return { prepareMs, cleanupMs };
}

/** One request on a connection of its own, as the module makes it. */
function call(socketPath: string, method: string, body: object): Promise<void> {
  const text = JSON.stringify(body);
  const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) };
  return new Promise((resolve, reject) => {
    const options = { socketPath, path: `/v1/isolator/${method}`, method: 'POST', headers, agent: false as const };
    const sent = request(options, (answer) => {
      let said = '';
      answer.on('data', (chunk: Buffer) => {
        said += chunk.toString();
      });
      answer.on('end', () => {
        if (answer.statusCode === 200) resolve();
        else reject(new Error(`${method}: ${said}`));
      });
    });
    sent.on('error', reject);
    sent.end(text);
  });
}

function percentile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}

function table(figures: Readonly<Record<string, Readonly<Record<string, number>>>>): string {
  const lines = Object.entries(figures).map(([name, row]) => {
    const cells = Object.entries(row).map(([key, value]) => `${key.replaceAll('_', ' ')} ${value}`);
    return `${name.padEnd(13)} ${cells.join('   ')}`;
  });
  return `Prepare and cleanup of a container with one volume of this node, 64 MiB ext4 on loopback:\n${lines.join('\n')}\n`;
}

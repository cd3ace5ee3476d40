import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { writable } from '../src/frontends/csi/testing/csi-bench.ts';
import { type CsiClient, csiClient } from '../src/frontends/csi/testing/csi-client.ts';
import { rounded } from './figures.ts';
import { onCluster } from './on-cluster.ts';
import { benchOptions } from './options.ts';
import { peakMb } from './processes.ts';

/** So many calls of each kind a round. */
const CALLS_PER_ROUND = 10;
const IN_FLIGHT = 16;
const PLUGIN = fileURLToPath(new URL('./csi-plugin.js', import.meta.url));

type Figures = Readonly<Record<string, number>>;

/** Of two other drivers, measured on another day with the same client and 320 volumes; neither makes anything durable. */
const PEERS: Readonly<Record<string, Figures>> = {
  'host-path 1.14.1 (Go)': { probe: 1798, create: 825, create_again: 1664, delete: 902, pairs_16: 1145, peak_mb: 19 },
  'democratic-csi (Node)': { probe: 1018, create: 249, create_again: 263, delete: 958, pairs_16: 335, peak_mb: 139 },
};

/**
 * Calls a second and the peak memory of the process that serves them. `fake`: the plugin alone, with a cluster in memory.
 * `cluster`: a node agent and a control service, every answer durable, a directory for each volume.
 */
export async function csi(args: readonly string[]): Promise<void> {
  const { json, rounds } = benchOptions(args);
  const calls = rounds * CALLS_PER_ROUND;
  const figures = { fake: await overFake(calls), cluster: await overCluster(calls) };
  process.stdout.write(json ? `${JSON.stringify({ csi: figures })}\n` : table({ ...figures, ...PEERS }, calls));
}

async function overFake(calls: number): Promise<Figures> {
  const child = fork(PLUGIN, { execArgv: ['--max-semi-space-size=2'] });
  try {
    const [socketPath] = (await once(child, 'message')) as [string];
    return await measured(socketPath, child.pid ?? 0, calls, true);
  } finally {
    child.disconnect();
    await once(child, 'exit');
  }
}

function overCluster(calls: number): Promise<Figures> {
  return onCluster({ nodes: 1, backend: 'directory' }, async ({ json: { nodes } }) => {
    const [node] = nodes;
    return measured(node?.csi ?? '', node?.pid ?? 0, calls, process.getuid?.() === 0);
  });
}

async function measured(socketPath: string, pid: number, calls: number, publishes: boolean): Promise<Figures> {
  const directory = await mkdtemp(join(tmpdir(), 'flocker-bench-'));
  const client = csiClient(socketPath);
  try {
    const { controller, identity } = client;
    const ids = new Map<number, string>();
    const create = async (index: number): Promise<void> => {
      const request = {
        name: `bench-${index}`,
        volumeCapabilities: [writable()],
        capacityRange: { requiredBytes: 1n << 26n },
      };
      ids.set(index, (await controller.createVolume(request)).volume?.volumeId ?? '');
    };
    const remove = async (index: number): Promise<void> => {
      await controller.deleteVolume({ volumeId: ids.get(index) ?? '' });
    };
    // The first call loads the plugin.
    await identity.probe({});
    const figures: Record<string, number> = {
      probe: await rate(calls, 1, () => identity.probe({})),
      probe_16: await rate(calls, IN_FLIGHT, () => identity.probe({})),
      create: await rate(calls, 1, create),
      create_again: await rate(calls, 1, create),
      create_again_16: await rate(calls, IN_FLIGHT, create),
      delete: await rate(calls, 1, remove),
      create_16: await rate(calls, IN_FLIGHT, create),
      delete_16: await rate(calls, IN_FLIGHT, remove),
      pairs: await rate(calls, 1, async (index) => {
        await create(index);
        await remove(index);
      }),
      pairs_16: await rate(calls, IN_FLIGHT, async (index) => {
        await create(index);
        await remove(index);
      }),
    };
    if (publishes) Object.assign(figures, await publishing(client, directory, calls));
    return { ...figures, peak_mb: rounded(await peakMb(pid)) };
  } finally {
    client.close();
    await rm(directory, { recursive: true, force: true });
  }
}

/** One staged volume; each call publishes and withdraws it at a target of its lane. */
async function publishing({ controller, node }: CsiClient, directory: string, calls: number): Promise<Figures> {
  const capacityRange = { requiredBytes: 1n << 26n };
  const made = await controller.createVolume({ name: 'published', volumeCapabilities: [writable()], capacityRange });
  const volumeId = made.volume?.volumeId ?? '';
  const stagingTargetPath = join(directory, 'staging');
  await mkdir(stagingTargetPath);
  const staged = { volumeId, stagingTargetPath, volumeCapability: writable() };
  await node.nodeStageVolume(staged);
  const publish = async (index: number): Promise<void> => {
    const targetPath = join(directory, `target-${index}`);
    await node.nodePublishVolume({ ...staged, targetPath });
    await node.nodeUnpublishVolume({ volumeId, targetPath });
  };
  const figures = { publish: await rate(calls, 1, publish), publish_16: await rate(calls, IN_FLIGHT, publish) };
  await node.nodeUnstageVolume(staged);
  await controller.deleteVolume({ volumeId });
  return figures;
}

/** How often a second `work` is done, so many at once; it is told which of `count` it is. */
async function rate(count: number, inFlight: number, work: (index: number) => Promise<unknown>): Promise<number> {
  let next = 0;
  const startedMs = performance.now();
  const lane = async (): Promise<void> => {
    while (next < count) {
      next += 1;
      await work(next);
    }
  };
  await Promise.all(Array.from({ length: inFlight }, lane));
  return Math.round((count * 1000) / (performance.now() - startedMs));
}

function table(all: Readonly<Record<string, Figures>>, calls: number): string {
  const names = Object.keys(all);
  const rows = Object.keys(all['fake'] ?? {}).map(
    (what) => `${what.padEnd(18)}${names.map((name) => String(all[name]?.[what] ?? '–').padStart(24)).join('')}\n`,
  );
  const head = `${''.padEnd(18)}${names.map((name) => name.padStart(24)).join('')}\n`;
  return (
    `Calls a second, ${calls} of each; _16 is with 16 in flight; publish counts pairs with unpublish\n${head}${rows.join('')}` +
    'The last two columns were measured on another day. A create here is durable, there it is not.\n'
  );
}

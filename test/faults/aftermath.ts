import { readdir, readFile, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { LocalClient } from '../../src/frontends/local/local-client.ts';
import type { VolumesAnswer } from '../../src/frontends/local/local-schemas.ts';
import { errorText } from '../../src/kit/coded-error.ts';
import { parseDatasetId, parseSnapshotId } from '../../src/kit/ids.ts';
import { loopsBelow } from './census.ts';
import type { FaultCluster } from './fault-cluster.ts';
import type { History } from './history.ts';
import { processesIn } from './machine.ts';
import { mountsBelow } from './mounts.ts';
import { signal } from './program.ts';
import { play, type Way } from './ways/way.ts';

/** Everything comes to rest within this, once nothing is broken. */
const REST_MS = 120_000;

/** After everything healed: all data are there, everything can be deleted, and nothing is left over. */
export async function checkAftermath(
  cluster: FaultCluster,
  history: History,
  ways: readonly (readonly [name: string, way: Way])[],
): Promise<void> {
  const until = AbortSignal.timeout(4 * REST_MS);
  await rested('nodes that are not connected', history, async () => {
    const nodes = (await cluster.client.inspectNodes(AbortSignal.timeout(5_000))) ?? [];
    const away = nodes.filter(({ connected }) => !connected).map(({ uuid }) => uuid);
    await cluster.answers();
    return nodes.length < cluster.nodes.length ? ['a node was never heard'] : away;
  });
  const datasets = (await cluster.client.inspectDatasets(until)) ?? [];
  history.compare(datasets, await cluster.client.listSnapshots({}, until));
  const kept = datasets.filter(({ configuration }) => !configuration.deleted);
  for (const [index, { configuration }] of kept.entries()) {
    const node = cluster.nodes[index % cluster.nodes.length];
    const name = configuration.metadata['name'];
    if (node === undefined || name === undefined) continue;
    const [by, way] = ways[index % ways.length] ?? [];
    if (way === undefined) throw new Error('there is no way to a volume');
    const look = { node, volume: name, forMs: 0, patienceMs: 90_000, name: `last look at ${name} by ${by}` };
    const { dataset, status, said } = await play(way, look, history);
    if (status !== 0 || dataset !== configuration.dataset_id)
      history.violated(`${look.name} (${configuration.dataset_id}) ended with ${status}: ${said}`);
  }
  await deleteAll(cluster, until);
  await rested('left over', history, () => leftOver(cluster));
  await stopAll(cluster, history);
}

async function deleteAll(cluster: FaultCluster, until: AbortSignal): Promise<void> {
  for (const { snapshot_id: text } of await cluster.client.listSnapshots({}, until)) {
    const id = parseSnapshotId(text);
    if (id !== undefined) await cluster.client.deleteSnapshot(id, until);
  }
  for (const { dataset_id: text, deleted } of (await cluster.client.listDatasets(until)).datasets) {
    const id = parseDatasetId(text);
    if (id !== undefined && !deleted) await cluster.client.deleteDataset(id, { kind: 'none' }, until);
  }
}

async function leftOver(cluster: FaultCluster): Promise<string[]> {
  const left: string[] = [];
  const leases = await cluster.client.listLeases(AbortSignal.timeout(5_000));
  left.push(...leases.map(({ dataset_id: id }) => `lease of ${id}`));
  left.push(
    ...loopsBelow(cluster.layout.volumes)
      .filter(({ path }) => /[0-9a-f-]{36}/.test(path))
      .map(({ device, path }) => `${device} of ${path}`),
  );
  for (const node of cluster.nodes) {
    const { machine, mountRoot, callers, number } = node;
    for (const place of [mountRoot, callers]) {
      left.push(...mountsBelow(place, machine.pid).map(({ point }) => `mount at ${point} on node ${number}`));
      left.push(...(await readdir(place)).map((name) => `directory ${name} on node ${number}`));
    }
    const local = new LocalClient(cluster.sockets(node).socket);
    const { volumes } = (await local.volumes(AbortSignal.timeout(5_000))) as VolumesAnswer;
    left.push(...volumes.flatMap(({ holders }) => holders).map(({ id }) => `holder ${id} on node ${number}`));
    const namespace = await readlink(`/proc/${machine.pid}/ns/net`);
    const agent = cluster.nodes[number]?.agent?.pid;
    for (const pid of await processesIn(namespace)) {
      if (pid === machine.pid || pid === agent) continue;
      const line = (await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')).replaceAll('\0', ' ');
      if (line !== '') left.push(`process ${pid} on node ${number}: ${line}`);
    }
  }
  for (const path of await poolPaths(cluster)) left.push(`${path} in the pool`);
  return left;
}

/** What is in the pools beside the directories that nodes have there. */
async function poolPaths({ nodes, layout, storage }: FaultCluster): Promise<string[]> {
  const ofVolumes = /^(attached|unattached|snapshots|creating|destroying|receiving)\/.*[0-9a-f-]{36}/;
  const places = new Set(nodes.flatMap(({ id }) => ['attached', 'creating', 'destroying'].map((at) => join(at, id))));
  const pools = new Set(nodes.map(({ number, machine }) => storage.pool(layout, number, machine.pid)));
  const found = await Promise.all([...pools].map((pool) => readdir(pool, { recursive: true })));
  if (!found.every((paths) => paths.includes('attached'))) throw new Error('a pool is not where it was looked for');
  return found.flat().filter((path) => ofVolumes.test(path) && !places.has(path));
}

async function stopAll(cluster: FaultCluster, history: History): Promise<void> {
  const daemons = [...cluster.nodes.map(({ agent }) => agent), cluster.control];
  for (const daemon of daemons) if (daemon !== undefined) signal(daemon.pid, 'SIGTERM');
  for (const [index, daemon] of daemons.entries()) {
    const end = await daemon?.ended;
    if (end !== 0) history.violated(`${index < cluster.nodes.length ? `agent ${index}` : 'control'} ended with ${end}`);
  }
  for (const { directory, machine } of cluster.nodes) {
    const sockets = (await readdir(directory)).filter((name) => name.endsWith('.sock'));
    for (const name of sockets) history.violated(`socket ${join(directory, name)} is left`);
    await machine.powerOff();
  }
  await cluster.client.close();
}

/** Waits until `look` finds nothing; what it finds in the end is a violation. */
async function rested(what: string, history: History, look: () => Promise<string[]>): Promise<void> {
  const untilMs = performance.now() + REST_MS;
  for (;;) {
    const found = await look().catch((error: unknown) => [errorText(error)]);
    if (found.length === 0) return;
    if (performance.now() > untilMs) {
      for (const one of found) history.violated(`${what}: ${one}`);
      return;
    }
    await pause(250);
  }
}

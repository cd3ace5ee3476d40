import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes, randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { flockerCommand } from '../src/bin/flocker-command.ts';
import { startCluster } from '../src/cli/up/start-cluster.ts';
import { systemClock } from '../src/kit/clock.ts';
import { Framework } from '../test/support/mesos/framework.ts';
import type { MesosResource } from '../test/support/mesos/mesos-resources.ts';
import { MesosProviderManager } from '../test/support/mesos-provider-manager.ts';
import { median, rounded, timed } from './figures.ts';
import { benchOptions } from './options.ts';

const SIZE_MIB = 64;
const MANY = 100;

/**
 * Round trips of CREATE_DISK and PUBLISH_RESOURCES as a Mesos agent sees them: real daemons, loopback volumes of 64 MiB with
 * ext4, and a stand-in for the agent. With one disk after the other, and with 100 at once.
 */
export async function provider(args: readonly string[]): Promise<void> {
  const { json, rounds } = benchOptions(args);
  if (process.getuid?.() !== 0) throw new Error('this benchmark mounts volumes: run it as root');
  const directory = await mkdtemp(join(tmpdir(), 'flocker-bench-'));
  const cluster = await startCluster({
    directory,
    nodes: 1,
    backend: 'loopback',
    isRoot: true,
    clock: systemClock,
    random: Math.random,
    newUuid: randomUUID,
    randomBytes: (count) => randomBytes(count),
    flocker: flockerCommand,
  });
  const manager = await MesosProviderManager.start();
  const [program, ...flags] = flockerCommand;
  const where = ['--cluster', cluster.clusterJsonPath, '--node', '1', '--agent', manager.url];
  const child = spawn(program, [...flags, 'provider', ...where, '--log-level', 'warn'], { stdio: 'ignore' });
  try {
    await manager.untilSubscribed();
    const figures = await measure(manager, rounds);
    process.stdout.write(json ? `${JSON.stringify({ provider: figures })}\n` : table(figures, rounds));
  } finally {
    await ended(child);
    await manager.close();
    await cluster.stop();
    await rm(directory, { recursive: true, force: true });
  }
}

async function measure(manager: MesosProviderManager, rounds: number): Promise<Readonly<Record<string, number>>> {
  const framework = new Framework(manager);
  const times = { create: [] as number[], publish: [] as number[], again: [] as number[], destroy: [] as number[] };
  for (let round = 0; round < rounds; round += 1) {
    const source = await reserved(manager, framework);
    let disks: readonly MesosResource[] = [];
    times.create.push(
      await timed(async () => {
        disks = await created(manager, framework, [source]);
      }),
    );
    times.publish.push(await timed(() => published(manager, disks)));
    times.again.push(await timed(() => published(manager, disks)));
    times.destroy.push(await timed(() => destroyed(manager, framework, disks)));
  }
  const sources: MesosResource[] = [];
  for (let count = 0; count < MANY; count += 1) sources.push(await reserved(manager, framework));
  let disks: readonly MesosResource[] = [];
  const createMs = await timed(async () => {
    disks = await created(manager, framework, sources);
  });
  const publishMs = await timed(() => published(manager, disks));
  const publishAgainMs = await timed(() => published(manager, disks));
  const destroyMs = await timed(() => destroyed(manager, framework, disks));
  return {
    create_disk_ms: rounded(median(times.create)),
    publish_ms: rounded(median(times.publish)),
    publish_again_ms: rounded(median(times.again)),
    destroy_disk_ms: rounded(median(times.destroy)),
    create_100_disks_ms: rounded(createMs),
    publish_100_disks_ms: rounded(publishMs),
    publish_100_disks_again_ms: rounded(publishAgainMs),
    destroy_100_disks_ms: rounded(destroyMs),
  };
}

async function reserved(manager: MesosProviderManager, framework: Framework): Promise<MesosResource> {
  const { operation, resource } = framework.reserve('gold', SIZE_MIB);
  await manager.ended(operation);
  return resource;
}

async function created(
  manager: MesosProviderManager,
  framework: Framework,
  sources: readonly MesosResource[],
): Promise<readonly MesosResource[]> {
  const operations = sources.map((source) => framework.createDisk(source));
  const statuses = await Promise.all(operations.map((operation) => manager.ended(operation, 300_000)));
  return statuses.map(({ state, message, converted_resources: [disk] = [] }) => {
    if (disk === undefined) throw new Error(`CREATE_DISK: ${state} ${message}`);
    return disk;
  });
}

async function published(manager: MesosProviderManager, disks: readonly MesosResource[]): Promise<void> {
  const status = await manager.publish(disks, 300_000);
  if (status !== 'OK') throw new Error(`PUBLISH_RESOURCES: ${status}`);
}

async function destroyed(
  manager: MesosProviderManager,
  framework: Framework,
  disks: readonly MesosResource[],
): Promise<void> {
  const operations = disks.map((disk) => framework.destroyDisk(disk));
  await Promise.all(operations.map((operation) => manager.ended(operation, 300_000)));
}

function ended(child: ChildProcess): Promise<void> {
  return new Promise((resolve) => {
    child.once('exit', () => resolve());
    child.kill('SIGTERM');
  });
}

function table(figures: Readonly<Record<string, number>>, rounds: number): string {
  const lines = Object.entries(figures).map(([name, value]) => `  ${name.replaceAll('_', ' ').padEnd(30)} ${value}`);
  return `Mesos disks of ${SIZE_MIB} MiB, ext4 on loopback; medians of ${rounds} rounds, and ${MANY} at once:\n${lines.join('\n')}\n`;
}

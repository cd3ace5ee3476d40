import { mkdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { FlockerClient } from '../../src/client/flocker-client.ts';
import { STATUS } from '../../src/frontends/csi/csi-error.ts';
import { writable } from '../../src/frontends/csi/testing/csi-bench.ts';
import { type CsiClient, csiClient } from '../../src/frontends/csi/testing/csi-client.ts';
import { LocalClient } from '../../src/frontends/local/local-client.ts';
import type { VolumesAnswer } from '../../src/frontends/local/local-schemas.ts';
import { eventually } from './support/eventually.ts';
import { MountWatch } from './support/mount-watch.ts';
import { BACKENDS, UpCluster } from './support/up.ts';

const isRoot = process.getuid?.() === 0;
const MIB = 1n << 20n;
const soon = (): AbortSignal => AbortSignal.timeout(10_000);

describe.runIf(isRoot).each(BACKENDS)('CSI over its socket (needs root), %s backend', (backend) => {
  let cluster: UpCluster;
  let client: FlockerClient;
  const callers = new Map<string, CsiClient>();

  beforeAll(async () => {
    cluster = await UpCluster.start('--backend', backend);
    client = await cluster.client();
  });
  afterAll(async () => {
    for (const caller of callers.values()) caller.close();
    await client.close();
    await cluster.remove();
  });
  afterEach(async () => {
    for (const node of [1, 2]) expect(await holders(node)).toEqual([]);
    expect(await client.listLeases(soon())).toEqual([]);
  });

  /** A caller of its own for each process of the agent, so that none waits before it connects again. */
  async function csi(node: number): Promise<CsiClient> {
    const { csi: socketPath, pid } = await cluster.node(node);
    const present = callers.get(`${node} ${pid}`);
    if (present !== undefined) return present;
    const caller = csiClient(socketPath);
    callers.set(`${node} ${pid}`, caller);
    await eventually(() => caller.identity.probe({}, 2_000), 20_000);
    return caller;
  }
  async function create(name: string): Promise<string> {
    const request = { name, capacityRange: { requiredBytes: 96n * MIB }, volumeCapabilities: [writable()] };
    return (await (await csi(1)).controller.createVolume(request)).volume?.volumeId ?? '';
  }
  async function remove(volumeId: string): Promise<void> {
    await (await csi(1)).controller.deleteVolume({ volumeId });
  }
  async function holders(node: number): Promise<string[]> {
    const { socket } = await cluster.node(node);
    const { volumes } = (await eventually(() => new LocalClient(socket).volumes(soon()))) as VolumesAnswer;
    return volumes.flatMap((one) => one.holders.map(({ id }) => id));
  }
  /** As callers do: the directories of staging and targets are theirs. */
  async function places(node: number, name: string): Promise<{ stagingTargetPath: string; targetPath: string }> {
    const root = join(cluster.scratch.directory, `callers-${node}`, name);
    await mkdir(join(root, 'staging'), { recursive: true });
    return { stagingTargetPath: join(root, 'staging'), targetPath: join(root, 'target') };
  }
  async function stage(node: number, volumeId: string, volumeContext: Record<string, string> = {}): Promise<void> {
    const { stagingTargetPath } = await places(node, volumeId);
    const request = { volumeId, stagingTargetPath, volumeCapability: writable(), volumeContext };
    await (await csi(node)).node.nodeStageVolume(request);
  }
  /** Resolves with the target. */
  async function publish(node: number, volumeId: string, readonly = false): Promise<string> {
    const paths = await places(node, volumeId);
    await (await csi(node)).node.nodePublishVolume({ volumeId, ...paths, volumeCapability: writable(), readonly });
    return paths.targetPath;
  }
  async function withdraw(node: number, volumeId: string): Promise<void> {
    const { targetPath, stagingTargetPath } = await places(node, volumeId);
    const caller = (await csi(node)).node;
    await caller.nodeUnpublishVolume({ volumeId, targetPath });
    await expect(stat(targetPath)).rejects.toMatchObject({ code: 'ENOENT' });
    await caller.nodeUnstageVolume({ volumeId, stagingTargetPath });
  }

  it('takes a volume from node to node with its data, and is never on two', async () => {
    const volumeId = await create('wanderer');
    const { nodes } = await cluster.json();
    const watch = new MountWatch(nodes, volumeId);
    for (const [round, node] of [1, 2, 1].entries()) {
      const nodeId = (await cluster.node(node)).uuid;
      // Any agent's controller will do.
      const { controller } = await csi(2);
      await controller.controllerPublishVolume({ volumeId, nodeId, volumeCapability: writable() });
      await stage(node, volumeId);
      const target = await publish(node, volumeId);
      if (round > 0) expect(await readFile(join(target, 'text'), 'utf8')).toBe(`round ${round - 1}`);
      await writeFile(join(target, 'text'), `round ${round}`);
      await withdraw(node, volumeId);
      await controller.controllerUnpublishVolume({ volumeId, nodeId });
    }
    expect(watch.stop().seen.filter((hosts) => hosts.includes(' and '))).toEqual([]);
    await remove(volumeId);
  });

  it('refuses a second writer at every door, and names the first', async () => {
    const volumeId = await create('contested');
    const [one, two] = [(await cluster.node(1)).uuid, (await cluster.node(2)).uuid];
    const { controller } = await csi(1);
    await controller.controllerPublishVolume({ volumeId, nodeId: one, volumeCapability: writable() });
    await stage(1, volumeId);
    const refused = { code: STATUS.FAILED_PRECONDITION, details: expect.stringContaining(one) as string };
    const other = { volumeId, nodeId: two, volumeCapability: writable() };
    await expect(controller.controllerPublishVolume(other)).rejects.toMatchObject(refused);
    // One who does not know the controller.
    const { stagingTargetPath } = await places(2, volumeId);
    const staging = { volumeId, stagingTargetPath, volumeCapability: writable() };
    await expect((await csi(2)).node.nodeStageVolume(staging, 2_000)).rejects.toMatchObject(refused);
    await expect(remove(volumeId)).rejects.toMatchObject(refused);
    await withdraw(1, volumeId);
    // Published still, so that the volume is kept for node 1.
    await expect(controller.controllerPublishVolume(other)).rejects.toMatchObject(refused);
    await controller.controllerUnpublishVolume({ volumeId, nodeId: one });
    await controller.controllerPublishVolume(other);
    await controller.controllerUnpublishVolume(other);
    await remove(volumeId);
  });

  it('shows a volume read-only and writable side by side', async () => {
    const volumeId = await create('readable');
    await stage(1, volumeId);
    const target = await publish(1, volumeId);
    await writeFile(join(target, 'text'), 'kept');
    const second = { ...(await places(1, volumeId)), targetPath: `${target}-2` };
    const { node } = await csi(1);
    await node.nodePublishVolume({ volumeId, ...second, volumeCapability: writable(['noexec']), readonly: true });
    expect(await readFile(join(second.targetPath, 'text'), 'utf8')).toBe('kept');
    await expect(writeFile(join(second.targetPath, 'text'), 'lost')).rejects.toMatchObject({ code: 'EROFS' });
    await writeFile(join(target, 'text'), 'changed');
    const stats = await node.nodeGetVolumeStats({ volumeId, volumePath: target });
    expect(stats.usage.map(({ unit, total }) => [unit, total > 0n])).toEqual([
      [1, true],
      [2, true],
    ]);
    expect(stats.volumeCondition?.abnormal).toBe(false);
    await node.nodeUnpublishVolume({ volumeId, targetPath: second.targetPath });
    await withdraw(1, volumeId);
    await remove(volumeId);
  });

  it('makes, mounts and keeps a volume for a caller without a controller, as Mesos calls it', async () => {
    const context = { create: 'auto', size: '96MiB' };
    for (const node of [1, 2]) {
      await stage(node, 'dynamic', context);
      // The stock isolator does both again for every further container.
      const target = await publish(node, 'dynamic');
      await stage(node, 'dynamic', context);
      await publish(node, 'dynamic');
      if (node === 2) expect(await readFile(join(target, 'text'), 'utf8')).toBe('kept');
      await writeFile(join(target, 'text'), 'kept');
      await withdraw(node, 'dynamic');
    }
    await remove('dynamic');
  });

  it('goes on where it was when the agent is killed between stage and publish, and after', async () => {
    const volumeId = await create('lasting');
    await stage(1, volumeId);
    await cluster.kill(1);
    const target = await publish(1, volumeId);
    await writeFile(join(target, 'text'), 'before');
    await cluster.kill(1);
    expect(await readFile(join(target, 'text'), 'utf8')).toBe('before');
    await publish(1, volumeId);
    await cluster.kill(1, 'SIGTERM');
    expect(await readFile(join(target, 'text'), 'utf8')).toBe('before');
    await withdraw(1, volumeId);
    await stage(2, volumeId);
    expect(await readFile(join(await publish(2, volumeId), 'text'), 'utf8')).toBe('before');
    await withdraw(2, volumeId);
    await remove(volumeId);
  });

  it.each([60, 240])('finishes when the agent is killed %d ms into its work', async (delayMs) => {
    const name = `killed-${delayMs}`;
    const request = { name, capacityRange: { requiredBytes: 96n * MIB }, volumeCapabilities: [writable()] };
    const again = async (work: () => Promise<unknown>): Promise<void> => {
      const first = work().catch(() => undefined);
      await pause(delayMs);
      await cluster.kill(1);
      await first;
      // As every caller does: the same call until it succeeds.
      await eventually(work, 60_000, 200);
    };
    const volumeId = (await (await csi(1)).controller.createVolume(request)).volume?.volumeId ?? '';
    await again(() => stage(1, volumeId));
    await again(() => publish(1, volumeId));
    await again(() => withdraw(1, volumeId));
    await remove(volumeId);
    const left = (await client.listDatasets(soon())).datasets.filter(
      (one) => !one.deleted && one.metadata['name'] === name,
    );
    expect(left).toEqual([]);
  });

  it('answers 16 calls at once, on one volume and on many', async () => {
    const { controller, node } = await csi(1);
    const sixteen = Array.from({ length: 16 }, (_, index) => index);
    const request = (name: string) => ({
      name,
      capacityRange: { requiredBytes: 64n * MIB },
      volumeCapabilities: [writable()],
    });
    const same = await Promise.all(sixteen.map(() => controller.createVolume(request('crowded'))));
    const [one = ''] = new Set(same.map(({ volume }) => volume?.volumeId ?? ''));
    expect(same.every(({ volume }) => volume?.volumeId === one)).toBe(true);
    const many = await Promise.all(sixteen.map((index) => controller.createVolume(request(`many-${index}`))));
    const ids = many.map(({ volume }) => volume?.volumeId ?? '');
    const on = async (id: string, suffix = '') => {
      const { stagingTargetPath, targetPath } = await places(1, id);
      return { volumeId: id, stagingTargetPath, targetPath: `${targetPath}${suffix}`, volumeCapability: writable() };
    };
    const all = [
      ...(await Promise.all(sixteen.map((index) => on(one, `-${index % 3}`)))),
      ...(await Promise.all(ids.map((id) => on(id)))),
    ];
    await Promise.all(all.map((call) => node.nodeStageVolume(call)));
    await Promise.all(all.map((call) => node.nodePublishVolume(call)));
    await Promise.all(all.map(async ({ targetPath }) => expect((await stat(targetPath)).isDirectory()).toBe(true)));
    await Promise.all(all.map((call) => node.nodeUnpublishVolume(call)));
    await Promise.all(all.map((call) => node.nodeUnstageVolume(call)));
    await Promise.all([one, ...ids].map((volumeId) => controller.deleteVolume({ volumeId })));
  });
});

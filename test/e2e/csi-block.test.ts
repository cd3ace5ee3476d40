import { execFile } from 'node:child_process';
import { mkdir, open, readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { promisify } from 'node:util';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { FlockerClient } from '../../src/client/flocker-client.ts';
import { STATUS } from '../../src/frontends/csi/csi-error.ts';
import { block } from '../../src/frontends/csi/testing/csi-bench.ts';
import { type CsiClient, csiClient } from '../../src/frontends/csi/testing/csi-client.ts';
import { eventually } from './support/eventually.ts';
import { BACKENDS, UpCluster } from './support/up.ts';

const run = promisify(execFile);
const isRoot = process.getuid?.() === 0;
const MIB = 2 ** 20;
const PIECE_BYTES = 4096;
const soon = (): AbortSignal => AbortSignal.timeout(10_000);

describe.runIf(isRoot).each(BACKENDS)('CSI block volumes (needs root), %s backend', (backend) => {
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
    expect(await devices()).toEqual([]);
    const table = await readFile('/proc/self/mountinfo', 'utf8');
    expect(table.split('\n').filter((line) => line.includes(`${cluster.scratch.directory}/callers`))).toEqual([]);
    expect(await client.listLeases(soon())).toEqual([]);
  });

  /** Loop devices that have the file of a block volume of this cluster. */
  async function devices(): Promise<string[]> {
    const found: string[] = [];
    for (const name of await readdir('/sys/block')) {
      const file = await readFile(`/sys/block/${name}/loop/backing_file`, 'utf8').catch(() => '');
      if (file.startsWith(cluster.scratch.directory) && /\/volume\.block( \(deleted\))?\n/.test(file))
        found.push(`/dev/${name}`);
    }
    return found;
  }
  async function csi(node: number): Promise<CsiClient> {
    const { csi: socketPath, pid } = await cluster.node(node);
    const present = callers.get(`${node} ${pid}`);
    if (present !== undefined) return present;
    const caller = csiClient(socketPath);
    callers.set(`${node} ${pid}`, caller);
    await eventually(() => caller.identity.probe({}, 2_000), 20_000);
    return caller;
  }
  async function create(name: string, sizeBytes = 64 * MIB, more: object = {}): Promise<string> {
    const capacityRange = { requiredBytes: BigInt(sizeBytes), limitBytes: BigInt(sizeBytes) };
    const request = { name, capacityRange, volumeCapabilities: [block()], ...more };
    return (await (await csi(1)).controller.createVolume(request)).volume?.volumeId ?? '';
  }
  async function remove(volumeId: string): Promise<void> {
    await (await csi(1)).controller.deleteVolume({ volumeId });
  }
  async function call(node: number, volumeId: string, suffix = '') {
    const root = join(cluster.scratch.directory, `callers-${node}`, volumeId);
    await mkdir(join(root, 'staging'), { recursive: true });
    const targetPath = join(root, `target${suffix}`);
    const paths = { stagingTargetPath: join(root, 'staging'), targetPath, volumePath: targetPath };
    return { volumeId, ...paths, volumeCapability: block() };
  }
  /** Resolves with the target, at which the device is. */
  async function bring(node: number, volumeId: string): Promise<string> {
    const request = await call(node, volumeId);
    const caller = (await csi(node)).node;
    await caller.nodeStageVolume(request);
    await caller.nodePublishVolume(request);
    expect((await stat(request.targetPath)).isBlockDevice()).toBe(true);
    return request.targetPath;
  }
  async function withdraw(node: number, volumeId: string): Promise<void> {
    const request = await call(node, volumeId);
    const caller = (await csi(node)).node;
    await caller.nodeUnpublishVolume(request);
    await expect(stat(request.targetPath)).rejects.toMatchObject({ code: 'ENOENT' });
    await caller.nodeUnstageVolume(request);
  }
  const sizeOf = async (device: string): Promise<number> =>
    Number((await run('blockdev', ['--getsize64', device])).stdout);
  /** Writes a text at a place and waits for the disk; reads it past all caches. */
  async function write(device: string, text: string, at = 0): Promise<void> {
    const file = await open(device, 'r+');
    try {
      await file.write(Buffer.from(text.padEnd(PIECE_BYTES)), 0, PIECE_BYTES, at);
      await file.sync();
    } finally {
      await file.close();
    }
  }
  async function read(device: string, at = 0): Promise<string> {
    const from = [`if=${device}`, `bs=${PIECE_BYTES}`, 'count=1', `skip=${at / PIECE_BYTES}`, 'iflag=direct'];
    return (await run('dd', from)).stdout.trimEnd();
  }

  it('goes from node to node with its data, through kill -9 of the agent while it is published', async () => {
    const volumeId = await create('wanderer');
    const target = await bring(1, volumeId);
    expect(await sizeOf(target)).toBe(64 * MIB);
    await write(target, 'first');
    const file = await open(target, 'r+');
    await cluster.kill(1);
    await file.write(Buffer.from('while it was away'.padEnd(PIECE_BYTES)), 0, PIECE_BYTES, 32 * MIB);
    await file.sync();
    await file.close();
    // As kubelet does when it comes back: the same device.
    const [before] = await devices();
    await bring(1, volumeId);
    expect(await devices()).toEqual([before]);
    const other = await call(2, volumeId);
    await expect((await csi(2)).node.nodeStageVolume(other, 2_000)).rejects.toMatchObject({
      code: STATUS.FAILED_PRECONDITION,
    });
    await withdraw(1, volumeId);
    const there = await bring(2, volumeId);
    expect(await read(there)).toBe('first');
    expect(await read(there, 32 * MIB)).toBe('while it was away');
    const { usage } = await (await csi(2)).node.nodeGetVolumeStats(other);
    expect(usage).toMatchObject([{ unit: 1, total: BigInt(64 * MIB) }]);
    await withdraw(2, volumeId);
    await remove(volumeId);
  });

  it('is read-only where that was asked for, beside a writer', async () => {
    const volumeId = await create('readable');
    const target = await bring(1, volumeId);
    await write(target, 'kept');
    const second = await call(1, volumeId, '-2');
    const { node } = await csi(1);
    await node.nodePublishVolume({ ...second, readonly: true });
    expect(await read(second.targetPath)).toBe('kept');
    await expect(write(second.targetPath, 'lost')).rejects.toThrow(/EPERM|EACCES|EROFS/);
    await write(target, 'changed');
    await node.nodeUnpublishVolume(second);
    expect(await devices()).toHaveLength(1);
    await withdraw(1, volumeId);
    await remove(volumeId);
  });

  it('is not let go while something has the device open', async () => {
    const volumeId = await create('open');
    const target = await bring(1, volumeId);
    const request = await call(1, volumeId);
    const { node } = await csi(1);
    const refused = (text: string) => ({
      code: STATUS.FAILED_PRECONDITION,
      details: expect.stringContaining(text) as string,
    });
    const atTarget = await open(target, 'r');
    await expect(node.nodeUnpublishVolume(request)).rejects.toMatchObject(refused(target));
    await atTarget.close();
    const [device = ''] = await devices();
    const elsewhere = await open(device, 'r');
    await node.nodeUnpublishVolume(request);
    await expect(node.nodeUnstageVolume(request)).rejects.toMatchObject(refused(device));
    expect(await devices()).toEqual([device]);
    await elsewhere.close();
    await node.nodeUnstageVolume(request);
    await remove(volumeId);
  });

  it('grows when the node is told', async () => {
    // xfs grows while it is mounted wherever these tests run; ext4 only with CAP_SYS_RESOURCE.
    const parameters = backend === 'loopback' ? { fsType: 'xfs' } : {};
    const volumeId = await create('growing', 208 * MIB, { parameters });
    const target = await bring(1, volumeId);
    await write(target, 'kept');
    const request = { ...(await call(1, volumeId)), capacityRange: { requiredBytes: BigInt(320 * MIB) } };
    const { controller, node } = await csi(1);
    expect(await controller.controllerExpandVolume(request)).toMatchObject({ nodeExpansionRequired: true });
    expect(await node.nodeExpandVolume(request)).toMatchObject({ capacityBytes: BigInt(320 * MIB) });
    expect(await sizeOf(target)).toBe(320 * MIB);
    await write(target, 'at the end', 320 * MIB - PIECE_BYTES);
    expect(await read(target)).toBe('kept');
    await withdraw(1, volumeId);
    await remove(volumeId);
  });

  it('is copied with its data, and the copy can be larger', async () => {
    const volumeId = await create('original');
    await write(await bring(1, volumeId), 'copied');
    await withdraw(1, volumeId);
    const volumeContentSource = { type: { case: 'volume', value: { volumeId } } };
    const copy = await create('copy', 96 * MIB, { volumeContentSource });
    const target = await bring(1, copy);
    expect(await sizeOf(target)).toBe(96 * MIB);
    expect(await read(target)).toBe('copied');
    await withdraw(1, copy);
    await Promise.all([volumeId, copy].map(remove));
  });

  const sizes = [
    ['ext4', 64 * MIB],
    ['ext4', 1024 * MIB],
    ['xfs', 208 * MIB],
    ['xfs', 1024 * MIB],
  ] as const;
  // A directory has no size.
  it.each(backend === 'loopback' ? sizes : [])(
    'can be filled in full, also when it was written in pieces: %s, %d bytes',
    async (fsType, sizeBytes) => {
      const volumeId = await create(`full-${fsType}-${sizeBytes}`, sizeBytes, { parameters: { fsType } });
      const target = await bring(1, volumeId);
      const file = await open(target, 'r+');
      const piece = Buffer.alloc(PIECE_BYTES, 'x');
      for (let at = 0; at < Math.min(sizeBytes, 64 * MIB); at += 2 * PIECE_BYTES)
        await file.write(piece, 0, PIECE_BYTES, at);
      await file.sync();
      const much = Buffer.alloc(4 * MIB, 'y');
      for (let at = 0; at < sizeBytes; at += much.length) await file.write(much, 0, much.length, at);
      await file.sync();
      await file.close();
      expect(await read(target, sizeBytes - PIECE_BYTES)).toBe('y'.repeat(PIECE_BYTES));
      await withdraw(1, volumeId);
      await remove(volumeId);
    },
    180_000,
  );

  it.each([20, 120])('finishes when the agent is killed %d ms into its work', async (delayMs) => {
    const volumeId = await create(`killed-${delayMs}`);
    const { node } = await csi(1);
    const request = await call(1, volumeId);
    await node.nodeStageVolume(request);
    const again = async (work: () => Promise<unknown>): Promise<void> => {
      const first = work().catch(() => undefined);
      await pause(delayMs);
      await cluster.kill(1);
      await first;
      // As every caller does: the same call until it succeeds.
      await eventually(work, 60_000, 200);
    };
    await again(async () => (await csi(1)).node.nodePublishVolume(request));
    expect(await devices()).toHaveLength(1);
    await write(request.targetPath, 'kept');
    await again(async () => (await csi(1)).node.nodeUnpublishVolume(request));
    expect(await devices()).toEqual([]);
    await again(async () => (await csi(1)).node.nodeUnstageVolume(request));
    await remove(volumeId);
  });

  it('serves eight at once, each on its own device', async () => {
    const ids = await Promise.all(Array.from({ length: 8 }, (_, index) => create(`many-${index}`)));
    const shown = await Promise.all(ids.map((id) => bring(1, id)));
    await Promise.all(shown.map((target, index) => write(target, `volume ${index}`)));
    expect(await devices()).toHaveLength(8);
    expect(await Promise.all(shown.map((target) => read(target)))).toEqual(shown.map((_, index) => `volume ${index}`));
    await Promise.all(ids.map((id) => withdraw(1, id)));
    await Promise.all(ids.map(remove));
  });
});

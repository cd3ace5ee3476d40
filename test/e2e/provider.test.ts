import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { request } from 'node:http';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { FlockerClient } from '../../src/client/flocker-client.ts';
import { Framework } from '../support/mesos/framework.ts';
import type { MesosResource } from '../support/mesos/mesos-resources.ts';
import { MesosProviderManager } from '../support/mesos-provider-manager.ts';
import { eventually } from './support/eventually.ts';
import { type Program, start } from './support/program.ts';
import { UpCluster } from './support/up.ts';

const isRoot = process.getuid?.() === 0;
const soon = (): AbortSignal => AbortSignal.timeout(10_000);
const MIB = 128;

describe.skipIf(!isRoot)('the resource provider, with real mounts (needs root)', () => {
  let cluster: UpCluster;
  let client: FlockerClient;
  let manager: MesosProviderManager;
  let framework: Framework;
  let provider: Program;
  beforeAll(async () => {
    cluster = await UpCluster.start('--backend', 'loopback');
    client = await cluster.client();
    await cluster.connected();
  });
  afterAll(async () => {
    await client.close();
    await cluster.remove();
  });
  beforeEach(async () => {
    manager = await MesosProviderManager.start();
    framework = new Framework(manager);
    provider = await attach();
    await manager.untilSubscribed();
  });
  afterEach(async () => {
    provider.kill('SIGTERM');
    expect(await provider.ended).toMatchObject({ status: 0, stderr: '' });
    await manager.close();
    expect(await volumes()).toEqual([]);
    expect(await client.listLeases(soon())).toEqual([]);
  });

  async function attach(node = 1, to = manager, ...args: readonly string[]): Promise<Program> {
    const where = ['--cluster', cluster.clusterJson, '--node', String(node), '--agent', to.url];
    return start('flocker', ['provider', ...where, ...(await state(node, to)), ...args], cluster.scratch.env);
  }
  /** Each stand-in is another agent, so each test has a state of its own. */
  async function state(node: number, to: MesosProviderManager): Promise<string[]> {
    const path = join(cluster.scratch.directory, `provider-${node}-${to.model.agentId}`);
    await mkdir(path, { recursive: true });
    return ['--state-path', path];
  }
  /** kill -9, and a new process. */
  async function killed(): Promise<void> {
    provider.kill('SIGKILL');
    await provider.ended;
    provider = await attach();
  }
  async function volumes(): Promise<string[]> {
    const { datasets } = await client.listDatasets(soon());
    return datasets.filter(({ deleted }) => !deleted).map(({ metadata }) => metadata['name'] ?? '');
  }
  function pathOf(disk: MesosResource): string {
    const { id = '', mount } = disk.disk?.source ?? {};
    return join(mount?.root ?? '', id, 'target');
  }
  async function finished(operation: Parameters<MesosProviderManager['ended']>[0]): Promise<void> {
    const { state: ended, message } = await manager.ended(operation);
    expect(ended, message).toBe('OPERATION_FINISHED');
  }
  const before = (): number => manager.totals.reduce((sum, { scalar }) => sum + (scalar?.value ?? 0), 0);

  it('makes a disk of a pool, mounts it where Mesos looks, empties it, and gives the room back', async () => {
    const total = before();
    const labels = framework.pool('gold').disk?.source?.metadata?.labels ?? [];
    expect(Object.fromEntries(labels.map(({ key, value }) => [key, value]))).toMatchObject({
      backend: 'loopback',
      compression: 'none',
      'flocker.pool': expect.any(String) as string,
      'flocker.storage-state': expect.stringMatching(/^https:.*\/v1\/state\/storage$/) as string,
    });
    const disk = await framework.made('gold', MIB);
    expect(disk).toMatchObject({ scalar: { value: MIB }, disk: { source: { type: 'MOUNT', profile: 'gold' } } });
    expect(await volumes()).toEqual([expect.stringMatching(/^mesos-gold-[0-9a-f]{12}$/)]);
    const volume = framework.volume(disk, 'pv-1');
    await finished(framework.create(volume));
    expect(await manager.publish([volume])).toBe('OK');
    const path = pathOf(disk);
    expect((await stat(path)).dev).not.toBe((await stat(join(path, '..'))).dev);
    await mkdir(join(path, 'deep', 'er'), { recursive: true });
    await writeFile(join(path, 'deep', 'er', 'data'), 'kept');
    expect(await manager.publish([volume])).toBe('OK');
    expect(await readFile(join(path, 'deep', 'er', 'data'), 'utf8')).toBe('kept');
    await finished(framework.destroy(volume));
    expect(await readdir(path)).toEqual([]);
    await finished(framework.destroyDisk(disk));
    expect(existsSync(join(path, '..'))).toBe(false);
    expect(before()).toBe(total);
    const [reserved] = manager.totals.filter(({ reservations = [] }) => reservations.length > 0);
    await finished(framework.unreserve({ ...reserved, allocation_info: { role: 'storage' } }));
    expect(before()).toBe(total);
    expect(await metrics('/health')).toContain('"subscribed":true');
    expect(await metrics('/metrics')).toContain('flocker_provider_publishes_total 2\n');
  });

  it('loses nothing when the provider is killed at each step', async () => {
    const total = before();
    const { operation, resource } = framework.reserve('gold', MIB);
    await finished(operation);
    const create = framework.createDisk(resource);
    await killed();
    // What was not on disk when it was killed the agent forgot with the stream; otherwise it goes on.
    await manager.untilSubscribed();
    const known = manager.model.entry?.operations.has(create.uuid) === true;
    if (known) await manager.ended(create);
    const source = known ? create : framework.createDisk(resource);
    const status = await manager.ended(source, 30_000, false);
    const [disk] = status.converted_resources ?? [];
    if (disk === undefined) throw new Error(`${status.state} ${status.message}`);
    await killed();
    await manager.untilSubscribed();
    manager.acknowledge(source);
    const volume = framework.volume(disk, 'pv-1');
    const made = framework.create(volume);
    await manager.ended(made, 30_000, false);
    await killed();
    await manager.untilSubscribed();
    manager.acknowledge(made);
    expect(await manager.publish([volume])).toBe('OK');
    await writeFile(join(pathOf(disk), 'data'), 'kept');
    await killed();
    await manager.untilSubscribed();
    // It stays mounted, and the same disk is found again.
    expect(await readFile(join(pathOf(disk), 'data'), 'utf8')).toBe('kept');
    expect(await manager.publish([volume])).toBe('OK');
    const destroy = framework.destroy(volume);
    await manager.ended(destroy, 30_000, false);
    await killed();
    await manager.untilSubscribed();
    manager.acknowledge(destroy);
    expect(await readdir(pathOf(disk))).toEqual([]);
    const destroyDisk = framework.destroyDisk(disk);
    await manager.ended(destroyDisk, 30_000, false);
    await killed();
    await manager.untilSubscribed();
    manager.acknowledge(destroyDisk);
    await eventually(async () => expect(await volumes()).toEqual([]));
    expect(before()).toBe(total);
  });

  it('waits for a node agent and a control service that start again behind it', async () => {
    const disk = await framework.made('silver', MIB);
    const volume = framework.volume(disk, 'pv-2');
    await finished(framework.create(volume));
    await cluster.killNow(1);
    expect(await manager.publish([volume])).toBe('OK');
    await writeFile(join(pathOf(disk), 'data'), 'kept');
    await cluster.killNow('control');
    await cluster.killNow(1);
    expect(await manager.publish([volume])).toBe('OK');
    expect(await readFile(join(pathOf(disk), 'data'), 'utf8')).toBe('kept');
    await cluster.killNow('control');
    const second = await framework.made('silver', MIB);
    await cluster.killNow(1);
    await finished(framework.destroy(volume));
    await finished(framework.destroyDisk(disk));
    await cluster.killNow('control');
    await finished(framework.destroyDisk(second));
    await cluster.connected();
    // Its stream never broke.
    expect(manager.subscriptions).toHaveLength(1);
  });

  it('comes back when the Mesos agent starts again, and tells what it had', async () => {
    const disk = await framework.made('gold', MIB);
    await manager.stop();
    await manager.listen();
    await manager.untilSubscribed();
    const id = disk.disk?.source?.id ?? '';
    expect(framework.disk(id)).toMatchObject({ scalar: { value: MIB } });
    await finished(framework.destroyDisk(disk));
    expect(manager.subscriptions.map((info) => info['id'] !== undefined)).toEqual([false, true]);
  });

  it('stops when it is removed for good, keeps its volumes, and does not come back by itself', async () => {
    const disk = await framework.made('gold', MIB);
    const providerId = manager.model.stream?.providerId ?? '';
    manager.send(manager.model.remove(providerId));
    expect(await provider.ended).toMatchObject({ status: 0 });
    provider = await attach();
    const ended = await provider.ended;
    expect(ended).toMatchObject({ status: 1, stderr: expect.stringContaining('--new-identity') as string });
    expect(await volumes()).toHaveLength(1);
    provider = await attach(1, manager, '--new-identity');
    await manager.untilSubscribed();
    expect(manager.model.stream?.providerId).not.toBe(providerId);
    const id = disk.disk?.source?.id ?? '';
    const existing = framework.disk(id);
    expect(existing).toMatchObject({ disk: { source: { type: 'RAW', id } } });
    const source = { ...existing, allocation_info: { role: 'storage' } };
    const [adopted] = (await manager.ended(framework.createDisk(source, 'gold'))).converted_resources ?? [];
    expect(adopted).toMatchObject({ scalar: { value: MIB }, disk: { source: { type: 'MOUNT', id, profile: 'gold' } } });
    await finished(framework.destroyDisk(adopted ?? {}));
  });

  it('shrinks on one node what another takes of the same storage, and refuses what comes too late', async () => {
    const other = await MesosProviderManager.start();
    const config = join(cluster.scratch.directory, 'provider.yml');
    await writeFile(config, 'profiles: [gold]\nlook-every: 1\nadjust-every: 1\n');
    const second = await attach(2, other, '--config', config);
    try {
      await other.untilSubscribed();
      const late = new Framework(other);
      const all = late.pool('gold').scalar?.value ?? 0;
      const most = Math.floor(framework.pool('gold').scalar?.value ?? 0);
      const { operation, resource } = late.reserve('gold', Math.floor(all * 0.8));
      await other.ended(operation);
      const disk = await framework.made('gold', most);
      const create = late.createDisk(resource);
      expect(await other.ended(create)).toMatchObject({
        state: 'OPERATION_FAILED',
        message: expect.stringContaining('no room') as string,
      });
      // What a framework reserved stays; what was left is not there any more.
      await other.until(() => (other.totals.length === 1 ? true : undefined), 'the pool to be told anew');
      await other.ended(late.unreserve(resource));
      await other.until(
        () => ((late.pool('gold').scalar?.value ?? 0) < all - most * 0.5 ? true : undefined),
        'the pool to shrink',
      );
      await finished(framework.destroyDisk(disk));
      await other.until(
        () => ((late.pool('gold').scalar?.value ?? 0) > all - most * 0.5 ? true : undefined),
        'the pool to grow',
      );
    } finally {
      second.kill('SIGTERM');
      expect(await second.ended).toMatchObject({ status: 0 });
      await other.close();
    }
  });

  it('refuses to run twice with one state', async () => {
    const second = await attach();
    expect(await second.ended).toMatchObject({ status: 1, stderr: expect.stringContaining('provider.sock') as string });
  });

  async function metrics(path: string): Promise<string> {
    const [, directory = ''] = await state(1, manager);
    return new Promise((resolve, reject) => {
      const sent = request({ socketPath: join(directory, 'provider.sock'), path }, (response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
        response.on('end', () => resolve(text));
      });
      sent.on('error', reject);
      sent.end();
    });
  }
});

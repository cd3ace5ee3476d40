import { execFile } from 'node:child_process';
import { mkdir, open, readFile, statfs, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseDocument } from 'yaml';
import type { DatasetInspection } from '../../src/api/inspection.ts';
import type { PoolView, StorageView } from '../../src/api/storage.ts';
import type { RestApi } from '../support/rest-api.ts';
import { eventually } from './support/eventually.ts';
import { Scratch } from './support/scratch.ts';
import { UpCluster } from './support/up.ts';

const run = promisify(execFile);
const MIB = 2 ** 20;
const LONG_MS = 30_000;
const skipped = process.getuid?.() === 0 ? '' : ' (skipped: mounts need root)';

describe.skipIf(skipped !== '')(`storage state of real pools${skipped}`, () => {
  let cluster: UpCluster;
  let api: RestApi;
  /** The pool of nodes 1 and 2, and that of node 3: filesystems of their own, so that nobody else changes their figures. */
  let shared: string;
  let other: string;
  const mounts: string[] = [];

  beforeAll(async () => {
    cluster = new UpCluster(await Scratch.make());
    shared = await filesystem(join(cluster.directory, 'volumes'), 512);
    other = await filesystem(join(cluster.scratch.directory, 'other'), 128);
    await cluster.up('--nodes', '3', '--backend', 'loopback');
    for (const number of [1, 2, 3]) {
      const more = number === 3 ? { backend: 'directory', root_path: join(other, 'pool'), media: 'ssd' } : {};
      await configure(number, more);
      await cluster.kill(number);
    }
    api = await cluster.api();
    await cluster.connected();
    await eventually(async () => {
      const sizes = (await pools()).map(({ nodes }) => nodes.length);
      expect([...sizes].sort((one, two) => one - two)).toEqual([1, 2]);
    }, LONG_MS);
  });

  afterAll(async () => {
    try {
      await cluster.stop();
    } finally {
      for (const mount of mounts) await run('umount', [mount]);
      await cluster.remove();
    }
  });

  /** An ext4 filesystem mounted at `path`. */
  async function filesystem(path: string, sizeMib: number): Promise<string> {
    const image = join(cluster.scratch.directory, `image-${mounts.length}`);
    const file = await open(image, 'wx');
    await file.truncate(sizeMib * MIB);
    await file.close();
    await mkdir(path, { recursive: true });
    await run('mkfs.ext4', ['-q', image]);
    await run('mount', ['-o', 'loop', image, path]);
    mounts.push(path);
    return path;
  }

  /** Changes the `dataset` section of an agent, and lets it look every second. */
  async function configure(number: number, dataset: Readonly<Record<string, string>>): Promise<void> {
    const path = join(cluster.directory, `node${number}`, 'agent.yml');
    const document = parseDocument(await readFile(path, 'utf8'));
    for (const [key, value] of Object.entries(dataset)) document.setIn(['dataset', key], value);
    document.setIn(['node', 'storage-report-seconds'], 1);
    await writeFile(path, document.toString());
  }

  const storage = async (): Promise<StorageView> => (await api.get('/v1/state/storage')).json as unknown as StorageView;
  const pools = async (): Promise<PoolView[]> => (await storage()).pools.filter(({ nodes }) => nodes.length > 0);
  const poolOf = async (number: number): Promise<PoolView> => {
    const { uuid } = await cluster.node(number);
    const pool = (await pools()).find(({ nodes }) => nodes.includes(uuid));
    if (pool === undefined) throw new Error(`node ${number} is in no pool`);
    return pool;
  };
  const inspect = async (name: string): Promise<DatasetInspection> => {
    const { json } = await api.get(`/v1/inspect/datasets?name=${name}`);
    const [inspection] = json as unknown as DatasetInspection[];
    if (inspection === undefined) throw new Error(`there is no volume ${name}`);
    return inspection;
  };
  const usageOf = async (name: string): Promise<{ used: number; available: number }> => {
    const { usage } = await inspect(name);
    if (typeof usage?.used !== 'number' || usage.available === null) throw new Error(`${name} was not measured`);
    return { used: usage.used, available: usage.available };
  };

  it('counts the pool of two nodes once, and the pool of the third beside it', async () => {
    const [one, two] = [await statfs(shared), await statfs(other)];
    const sizes = [one.blocks * one.bsize, two.blocks * two.bsize] as const;
    await eventually(async () => {
      expect((await poolOf(1)).pool).toBe((await poolOf(2)).pool);
      expect(await poolOf(1)).toMatchObject({ backend: 'loopback', figures: { total: sizes[0] } });
      expect(await poolOf(3)).toMatchObject({ backend: 'directory', figures: { total: sizes[1] } });
    }, LONG_MS);
    const { profiles, figures } = await poolOf(3);
    expect(profiles.map(({ name, media }) => [name, media])).toEqual([
      ['gold', 'ssd'],
      ['silver', 'ssd'],
      ['bronze', 'ssd'],
    ]);
    expect(profiles[0]).toMatchObject({ compression: 'none', dedup: 'none', replication: null, encryption: null });
    expect(figures).toMatchObject({ saved_by_compression: 0, saved_by_sharing: 0, logical: null });
  });

  it('shows what is written to a volume: in its usage, in the pool, in metrics', async () => {
    expect(await cluster.sh(1, 'filled:/mnt,size=64MiB,profile=gold', 'true')).toMatchObject({ status: 0 });
    const before = await eventually(() => usageOf('filled'), LONG_MS);
    const pool = await poolOf(1);
    expect(before.used + before.available).toBeLessThanOrEqual(64 * MIB);
    const write = 'head -c 20971520 /dev/urandom > /mnt/big && sync /mnt/big';
    expect(await cluster.sh(1, 'filled:/mnt', write)).toMatchObject({ status: 0 });
    await eventually(async () => {
      const usage = await usageOf('filled');
      expect(usage.used - before.used).toBeGreaterThanOrEqual(20 * MIB);
      expect(before.available - usage.available).toBeGreaterThanOrEqual(20 * MIB);
      const { figures } = await poolOf(1);
      expect((figures.used ?? 0) - (pool.figures.used ?? 0)).toBeGreaterThanOrEqual(20 * MIB);
      expect((pool.figures.available ?? 0) - (figures.available ?? 0)).toBeGreaterThanOrEqual(20 * MIB);
    }, LONG_MS);
    const { profiles, figures } = await poolOf(2);
    expect(profiles[0]).toMatchObject({ name: 'gold', datasets: 1, provisioned: 64 * MIB });
    expect(figures.provisioned).toBe(64 * MIB);
    const { configuration } = await inspect('filled');
    const { body } = await api.raw({ method: 'GET', path: '/metrics' });
    const line = new RegExp(`^flocker_volume_used_bytes{dataset_id="${configuration.dataset_id}".*} (\\d+)$`, 'm');
    expect(Number(line.exec(body.toString())?.[1])).toBeGreaterThanOrEqual(20 * MIB);
  });

  it('knows the sum', async () => {
    const { total } = await storage();
    const [one, two] = [await statfs(shared), await statfs(other)];
    // Nodes that had another configuration before are remembered with what they have now.
    expect(total.total).toBe(one.blocks * one.bsize + two.blocks * two.bsize);
    expect(total.provisioned).toBe(64 * MIB);
    expect(total.logical).toBeNull();
  });

  it('measures a volume where it is after a move', async () => {
    const before = await usageOf('filled');
    expect(await cluster.sh(2, 'filled:/mnt', 'rm /mnt/big && sync -f /mnt')).toMatchObject({ status: 0 });
    await eventually(async () => {
      const { holder } = await inspect('filled');
      expect(holder).toBe((await cluster.node(2)).uuid);
      expect(before.used - (await usageOf('filled')).used).toBeGreaterThanOrEqual(20 * MIB);
    }, LONG_MS);
  });
});

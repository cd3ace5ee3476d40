import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { setQuota } from '../src/agent/backends/ceph/ceph-directory.ts';
import { openBackend } from '../src/agent/backends/open-backend.ts';
import { teardownNode } from '../src/agent/backends/teardown.ts';
import { loadKernel } from '../src/agent/host/kernel.ts';
import { syncDirectory } from '../src/kit/atomic-file.ts';
import { newDatasetId, parseSnapshotId, type SnapshotId } from '../src/kit/ids.ts';
import { CephCluster } from '../test/support/ceph-cluster.ts';
import { compared, figuresTable, median, rounded, timed } from './figures.ts';
import { benchOptions } from './options.ts';

const run = promisify(execFile);
const SIZE_BYTES = 2 ** 30;
const CONTENT = Buffer.alloc(10 * 2 ** 20, 1);
const TIMEOUT_MS = 300_000;

/** How long the steps of the ceph backend take, against the bare steps in the same CephFS. Needs root and Ceph's packages. */
export async function ceph(args: readonly string[]): Promise<void> {
  const { json, rounds } = benchOptions(args);
  const directory = await mkdtemp(join(tmpdir(), 'flocker-bench-'));
  const mountRoot = join(directory, 'mounts');
  const signal = AbortSignal.timeout(TIMEOUT_MS);
  const cluster = await CephCluster.start();
  try {
    const place = cluster.place(directory);
    const backend = await openBackend(place.section, { mountRoot, instance: 'a' });
    const bare = new BareSteps(cluster, directory);
    try {
      await backend.recover();
      const times: Record<
        'create' | 'createBare' | 'attach' | 'attachBare' | 'snapshot' | 'snapshotBare' | 'release' | 'destroy',
        number[]
      > = {
        ...{ create: [], createBare: [], attach: [], attachBare: [], snapshot: [], snapshotBare: [] },
        ...{ release: [], destroy: [] },
      };
      for (let round = 0; round < rounds; round += 1) {
        times.createBare.push(await timed(() => bare.create()));
        await bare.unmount();
        times.attachBare.push(await timed(() => bare.mount()));
        await writeFile(join(bare.mountPoint, 'file'), CONTENT, { flush: true });
        times.snapshotBare.push(await timed(() => bare.copyFrozen()));
        await bare.remove();

        const datasetId = newDatasetId(randomUUID);
        const attach = async (): Promise<void> => {
          await backend.attach(datasetId, signal);
          await backend.mount(datasetId, signal);
        };
        const release = async (): Promise<void> => {
          await backend.unmount(datasetId, signal);
          await backend.detach(datasetId, signal);
        };
        times.create.push(
          await timed(async () => {
            await backend.create({ datasetId, sizeBytes: SIZE_BYTES, metadata: {} }, signal);
            await attach();
          }),
        );
        times.release.push(await timed(release));
        times.attach.push(await timed(attach));
        await writeFile(join(mountRoot, datasetId, 'file'), CONTENT, { flush: true });
        const snapshotId = parseSnapshotId(randomUUID()) as SnapshotId;
        times.snapshot.push(
          await timed(async () => {
            await backend.snapshots?.take(snapshotId, datasetId, signal);
          }),
        );
        await backend.snapshots?.destroy(snapshotId, signal);
        await release();
        times.destroy.push(await timed(() => backend.destroy(datasetId, signal)));
      }
      const figures = {
        create: compared(times.create, times.createBare),
        attach: compared(times.attach, times.attachBare),
        snapshot: compared(times.snapshot, times.snapshotBare),
        release: { ours_ms: rounded(median(times.release)) },
        destroy: { ours_ms: rounded(median(times.destroy)) },
      };
      process.stdout.write(
        json
          ? `${JSON.stringify(figures)}\n`
          : figuresTable(`Medians of ${rounds} rounds, volumes of 1 GiB, snapshots of 10 MiB, two copies`, figures),
      );
    } finally {
      await teardownNode({ backend, mountRoot, signal });
    }
  } finally {
    await cluster.stop();
    await rm(directory, { recursive: true, force: true });
  }
}

/** What anybody would have to do at least, through a mount of the filesystem that is there. */
class BareSteps {
  readonly mountPoint: string;
  readonly #cluster: CephCluster;
  readonly #name = randomUUID();

  constructor(cluster: CephCluster, directory: string) {
    this.#cluster = cluster;
    this.mountPoint = join(directory, 'bare');
  }

  async create(): Promise<void> {
    await mkdir(this.#path);
    await chmod(this.#path, 0o777);
    await setQuota(loadKernel(), this.#path, SIZE_BYTES);
    await mkdir(this.mountPoint, { recursive: true });
    await this.mount();
  }

  async mount(): Promise<void> {
    const { confPath } = this.#cluster;
    const where = `--client_mountpoint=/${this.#name}`;
    await run('ceph-fuse', ['-c', confPath, '-n', 'client.admin', where, this.mountPoint]);
  }

  async unmount(): Promise<void> {
    await run('umount', [this.mountPoint]);
  }

  async copyFrozen(): Promise<void> {
    const frozen = join(this.#path, '.snap/bare');
    await mkdir(frozen);
    await run('cp', ['-a', '-T', frozen, `${this.#path}-copy`]);
    await run('sync', ['-f', `${this.#path}-copy`]);
    await syncDirectory(`${this.#path}-copy`);
    await run('rmdir', [frozen]);
  }

  async remove(): Promise<void> {
    await this.unmount();
    for (const path of [this.#path, `${this.#path}-copy`]) await rm(path, { recursive: true });
  }

  get #path(): string {
    return join(this.#cluster.directory, 'root', this.#name);
  }
}

import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openBackend } from '../src/agent/backends/open-backend.ts';
import { teardownNode } from '../src/agent/backends/teardown.ts';
import { newDatasetId } from '../src/kit/ids.ts';
import { copyFigures } from './btrfs-copies.ts';
import { btrfsShellSteps } from './btrfs-shell-steps.ts';
import { compared, figuresTable, median, rounded, timed } from './figures.ts';
import { benchOptions } from './options.ts';

const SIZE_BYTES = 2 ** 30;
const TIMEOUT_MS = 120_000;
/** Each takes seconds. */
const MOST_COPIES = 5;

/** How long the steps of the btrfs backend take, against the bare commands in the same pool. Needs root and btrfs-progs. */
export async function btrfs(args: readonly string[]): Promise<void> {
  const { json, rounds } = benchOptions(args);
  const directory = await mkdtemp(join(tmpdir(), 'flocker-bench-'));
  const mountRoot = join(directory, 'mounts');
  const poolMount = join(directory, 'disk');
  const signal = AbortSignal.timeout(TIMEOUT_MS);
  const backend = await openBackend(
    { backend: 'btrfs', pool_file: join(directory, 'pool.img'), pool_size: '20GiB', pool_mount: poolMount },
    { mountRoot, instance: 'bench' },
  );
  try {
    await backend.recover();
    const times: Record<'create' | 'createShell' | 'attach' | 'attachShell' | 'release' | 'destroy', number[]> = {
      ...{ create: [], createShell: [], attach: [], attachShell: [], release: [], destroy: [] },
    };
    for (let round = 0; round < rounds; round += 1) {
      const shell = await btrfsShellSteps(poolMount);
      times.createShell.push(shell.createMs);
      times.attachShell.push(shell.attachMs);
      const datasetId = newDatasetId(randomUUID);
      const metadata = { 'clusterhq:flocker:profile': 'bronze' };
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
          await backend.create({ datasetId, sizeBytes: SIZE_BYTES, metadata }, signal);
          await attach();
        }),
      );
      times.release.push(await timed(release));
      times.attach.push(await timed(attach));
      await release();
      times.destroy.push(await timed(() => backend.destroy(datasetId, signal)));
    }
    const figures = {
      create: compared(times.create, times.createShell),
      attach: compared(times.attach, times.attachShell),
      release: { ours_ms: rounded(median(times.release)) },
      destroy: { ours_ms: rounded(median(times.destroy)) },
      copy: await copyFigures(directory, Math.min(rounds, MOST_COPIES)),
    };
    process.stdout.write(
      json
        ? `${JSON.stringify(figures)}\n`
        : figuresTable(`Medians of ${rounds} rounds, 1 GiB subvolumes with full quotas and zstd`, figures),
    );
  } finally {
    await teardownNode({ backend, mountRoot, signal });
    await rm(directory, { recursive: true, force: true });
  }
}

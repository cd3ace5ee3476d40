import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Backend } from '../src/agent/backends/backend.ts';
import { openBackend } from '../src/agent/backends/open-backend.ts';
import { teardownNode } from '../src/agent/backends/teardown.ts';
import { giveCopies } from '../src/agent/copies/give-copies.ts';
import { openCopy } from '../src/agent/copies/open-copy.ts';
import { newDatasetId } from '../src/kit/ids.ts';
import { silentLogger } from '../src/kit/logger.ts';
import { clusterCertificates } from '../test/support/cluster-certificates.ts';
import { median, rounded, timed } from './figures.ts';

const run = promisify(execFile);
const MIB = 2 ** 20;
const DATA_MIB = 512;
const TIMEOUT_MS = 300_000;

/** What a pipe between the two pools takes: the same bytes, snapshot included, on disk at the end. */
const PIPE = `
set -e
btrfs subvolume snapshot -r "$1" "$2" >/dev/null
btrfs send -q "$2" | btrfs receive "$3" >/dev/null
sync -f "$3"
btrfs subvolume delete "$3/$(basename "$2")" "$2" >/dev/null
`;

/**
 * How fast a volume is copied from one pool into another over TLS, until it is a volume there and on disk, against
 * `btrfs send | btrfs receive`.
 */
export async function copyFigures(directory: string, rounds: number): Promise<Readonly<Record<string, number>>> {
  const signal = AbortSignal.timeout(TIMEOUT_MS);
  const certificates = await clusterCertificates('bench');
  const [giver, taker] = [await certificates.node(), await certificates.node()];
  const pool = (name: string): Promise<Backend> =>
    openBackend(
      {
        backend: 'btrfs',
        pool_file: join(directory, `${name}.img`),
        pool_size: '8GiB',
        pool_mount: join(directory, name),
      },
      { mountRoot: join(directory, `mounts-${name}`), instance: name },
    );
  const [from, to] = [await pool('from'), await pool('to')];
  try {
    await Promise.all([from.recover(), to.recover()]);
    const datasetId = newDatasetId(randomUUID);
    await from.create({ datasetId, sizeBytes: 2 * DATA_MIB * MIB, metadata: {} }, signal);
    await from.attach(datasetId, signal);
    await from.mount(datasetId, signal);
    await run('sh', [
      ...['-c', `head -c ${DATA_MIB}M /dev/urandom > "$1/bytes"; sync -f "$1"`],
      ...['sh', join(directory, 'mounts-from', datasetId)],
    ]);
    await from.unmount(datasetId, signal);
    await from.detach(datasetId, signal);
    const listener = await giveCopies({
      ...{ tls: giver, host: '127.0.0.1', port: 0, logger: silentLogger },
      give: async () => await from.copies?.give(datasetId, signal),
    });
    await mkdir(join(directory, 'to', 'pipe'));
    const [ours, pipe]: [number[], number[]] = [[], []];
    for (let round = 0; round < rounds; round += 1) {
      const paths = [
        join(directory, 'from', 'pool', 'unattached', datasetId, 'data'),
        join(directory, 'from', `sent-${round}`),
        join(directory, 'to', 'pipe'),
      ];
      pipe.push(await timed(() => run('bash', ['-c', PIPE, 'bash', ...paths])));
      ours.push(
        await timed(async () => {
          const copy = randomUUID();
          const source = { node: giver.nodeId, host: '127.0.0.1', port: listener.port };
          const wanted = {
            datasetId,
            copy,
            from: source,
            tls: taker,
            bases: undefined,
            onBytes: () => undefined,
            signal,
          };
          const { record, bytes } = await openCopy(wanted);
          await to.copies?.fetch(datasetId, copy, record, bytes, signal);
        }),
      );
      await to.destroy(datasetId, signal);
    }
    await listener.close();
    const perSecond = (ms: number): number => rounded(DATA_MIB / (ms / 1000));
    return {
      ours_mib_per_s: perSecond(median(ours)),
      pipe_mib_per_s: perSecond(median(pipe)),
      ratio: rounded(median(ours) / median(pipe)),
    };
  } finally {
    await teardownNode({ backend: from, mountRoot: join(directory, 'mounts-from'), signal });
    await teardownNode({ backend: to, mountRoot: join(directory, 'mounts-to'), signal });
    await certificates.dispose();
  }
}

import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { flockerCommand } from '../src/bin/flocker-command.ts';
import { freePorts } from '../src/cli/up/settings.ts';
import { toStoreChange } from '../src/control/changes.ts';
import { openLevelStore } from '../src/control/store/level/open-level-store.ts';
import { systemClock } from '../src/kit/clock.ts';
import { type NodeId, newDatasetId } from '../src/kit/ids.ts';
import { silentLogger } from '../src/kit/logger.ts';
import { initializeAuthority } from '../src/tls/authority.ts';
import type { CertificateSources } from '../src/tls/certificate.ts';
import type { Credentials } from '../src/tls/credentials.ts';
import { createControlCertificate, createNodeCertificate, createUserCertificate } from '../src/tls/leaf.ts';
import type { PairPaths } from '../src/tls/pem-pair.ts';

const BATCH = 5_000;
const START_TIMEOUT_MS = 120_000;

/** A node with a certificate and the datasets that the store says it holds. */
export interface ScaleNode {
  readonly id: NodeId;
  readonly tls: Credentials;
  readonly datasets: readonly string[];
}

/** Certificates, a full store and two ports of one cluster, in a directory of its own. */
export interface ScaleWorld {
  readonly nodes: readonly ScaleNode[];
  readonly user: Credentials;
  readonly restPort: number;
  readonly agentPort: number;
  /** Starts a control service as it is shipped; resolves when it is ready with how long that took, milliseconds. */
  startControl(): Promise<{ readonly process: ChildProcess; readonly startMs: number }>;
  dispose(): Promise<void>;
}

/** Makes a cluster of `agents` nodes that hold `datasets` datasets, shared out evenly. */
export async function scaleWorld(agents: number, datasets: number): Promise<ScaleWorld> {
  const directory = await mkdtemp(join(tmpdir(), 'flocker-scale-'));
  const sources: CertificateSources = { clock: systemClock, newUuid: randomUUID, randomBytes };
  const { certificatePath } = await initializeAuthority({ directory, name: 'scale', keyType: 'ec' }, sources);
  const ca = await readFile(certificatePath, 'utf8');
  const leaf = { authorityDirectory: directory, outputDirectory: directory, keyType: 'ec' } as const;
  const credentials = async ({ certificatePath: cert, keyPath: key }: PairPaths): Promise<Credentials> => ({
    ca,
    cert: await readFile(cert, 'utf8'),
    key: await readFile(key, 'utf8'),
  });
  await createControlCertificate({ ...leaf, baseName: 'control-service', hostname: '127.0.0.1' }, sources);
  const user = await credentials(await createUserCertificate({ ...leaf, name: 'bench' }, sources));
  const nodes: (ScaleNode & { datasets: string[] })[] = [];
  for (let number = 0; number < agents; number += 1) {
    const { nodeId, ...paths } = await createNodeCertificate(leaf, sources);
    nodes.push({ id: nodeId, tls: await credentials(paths), datasets: [] });
  }
  const data = join(directory, 'data');
  await fillStore(data, nodes, datasets);
  const [restPort = 0, agentPort = 0] = await freePorts(2);
  return {
    nodes,
    user,
    restPort,
    agentPort,
    startControl: async () => {
      const startedMs = performance.now();
      const [program, ...args] = flockerCommand;
      args.push('control', '--data-path', data, '--certificates-directory', directory, '--log-level', 'error');
      args.push(
        '--port',
        `tcp:${restPort}:interface=127.0.0.1`,
        '--agent-port',
        `tcp:${agentPort}:interface=127.0.0.1`,
      );
      const process = spawn(program, args, { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
      await once(process, 'message', { signal: AbortSignal.timeout(START_TIMEOUT_MS) });
      return { process, startMs: performance.now() - startedMs };
    },
    dispose: () => rm(directory, { recursive: true, force: true }),
  };
}

async function fillStore(
  data: string,
  nodes: readonly (ScaleNode & { datasets: string[] })[],
  datasets: number,
): Promise<void> {
  await mkdir(data, { recursive: true, mode: 0o700 });
  const store = await openLevelStore({ directory: join(data, 'store'), newUuid: randomUUID, logger: silentLogger });
  for (let from = 0; from < datasets; from += BATCH) {
    const count = Math.min(BATCH, datasets - from);
    const changes = Array.from({ length: count }, (_, index) => {
      const number = from + index;
      const node = nodes[number % nodes.length];
      if (node === undefined) throw new Error('there are no nodes');
      const id = newDatasetId(randomUUID);
      node.datasets.push(id);
      const storage = { kind: 'held', node: node.id, made: true, pool: 'shared', sizeBytes: 2 ** 30 } as const;
      const wishes = { deleted: false, metadata: { name: nameOf(number) }, maximumSizeBytes: 2 ** 30, source: null };
      return toStoreChange({ kind: 'dataset', dataset: { id, primary: node.id, ...wishes, storage } });
    });
    await store.commit(changes);
  }
  await store.close();
}

/** Name of the dataset with this number. */
export function nameOf(number: number): string {
  return `scale-${number}`;
}

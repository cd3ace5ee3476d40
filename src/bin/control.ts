import { access, mkdir, readFile } from 'node:fs/promises';
import { hostname as machineName } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { serveAgents } from '../control/agent-server.ts';
import { ControlService } from '../control/control-service.ts';
import { MasterWatch } from '../control/mesos/master-watch.ts';
import { connectMesosMaster } from '../control/mesos/mesos-master.ts';
import { serveRest } from '../control/rest/rest-server.ts';
import { openLevelStore } from '../control/store/level/open-level-store.ts';
import type { Store } from '../control/store/store.ts';
import { CodedError } from '../kit/coded-error.ts';
import type { Logger } from '../kit/logger.ts';
import { loadCredentials } from '../tls/credentials.ts';
import { installedPaths } from '../tls/file-names.ts';
import type { Daemon, DaemonWorld } from './daemon.ts';
import type { Endpoint } from './endpoint.ts';
import { type EtcdOptions, readEtcdOptions } from './etcd-options.ts';
import { type MesosOptions, readMesosOptions } from './mesos-options.ts';

/** Options of `flocker control`, with the original's meanings (contract 6.3). */
export interface ControlOptions {
  readonly dataPath: string;
  readonly certificatesDirectory: string;
  readonly rest: Endpoint;
  readonly agents: Endpoint;
  /** Start although the store misses acknowledged commits. */
  readonly acceptLoss: boolean;
  /** Nodes that were silent for so long are declared dead where their storage cuts them off, milliseconds; never when undefined. */
  readonly fenceAfterMs: number | undefined;
  /** Undefined: no Mesos master is listened to. */
  readonly mesos: MesosOptions | undefined;
  /** Undefined: in a directory of the data path. */
  readonly etcd: EtcdOptions | undefined;
}

/** Name of the file in which the original keeps its configuration (contract 4). */
const ORIGINAL_CONFIGURATION = 'current_configuration.json';

/** Builds and starts a control service. */
export async function startControl(options: ControlOptions, world: DaemonWorld): Promise<Daemon> {
  const { clock, random, logger, newUuid, fatal } = world;
  const mesos = options.mesos === undefined ? undefined : await readMesosOptions(options.mesos);
  const tls = await loadCredentials(installedPaths(options.certificatesDirectory, 'control-service'), clock);
  const store =
    options.etcd === undefined ? await openLocal(options, world) : await openShared(options, options.etcd, world);
  const service = new ControlService({
    ...{ store, entries: store.entries(), clock, newUuid, logger, onFatal: fatal },
    ...(options.fenceAfterMs === undefined ? {} : { fenceAfterMs: options.fenceAfterMs }),
    ...(options.mesos === undefined ? {} : { mesosFence: options.mesos.fence }),
  });
  const shared = { service, tls, clock, logger, mostConnections: await connectionsEach() };
  const agents = await serveAgents({ ...shared, ...options.agents });
  const rest = await serveRest({ ...shared, ...options.rest, ...(await builtDashboard(logger)) });
  logger.info({ cluster: store.clusterId, restPort: rest.port, agentPort: agents.port }, 'control service listens');
  const watch =
    mesos === undefined || service.mesos === undefined
      ? undefined
      : new MasterWatch({
          master: connectMesosMaster({ ...mesos, clock }),
          listener: service.mesos,
          clock,
          random,
          logger,
        });
  return {
    close: async () => {
      await watch?.close();
      await Promise.all([rest.close(), agents.close()]);
      await service.close();
    },
  };
}

async function openLocal(
  { dataPath, acceptLoss }: ControlOptions,
  { clock, logger, newUuid }: DaemonWorld,
): Promise<Store> {
  await mkdir(dataPath, { recursive: true, mode: 0o700 });
  await refuseOriginal(dataPath);
  const directory = join(dataPath, 'store');
  return await openLevelStore({ directory, newUuid, logger, acceptLoss, wallMs: clock.wallMs() });
}

/** Stands by until this control service leads; once it no longer does, the process ends, to be started again and stand by. */
async function openShared({ rest }: ControlOptions, etcd: EtcdOptions, world: DaemonWorld): Promise<Store> {
  const { clock, logger, newUuid, fatal } = world;
  const { openEtcdStore } = await import('../control/store/etcd/open-etcd-store.ts');
  return await openEtcdStore({
    ...(await readEtcdOptions(etcd)),
    ...{ name: JSON.stringify({ host: machineName(), port: rest.port, pid: process.pid }), clock, newUuid, logger },
    ...{ onLost: fatal, signal: new AbortController().signal },
  });
}

/** Descriptors that are kept from connections, for the store and the logs. */
const KEPT_DESCRIPTORS = 256;

/** How many connections each of the two listeners may have, of the descriptors that this process may open (proc(5)). */
async function connectionsEach(): Promise<number> {
  const limits = await readFile('/proc/self/limits', 'utf8');
  const most = Number(/^Max open files +(\d+) /m.exec(limits)?.[1] ?? 1024);
  return Math.max(64, Math.floor((most - KEPT_DESCRIPTORS) / 2));
}

/** It is built beside the programs; a build without it is complete but for that. */
async function builtDashboard(logger: Logger): Promise<{ dashboardDirectory?: string }> {
  const dashboardDirectory = fileURLToPath(new URL('../../web/', import.meta.url));
  try {
    await access(join(dashboardDirectory, 'index.html'));
    return { dashboardDirectory };
  } catch {
    logger.warn({ path: dashboardDirectory }, 'the dashboard was not built: there is none');
    return {};
  }
}

async function refuseOriginal(dataPath: string): Promise<void> {
  const path = join(dataPath, ORIGINAL_CONFIGURATION);
  const found = await access(path).then(
    () => true,
    () => false,
  );
  if (!found) return;
  throw new CodedError(
    'original_configuration',
    `${path} is the configuration of ClusterHQ's Flocker, which this control service does not read: to start beside it ` +
      'would look like an empty cluster. Give another --data-path, or move that file away.',
  );
}

import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { serveAgents } from '../../src/control/agent-server.ts';
import { ControlService } from '../../src/control/control-service.ts';
import { type Listener, serveRest } from '../../src/control/rest/rest-server.ts';
import { openLevelStore } from '../../src/control/store/level/open-level-store.ts';
import { memoryStore } from '../../src/control/store/memory-store.ts';
import type { Store } from '../../src/control/store/store.ts';
import { type Clock, systemClock } from '../../src/kit/clock.ts';
import { silentLogger } from '../../src/kit/logger.ts';
import type { Credentials } from '../../src/tls/credentials.ts';
import { type ClusterCertificates, clusterCertificates } from './cluster-certificates.ts';
import { type RestApi, restApi } from './rest-api.ts';

/** A control service in this process, with real listeners on 127.0.0.1. */
export interface TestControl {
  readonly certificates: ClusterCertificates;
  /** The REST API as the user `tester`. */
  readonly api: RestApi;
  readonly service: ControlService;
  readonly restPort: number;
  readonly agentPort: number;
  /** Ends the service and its connections and starts another on what the store holds. */
  restart(): Promise<void>;
  close(): Promise<void>;
}

export interface TestControlOptions {
  readonly clock?: Clock;
  /** `level` keeps the store on disk, so that a restart reads what was written. */
  readonly store?: 'memory' | 'level';
  readonly dashboardDirectory?: string;
  /** Of each listener. */
  readonly mostConnections?: number;
}

interface Running {
  readonly store: Store;
  readonly service: ControlService;
  readonly rest: Listener;
  readonly agents: Listener;
}

/** Starts a control service for a new cluster. */
export async function startTestControl({
  clock = systemClock,
  store = 'memory',
  dashboardDirectory,
  mostConnections,
}: TestControlOptions = {}): Promise<TestControl> {
  const certificates = await clusterCertificates('test');
  const tls = await certificates.control();
  const user = await certificates.user('tester');
  const directory = await mkdtemp(join(tmpdir(), 'flocker-control-'));
  const failures: unknown[] = [];
  let memory = memoryStore(randomUUID());
  const openStore = (): Promise<Store> =>
    store === 'memory'
      ? Promise.resolve(memory)
      : openLevelStore({ directory, newUuid: randomUUID, logger: silentLogger });
  const more = {
    ...(dashboardDirectory === undefined ? {} : { dashboardDirectory }),
    ...(mostConnections === undefined ? {} : { mostConnections }),
  };
  let running = await run(await openStore(), { tls, clock, ...more }, failures);
  const stop = async (): Promise<void> => {
    await Promise.all([running.rest.close(), running.agents.close()]);
    await running.service.close();
  };
  return {
    certificates,
    api: restApi(() => ({ port: running.rest.port, tls: user })),
    get service() {
      return running.service;
    },
    get restPort() {
      return running.rest.port;
    },
    get agentPort() {
      return running.agents.port;
    },
    restart: async () => {
      await stop();
      memory = memory.reopened();
      running = await run(await openStore(), { tls, clock, ...more }, failures);
    },
    close: async () => {
      await stop();
      await certificates.dispose();
      await rm(directory, { recursive: true, force: true });
      if (failures.length > 0) throw new AggregateError(failures, 'the store failed under the control service');
    },
  };
}

interface RunOptions {
  readonly tls: Credentials;
  readonly clock: Clock;
  readonly dashboardDirectory?: string;
  readonly mostConnections?: number;
}

async function run(store: Store, options: RunOptions, failures: unknown[]): Promise<Running> {
  const { clock } = options;
  const service = new ControlService({
    store,
    entries: store.entries(),
    clock,
    newUuid: randomUUID,
    logger: silentLogger,
    onFatal: (error) => failures.push(error),
  });
  const shared = { service, ...options, logger: silentLogger, host: '127.0.0.1', port: 0 };
  const [rest, agents] = await Promise.all([serveRest(shared), serveAgents(shared)]);
  return { store, service, rest, agents };
}

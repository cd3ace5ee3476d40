import { readFile } from 'node:fs/promises';
import { hostname as machineName } from 'node:os';
import { dirname } from 'node:path';
import { type AgentConfig, parseAgentConfig } from '../agent/agent-config.ts';
import { openBackend } from '../agent/backends/open-backend.ts';
import { growsMounted } from '../agent/capabilities.ts';
import { dialControl } from '../agent/control-channel.ts';
import { ControlLink } from '../agent/control-link.ts';
import { Convergence } from '../agent/convergence.ts';
import { CopyConvergence } from '../agent/copies/copy-convergence.ts';
import { type CopyListener, giveCopies } from '../agent/copies/give-copies.ts';
import { openCopy } from '../agent/copies/open-copy.ts';
import { readBootId, readEra } from '../agent/era.ts';
import { BindTargets } from '../agent/host/bind-targets.ts';
import { BlockTargets } from '../agent/host/block-targets.ts';
import { DiskPlaces } from '../agent/host/disk-places.ts';
import { loadKernel } from '../agent/host/kernel.ts';
import { ReadOnlyViews } from '../agent/host/read-only-views.ts';
import { relinquish } from '../agent/relinquish.ts';
import { SnapshotConvergence } from '../agent/snapshot-convergence.ts';
import { StorageWatch } from '../agent/storage-watch.ts';
import { connectFlocker } from '../client/connect-flocker.ts';
import { serveCsi } from '../frontends/csi/serve-csi.ts';
import { serveDocker } from '../frontends/docker/serve-docker.ts';
import { dvdcliCalls } from '../frontends/dvdcli/dvdcli-calls.ts';
import { serveIsolator } from '../frontends/isolator/serve-isolator.ts';
import { ProcessTable } from '../frontends/local/process-table.ts';
import { serveLocal } from '../frontends/local/serve-local.ts';
import { resourceProviderCalls } from '../frontends/resource-provider/node-calls.ts';
import { CodedError } from '../kit/coded-error.ts';
import { httpsUrls } from '../kit/host-names.ts';
import { type NodeId, parseDatasetId } from '../kit/ids.ts';
import { certificateIdentity, loadCredentials } from '../tls/credentials.ts';
import { installedPaths } from '../tls/file-names.ts';
import { openLedger } from '../volumes/ledger.ts';
import { openVolumes, type Volumes } from '../volumes/volumes.ts';
import type { Daemon, DaemonWorld } from './daemon.ts';
import { version } from './version.ts';

/** Running steps get this long to end when the agent stops; what does not is found again at the next start. */
const STEPS_TIMEOUT_MS = 8_000;

/** Builds and starts a node agent from its `agent.yml`; certificates lie beside it. */
export async function startAgent(configPath: string, world: DaemonWorld): Promise<Daemon> {
  const { clock, random, newUuid, logger } = world;
  const config = parseAgentConfig(await readFile(configPath, 'utf8'), configPath);
  const certificates = dirname(configPath);
  const nodeTls = await loadCredentials(installedPaths(certificates, 'node'), clock);
  const userTls = await loadCredentials(installedPaths(certificates, 'plugin'), clock);
  const nodeId = nodeIn(nodeTls.cert, configPath);

  const { hostnames, restPort } = config.control;
  const client = connectFlocker({
    urls: httpsUrls(hostnames, restPort),
    tls: userTls,
    clock,
    random,
    logger,
  });
  const ledger = await openLedger(config.statePath);
  const storage = await startStorage(config, nodeId, nodeTls, (id) => volumes.heldHere(id)?.[0]?.detail, world);
  const volumes: Volumes = openVolumes({
    ...{ client, nodeId: () => nodeId, ledger, clock, random, newUuid, logger },
    ...(storage === undefined
      ? {}
      : { confirmMounted: async (id) => (await storage.convergence.settled(id))?.kind === 'mounted' }),
  });
  storage?.link.start();
  const bootId = await readBootId();
  const profiles = storage === undefined ? {} : { knownProfiles: () => storage.profiles };
  const isolator = await serveIsolator({
    ...{ volumes, socketPath: config.isolatorSocketPath, settings: config.isolator, clock, logger },
    node: { id: nodeId, hostname: machineName() },
    ...(storage === undefined ? {} : { knownProfiles: () => storage.profiles }),
  });
  const docker = await serveDocker({ volumes, ...config.docker, bootId, clock, logger, ...profiles });
  const kernel = process.getuid?.() === 0 ? loadKernel() : undefined;
  const csi = await serveCsi({
    ...{ client, volumes, nodeId, bootId, version, clock, newUuid, logger },
    socketPath: config.csiSocketPath,
    pool: storage?.pool,
    mounts: kernel === undefined ? undefined : new BindTargets(kernel),
    blocks: kernel === undefined ? undefined : new BlockTargets(kernel, clock),
    growsOnline: await growsMounted(),
  });
  // Last: whoever gets an answer here finds the other sockets too.
  const local = await serveLocal({
    ...{ volumes, socketPath: config.socketPath, processes: new ProcessTable(), clock, logger, ...profiles },
    calls: [
      ...dvdcliCalls({
        ...{ volumes, bootId, allowOverwrite: config.allowOverwrite, clock, logger, ...profiles },
        ...(kernel === undefined ? {} : { readOnly: new ReadOnlyViews(kernel, config.readOnlyPath) }),
      }),
      ...resourceProviderCalls({
        ...{ volumes, nodeId, bootId, clock, logger },
        places: kernel === undefined ? undefined : new DiskPlaces(kernel, config.diskPlacesPath),
      }),
    ],
  });
  logger.info({ node: nodeId, socket: config.socketPath, mountRoot: config.mountRoot }, 'node agent works');
  await storage?.link.firstOrders();
  return {
    close: async () => {
      await local.close();
      await isolator.close();
      await docker.close();
      await csi.close();
      storage?.link.close();
      await storage?.copyListener?.close();
      const steps = Promise.all([storage?.convergence.idle(), storage?.snapshots.idle(), storage?.copies?.halt()]);
      await Promise.race([
        steps,
        new Promise<void>((resolve) => {
          clock.timer(STEPS_TIMEOUT_MS, resolve);
        }),
      ]);
      await volumes.close();
      await client.close();
    },
  };
}

interface Storage {
  readonly convergence: Convergence;
  readonly snapshots: SnapshotConvergence;
  readonly copies: CopyConvergence | undefined;
  readonly copyListener: CopyListener | undefined;
  readonly link: ControlLink;
  readonly profiles: readonly string[];
  readonly pool: string;
}

async function startStorage(
  config: AgentConfig,
  nodeId: NodeId,
  tls: { readonly ca: string; readonly cert: string; readonly key: string },
  usedBy: (id: Parameters<Convergence['settled']>[0]) => string | undefined,
  { clock, random, newUuid, logger }: DaemonWorld,
): Promise<Storage | undefined> {
  if (config.dataset === undefined) {
    logger.info({}, 'agent.yml has no dataset section: volumes of this node are attached by another agent');
    return undefined;
  }
  const backend = await openBackend(config.dataset, {
    ...{ mountRoot: config.mountRoot, instance: nodeId, clock, newUuid, log: logger },
  });
  const convergence: Convergence = new Convergence({
    ...{ backend, usedBy, clock, random, logger },
    report: (report) => {
      link.report(report);
      snapshots.noteReport(report);
      const id = parseDatasetId(report.datasetId);
      if (id !== undefined && !report.busy) watch.changed(id);
    },
  });
  const watch: StorageWatch = new StorageWatch({
    ...{ backend, mounted: () => convergence.mounted(), paceMs: config.storagePaceMs, clock, logger },
    send: (report) => link.tellStorage(report),
  });
  const snapshots = new SnapshotConvergence({
    ...{ backend, clock, random, logger, between: (id, work) => convergence.between(id, work) },
    report: (report) => link.reportSnapshot(report),
  });
  const copies =
    backend.copies === undefined
      ? undefined
      : new CopyConvergence({
          ...{ backend, clock, random, logger, between: (id, work) => convergence.between(id, work) },
          open: (wanted) => openCopy({ ...wanted, tls }),
          report: (report) => link.reportCopy(report),
        });
  await convergence.start();
  const copyListener =
    copies === undefined
      ? undefined
      : await giveCopies({
          ...{ tls, host: config.address, port: config.copyPort, logger },
          give: (id, copy, to, bases) => copies.give(id, copy, to, bases),
        });
  const era = await readEra(nodeId, config.sharedMachine);
  const { kind, pool, profiles } = backend;
  const link: ControlLink = new ControlLink({
    dials: config.control.hostnames.map((hostname) =>
      dialControl({ hostname, port: config.control.agentPort, address: config.address, tls, logger }),
    ),
    identity: { era, version, backend: kind, pool, profiles, fences: backend.fence !== undefined },
    ...{ convergence, snapshots, storage: watch, clock, random, logger },
    ...(copies === undefined || copyListener === undefined
      ? {}
      : { copies: { convergence: copies, port: copyListener.port } }),
    relinquish: () => relinquish({ backend, convergence, usedBy, clock, ...(copies === undefined ? {} : { copies }) }),
  });
  return { convergence, snapshots, copies, copyListener, link, profiles, pool };
}

function nodeIn(certificate: string, configPath: string): NodeId {
  const { role } = certificateIdentity(certificate);
  if (role?.kind === 'node') return role.nodeId;
  throw new CodedError(
    'bad_certificate',
    `node.crt beside ${configPath} is no node certificate: make one with "flocker-ca create-node-certificate".`,
  );
}

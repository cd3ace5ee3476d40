import { mkdir, readFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { dirname, join } from 'node:path';
import { chooseClusterNode } from '../cli/agent-socket.ts';
import { readAgentYml, readClusterJson } from '../cli/ctl/cluster-files.ts';
import { clusterLayout } from '../cli/up/layout.ts';
import { connectFlocker } from '../client/connect-flocker.ts';
import { decide } from '../frontends/resource-provider/decide.ts';
import { connectMesosAgent } from '../frontends/resource-provider/mesos-agent.ts';
import { connectNodeAgent } from '../frontends/resource-provider/node-agent.ts';
import { Provider } from '../frontends/resource-provider/provider.ts';
import {
  type ProviderDefaults,
  type ProviderYml,
  parseProviderYml,
  providerConfig,
} from '../frontends/resource-provider/provider-config.ts';
import { readRecord, writeRecord } from '../frontends/resource-provider/provider-record.ts';
import { initialState } from '../frontends/resource-provider/provider-state.ts';
import { serveMetrics } from '../frontends/resource-provider/serve-metrics.ts';
import { lookAtStorage } from '../frontends/resource-provider/storage-look.ts';
import { StorageWork } from '../frontends/resource-provider/storage-work.ts';
import { CodedError, errorCode } from '../kit/coded-error.ts';
import { httpsUrls, splitHosts } from '../kit/host-names.ts';
import type { NodeId } from '../kit/ids.ts';
import { readAuthorization } from '../mesos/authorization.ts';
import { loadCredentials } from '../tls/credentials.ts';
import { installedPaths } from '../tls/file-names.ts';
import type { Daemon, DaemonWorld } from './daemon.ts';

/** Options of `flocker provider`; what is not given is absent. */
export interface ProviderOptions {
  /** `provider.yml`; it may be missing when it is the default one. */
  readonly configPath: string;
  readonly configGiven: boolean;
  /** `cluster.json` of `flocker up`, and the number of a node in it. */
  readonly cluster: { readonly path: string; readonly node: string } | undefined;
  /** Keys of `provider.yml` that were given on the command line. */
  readonly given: ProviderYml;
  /** Forget that Mesos ever knew this provider. Volumes stay. */
  readonly newIdentity: boolean;
}

/** Where the storage's own daemons are. */
interface Place {
  readonly controlUrls: readonly string[];
  readonly socketPath: string;
  readonly certificates: string;
  readonly defaults: ProviderDefaults;
}

/** Builds and starts a resource provider. */
export async function startProvider(options: ProviderOptions, world: DaemonWorld): Promise<Daemon> {
  const { clock, random, newUuid, logger } = world;
  const yml = { ...(await readYml(options)), ...options.given };
  const place = options.cluster === undefined ? await installedPlace(yml) : await clusterPlace(options.cluster);
  const config = providerConfig(yml, place.defaults);
  const authorization = await readAuthorization(config);
  const ca = config.caPath === undefined ? undefined : await readFile(config.caPath, 'utf8');
  const tls = await loadCredentials(installedPaths(place.certificates, 'plugin'), clock);
  await mkdir(config.statePath, { recursive: true, mode: 0o700 });
  const recordPath = join(config.statePath, 'provider.json');

  let provider: Provider | undefined;
  const idle = { subscribed: false, disks: 0, pending: 0, unacknowledged: 0, published: 0, publishFailures: 0 };
  // Before anything is read: two processes with one record would end the Mesos agent.
  const metrics = await serveMetrics(join(config.statePath, 'provider.sock'), () => provider?.counts ?? idle);
  const before = await readRecord(recordPath, config.type, config.name);
  if (before.tornDown && !options.newIdentity)
    throw new CodedError(
      'torn_down',
      `the operator of Mesos removed the provider ${config.name} (MARK_RESOURCE_PROVIDER_GONE). Its volumes are kept. ` +
        'To attach again as a new provider, start it once with --new-identity.',
    );
  const record = options.newIdentity
    ? decide(initialState(before), { kind: 'identityLost' }, { settings: config.offers, newUuid }).state.record
    : before;

  const client = connectFlocker({ urls: place.controlUrls, tls, clock, random, logger });
  const node = connectNodeAgent(place.socketPath);
  const nodeId = remembered(async () => {
    const found = await node.node(AbortSignal.timeout(10_000));
    if (!found.mounts)
      logger.warn({}, 'the node agent does not run as root: disks can be made and not be used by tasks');
    return found.id;
  });
  const stateUrl = yml['storage-state'] ?? `${place.controlUrls[0] ?? ''}/v1/state/storage`;
  const { publishTimeoutMs, operationTimeoutMs, lookEveryMs, offers } = config;
  provider = new Provider({
    record,
    save: (value) => writeRecord(recordPath, value),
    agent: connectMesosAgent({
      url: config.agentUrl,
      clock,
      ...(authorization === undefined ? {} : { authorization }),
      ...(ca === undefined ? {} : { ca }),
    }),
    storage: new StorageWork({ client, node, nodeId, clock, random, logger, operationTimeoutMs, publishTimeoutMs }),
    look: async (signal) => lookAtStorage(client, await nodeId(), stateUrl === false ? null : stateUrl, signal),
    settings: offers,
    // As a signal does: there is nothing left to do, and a supervisor must not start it again.
    onEnd: () => process.kill(process.pid, 'SIGTERM'),
    ...{ clock, random, newUuid, logger, lookEveryMs },
  });
  provider.start();
  logger.info({ agent: config.agentUrl, provider: config.name, state: config.statePath }, 'resource provider works');
  return {
    close: async () => {
      await provider.close();
      await metrics.close();
      await client.close();
    },
  };
}

async function readYml({ configPath, configGiven, cluster }: ProviderOptions): Promise<ProviderYml> {
  if (cluster !== undefined && !configGiven) return {};
  try {
    return parseProviderYml(await readFile(configPath, 'utf8'), configPath);
  } catch (error) {
    if (errorCode(error) === 'ENOENT' && !configGiven) return {};
    throw error;
  }
}

async function installedPlace(yml: ProviderYml): Promise<Place> {
  const certificates = yml['certificates-directory'] ?? '/etc/flocker';
  const agentYml = join(certificates, 'agent.yml');
  const control = yml['control-service'] ?? (await readAgentYml(agentYml))?.['control-service'];
  if (control === undefined)
    throw new CodedError(
      'no_control_service',
      `Where is the control service? Give control-service.hostname in provider.yml; there is no ${agentYml} that says it.`,
    );
  const { hostname: host, 'rest-port': port = 4523 } = control;
  return {
    controlUrls: httpsUrls(splitHosts(host), port),
    socketPath: yml.socket ?? '/run/flocker/agent.sock',
    certificates,
    defaults: {
      name: `flocker_${hostname().replaceAll(/[^A-Za-z0-9_]/g, '_')}`,
      statePath: '/var/lib/flocker/provider',
      mountRoot: '/var/lib/flocker/mesos',
    },
  };
}

async function clusterPlace({ path, node }: { readonly path: string; readonly node: string }): Promise<Place> {
  const { number, socket } = await chooseClusterNode(path, node);
  const { control } = await readClusterJson(path);
  const layout = clusterLayout(dirname(path)).node(number);
  return {
    controlUrls: [control.url, ...(control.other_urls ?? [])],
    socketPath: socket,
    certificates: layout.directory,
    defaults: { name: `flocker_node${number}`, statePath: layout.provider, mountRoot: layout.disks },
  };
}

/** What `ask` resolves with; asked again until it does once. */
function remembered(ask: () => Promise<NodeId>): () => Promise<NodeId> {
  let known: NodeId | undefined;
  return async () => {
    known ??= await ask();
    return known;
  };
}

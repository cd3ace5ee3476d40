import { access, copyFile, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { stringify } from 'yaml';
import type { Clock } from '../../kit/clock.ts';
import type { NewUuid } from '../../kit/ids.ts';
import { cephSection } from './ceph/node-access.ts';
import type { ClusterBackend, ClusterStore } from './cluster-backend.ts';
import { type ClusterLayout, clusterLayout } from './layout.ts';
import { ClusterError, type ClusterSettings, freePorts, portIsFree, readSettings, writeSettings } from './settings.ts';

export interface ClusterWish {
  /** Absolute path. */
  readonly directory: string;
  /** Undefined: as it was made, or two. */
  readonly nodes: number | undefined;
  /** Undefined: as it was made, or what this user can run. */
  readonly backend: ClusterBackend | undefined;
  /** Each node has a pool of its own; only for a cluster that is made, and with btrfs. */
  readonly poolPerNode?: boolean;
  /** Undefined: as it was made, or level. */
  readonly store?: ClusterStore | undefined;
  /** How many control services; undefined: as it was made, or one. More than one only with etcd. */
  readonly controls?: number | undefined;
  readonly isRoot: boolean;
}

/** Sources of what is not decided by a wish. */
export interface ClusterSources {
  readonly clock: Clock;
  readonly newUuid: NewUuid;
  readonly randomBytes: (count: number) => Uint8Array;
}

const MOST_NODES = 50;
const MOST_CONTROLS = 5;
/** Of the sparse file that btrfs volumes are in. */
const POOL_FILE_SIZE = '100GiB';
/** Longest path of a unix socket on Linux, without the closing NUL (unix(7)). */
const LONGEST_SOCKET_PATH = 107;
const UUID_LENGTH = 36;
const FUSE_TOKEN_LENGTH = 16;

/** Makes what a cluster needs before its daemons start, or adds what a larger one needs. Existing files are kept. */
export async function prepareCluster(
  wish: ClusterWish,
  sources: ClusterSources,
): Promise<{ layout: ClusterLayout; settings: ClusterSettings; isNew: boolean }> {
  const layout = clusterLayout(wish.directory);
  const before = await readSettings(layout.settings);
  const count = nodeCount(wish, before);
  const backend = before?.backend ?? wish.backend ?? (wish.isRoot ? 'loopback' : 'directory');
  if (wish.backend !== undefined && wish.backend !== backend) {
    throw new ClusterError('bad_cluster', `${wish.directory} was made with --backend ${backend}. Give another --dir.`);
  }
  if (backend !== 'directory' && !wish.isRoot) {
    throw new ClusterError(
      'bad_cluster',
      `The ${backend} backend mounts filesystems and needs root; try --backend directory.`,
    );
  }
  const poolPerNode = before === undefined ? wish.poolPerNode === true : before.poolPerNode === true;
  if (wish.poolPerNode === true && !poolPerNode) {
    throw new ClusterError('bad_cluster', `${wish.directory} was made without --pool-per-node. Give another --dir.`);
  }
  if (poolPerNode && backend !== 'btrfs') {
    throw new ClusterError('bad_cluster', '--pool-per-node goes with --backend btrfs only.');
  }
  const controls = controlCount(wish, before);
  const longest = backend === 'ceph' ? cephSocket(layout) : layout.node(MOST_NODES).isolator;
  if (Buffer.byteLength(longest) > LONGEST_SOCKET_PATH) {
    throw new ClusterError(
      'bad_cluster',
      `A socket path such as ${longest} is too long for Linux. Give a shorter --dir.`,
    );
  }
  await mkdir(layout.directory, { recursive: true, mode: 0o700 });
  for (const directory of [
    layout.certificates,
    layout.controlCertificates,
    layout.controlData,
    layout.logs,
    layout.volumes,
  ]) {
    await mkdir(directory, { recursive: true, mode: 0o700 });
  }
  await makeCertificates(layout, sources);
  const nodes = [...(before?.nodes ?? [])];
  while (nodes.length < count)
    nodes.push({ uuid: await makeNode(layout, nodes.length + 1, sources), host: hostOf(nodes.length + 1) });
  const settings: ClusterSettings = {
    backend,
    ...(poolPerNode ? { poolPerNode } : {}),
    ...(await etcdPorts(wish, before)),
    ...(await cephPorts(backend, before)),
    ...(controls === 1 ? {} : { controls }),
    ...(await choosePorts(before)),
    nodes,
  };
  for (const [index] of nodes.entries()) await writeAgentYml(layout, index + 1, settings);
  await writeSettings(layout.settings, settings);
  return { layout, settings, isNew: before === undefined };
}

function nodeCount(wish: ClusterWish, before: ClusterSettings | undefined): number {
  const count = wish.nodes ?? before?.nodes.length ?? 2;
  if (!Number.isInteger(count) || count < 1 || count > MOST_NODES) {
    throw new ClusterError('bad_cluster', `--nodes must be a whole number from 1 to ${MOST_NODES}.`);
  }
  if (before !== undefined && count < before.nodes.length) {
    throw new ClusterError(
      'bad_cluster',
      `${wish.directory} has ${before.nodes.length} nodes, and a node cannot be taken away: it may hold volumes.`,
    );
  }
  return count;
}

function controlCount(wish: ClusterWish, before: ClusterSettings | undefined): number {
  const store = before?.etcd === undefined ? 'level' : 'etcd';
  if (before !== undefined && wish.store !== undefined && wish.store !== store) {
    throw new ClusterError('bad_cluster', `${wish.directory} was made with --store ${store}. Give another --dir.`);
  }
  const count = wish.controls ?? before?.controls ?? 1;
  if (!Number.isInteger(count) || count < 1 || count > MOST_CONTROLS) {
    throw new ClusterError('bad_cluster', `--controls must be a whole number from 1 to ${MOST_CONTROLS}.`);
  }
  if (count > 1 && (wish.store ?? store) !== 'etcd') {
    throw new ClusterError('bad_cluster', 'More than one control service needs --store etcd.');
  }
  return count;
}

/** As many members as make sense for so many control services; they stay as they were made. */
async function etcdPorts(
  { store, controls = 1 }: ClusterWish,
  before: ClusterSettings | undefined,
): Promise<Pick<ClusterSettings, 'etcd'>> {
  if (before !== undefined) return before.etcd === undefined ? {} : { etcd: before.etcd };
  if (store !== 'etcd') return {};
  const members = controls > 1 ? 3 : 1;
  const ports = await freePorts(2 * members);
  const etcd = ports.slice(0, members).map((client, index) => ({ client, peer: ports[members + index] ?? 0 }));
  return { etcd };
}

async function cephPorts(
  backend: ClusterBackend,
  before: ClusterSettings | undefined,
): Promise<Pick<ClusterSettings, 'ceph'>> {
  if (before !== undefined) return before.ceph === undefined ? {} : { ceph: before.ceph };
  if (backend !== 'ceph') return {};
  const [v2 = 0, v1 = 0] = await freePorts(2);
  return { ceph: { v2, v1 } };
}

/** A path as long as those of the sockets of `ceph-fuse`. */
function cephSocket(layout: ClusterLayout): string {
  return join(layout.cephMounts, 'run', '0'.repeat(UUID_LENGTH), `${'0'.repeat(FUSE_TOKEN_LENGTH)}.asok`);
}

/** Each control service has an address of its own on the loopback network, with the same ports. */
export function controlHosts({ controls = 1 }: Pick<ClusterSettings, 'controls'>): string[] {
  return Array.from({ length: controls }, (_, index) => `127.0.0.${index + 1}`);
}

/** Each agent has an address of its own on the loopback network, as machines have. */
function hostOf(number: number): string {
  return `127.0.0.${10 + number}`;
}

async function choosePorts(before: ClusterSettings | undefined): Promise<{ restPort: number; agentsPort: number }> {
  if (before !== undefined && (await portIsFree(before.restPort)) && (await portIsFree(before.agentsPort))) {
    return { restPort: before.restPort, agentsPort: before.agentsPort };
  }
  const [restPort = 0, agentsPort = 0] = await freePorts(2);
  return { restPort, agentsPort };
}

async function makeCertificates(layout: ClusterLayout, sources: ClusterSources): Promise<void> {
  const { initializeAuthority } = await import('../../tls/authority.ts');
  const { createControlCertificate, createUserCertificate } = await import('../../tls/leaf.ts');
  const directory = layout.certificates;
  if (!(await exists(join(directory, 'cluster.key')))) {
    await initializeAuthority({ directory, name: 'flocker-up', keyType: 'ec' }, sources);
  }
  const leaf = { authorityDirectory: directory, outputDirectory: directory, keyType: 'ec' } as const;
  for (const name of ['user', 'plugin']) {
    if (!(await exists(join(directory, `${name}.key`)))) await createUserCertificate({ ...leaf, name }, sources);
  }
  if (await exists(join(layout.controlCertificates, 'control-service.key'))) return;
  await copyFile(join(directory, 'cluster.crt'), join(layout.controlCertificates, 'cluster.crt'));
  await createControlCertificate(
    { ...leaf, outputDirectory: layout.controlCertificates, baseName: 'control-service', hostname: '127.0.0.1' },
    sources,
  );
}

async function makeNode(layout: ClusterLayout, number: number, sources: ClusterSources): Promise<string> {
  const { createNodeCertificate } = await import('../../tls/leaf.ts');
  const node = layout.node(number);
  if (await exists(join(node.directory, 'node.key'))) {
    throw new ClusterError(
      'bad_cluster',
      `${node.directory} was left by a start that was interrupted. Give another --dir.`,
    );
  }
  for (const directory of [node.directory, node.state, node.mountRoot]) {
    await mkdir(directory, { recursive: true, mode: 0o700 });
  }
  for (const name of ['cluster.crt', 'plugin.crt', 'plugin.key']) {
    await copyFile(join(layout.certificates, name), join(node.directory, name));
  }
  const { nodeId } = await createNodeCertificate(
    { authorityDirectory: layout.certificates, outputDirectory: node.directory, keyType: 'ec', baseName: 'node' },
    sources,
  );
  return nodeId;
}

async function writeAgentYml(layout: ClusterLayout, number: number, settings: ClusterSettings): Promise<void> {
  const node = layout.node(number);
  const content = {
    version: 1,
    'control-service': {
      hostname: controlHosts(settings).join(','),
      port: settings.agentsPort,
      'rest-port': settings.restPort,
    },
    dataset: { ...storageSection(layout, number, settings), mount_root: node.mountRoot },
    node: {
      ...{ 'state-path': node.state, socket: node.socket, 'isolator-socket': node.isolator },
      ...{
        'csi-socket': node.csi,
        'docker-socket': node.docker,
        address: hostOf(number),
        'shared-machine': true,
        'copy-port': 0,
      },
    },
  };
  await writeFile(node.agentYml, stringify(content), { mode: 0o600 });
}

/** Where node `number` has its volumes, as `agent.yml` says it; all nodes share one pool, or each has its own. */
export function storageSection(
  layout: ClusterLayout,
  number: number,
  { backend, poolPerNode = false }: Pick<ClusterSettings, 'backend' | 'poolPerNode'>,
): Readonly<Record<string, unknown>> {
  if (backend === 'ceph') return cephSection(layout, number);
  if (backend !== 'btrfs') return { backend, root_path: layout.volumes };
  const poolFile = join(layout.volumes, poolPerNode ? `pool${number}.btrfs` : 'pool.btrfs');
  return { backend, pool_file: poolFile, pool_size: POOL_FILE_SIZE, pool_mount: layout.node(number).poolMount };
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}

import { randomBytes, randomUUID } from 'node:crypto';
import { copyFile, cp, mkdir, mkdtemp, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parse, stringify } from 'yaml';
import type { ClusterLayout } from '../../src/cli/up/layout.ts';
import { prepareCluster } from '../../src/cli/up/prepare-cluster.ts';
import { connectFlocker } from '../../src/client/connect-flocker.ts';
import type { FlockerClient } from '../../src/client/flocker-client.ts';
import type { StorageClient } from '../../src/client/storage-client.ts';
import { LocalClient } from '../../src/frontends/local/local-client.ts';
import { systemClock } from '../../src/kit/clock.ts';
import { type NodeId, parseNodeId } from '../../src/kit/ids.ts';
import { silentLogger } from '../../src/kit/logger.ts';
import { eventually } from '../e2e/support/eventually.ts';
import { HUB, Machine } from './machine.ts';
import { type Running, sh, signal, startLogged } from './program.ts';
import { NODES, type Steps } from './schedule.ts';
import type { FaultStorage } from './storage.ts';

const FLOCKER = fileURLToPath(new URL('../../src/bin/flocker.js', import.meta.url));
const WRITER = fileURLToPath(new URL('./writer.js', import.meta.url));
/** Directories where daemons note the steps at which they died. */
const STEPS = 'steps-';
export const VOLUME_SIZE = '64MiB';
export const VOLUME_BYTES = 64 * 2 ** 20;
/** Binds `$1` at `$2` in the mount namespace of a container, then becomes the rest. */
const CONTAINER = 'mount --no-mtab --rbind -- "$1" "$2" && shift 2 && exec "$@"';
/** Left free when the pool is filled, bytes. */
const LEFT_FREE = 2 * 2 ** 20;

export type Command = readonly [string, ...string[]];

/** One node: its machine and its agent. */
export interface FaultNode {
  readonly number: number;
  readonly id: NodeId;
  readonly machine: Machine;
  readonly directory: string;
  readonly mountRoot: string;
  /** Where orchestrators on it have their directories. */
  readonly callers: string;
  agent: Running | undefined;
}

/** A control service and three agents, each on a machine of its own. */
export class FaultCluster {
  readonly directory: string;
  readonly layout: ClusterLayout;
  readonly storage: FaultStorage;
  readonly nodes: readonly FaultNode[];
  readonly client: FlockerClient & StorageClient;
  control: Running | undefined;

  private constructor(
    layout: ClusterLayout,
    storage: FaultStorage,
    nodes: readonly FaultNode[],
    client: FlockerClient & StorageClient,
  ) {
    this.directory = layout.directory;
    this.layout = layout;
    this.storage = storage;
    this.nodes = nodes;
    this.client = client;
  }

  static async start(directory: string, storage: FaultStorage): Promise<FaultCluster> {
    const wish = { directory, nodes: NODES.length, isRoot: true, ...storage.wish };
    const { layout, settings } = await prepareCluster(wish, { clock: systemClock, newUuid: randomUUID, randomBytes });
    await storage.prepare(layout);
    await wrapMkfs(directory);
    const nodes = settings.nodes.map(({ uuid }, number): FaultNode => {
      const id = parseNodeId(uuid);
      if (id === undefined) throw new Error(`${uuid} is no node`);
      const { directory: at, mountRoot } = layout.node(number + 1);
      const callers = join(directory, `callers${number + 1}`);
      return { number, id, machine: new Machine(number, callers), directory: at, mountRoot, callers, agent: undefined };
    });
    const pem = (name: string): Promise<string> => readFile(join(layout.certificates, name), 'utf8');
    const [ca, cert, key] = await Promise.all([pem('cluster.crt'), pem('user.crt'), pem('user.key')]);
    const client = connectFlocker({
      ...{ urls: [`https://${HUB}:4523`], tls: { ca, cert, key }, clock: systemClock, random: Math.random },
      ...{ logger: silentLogger, requestTimeoutMs: 5_000 },
    });
    const cluster = new FaultCluster(layout, storage, nodes, client);
    for (const node of nodes) {
      await writeAgentYml(join(node.directory, 'agent.yml'), node.machine.address);
      await mkdir(node.callers);
      await node.machine.boot();
    }
    await cluster.startControl();
    for (const node of nodes) await cluster.startAgent(node);
    await eventually(() => cluster.answers(), 60_000, 100);
    return cluster;
  }

  /** With `steps`, until it comes to one of them, where it kills itself. */
  async startControl(steps: Steps = []): Promise<Running> {
    const { controlCertificates, controlData, logs } = this.layout;
    const where = ['--data-path', controlData, '--certificates-directory', controlCertificates];
    const ports = ['--port', `tcp:4523:interface=${HUB}`, '--agent-port', `tcp:4524:interface=${HUB}`];
    const log = join(logs, 'control.log');
    this.control = await startLogged(
      await this.#armed(steps),
      log,
      process.execPath,
      FLOCKER,
      'control',
      ...where,
      ...ports,
    );
    return this.control;
  }

  /** With `steps`, until it comes to one of them, where it kills itself. */
  async startAgent(node: FaultNode, steps: Steps = []): Promise<Running> {
    const { machine, directory, number } = node;
    const command = ['agent', '--agent-config', join(directory, 'agent.yml')];
    const [file, ...args] = machine.inside(process.execPath, FLOCKER, ...command);
    node.agent = await startLogged(await this.#armed(steps), this.layout.node(number + 1).log, file, ...args);
    return node.agent;
  }

  /** Fails unless all agents answer; their other sockets are open by then. */
  async answers(): Promise<void> {
    for (const { number } of this.nodes)
      await new LocalClient(this.layout.node(number + 1).socket).volumes(AbortSignal.timeout(5_000));
  }

  sockets(node: FaultNode): ReturnType<ClusterLayout['node']> {
    return this.layout.node(node.number + 1);
  }

  /** The command line of a task that has its volume at `at`. */
  writer(at: string, forMs: number): Command {
    // Two tasks of one node may share a volume; on two nodes this lock means nothing.
    return ['flock', '--timeout', '30', '--no-fork', join(at, 'lock'), process.execPath, WRITER, at, String(forMs)];
  }

  /** A command with a volume at /mnt, by `flocker run`. */
  runCommand(node: FaultNode, volume: string, timeoutSeconds: number, command: Command): Command {
    const where = ['--socket', this.sockets(node).socket, '--timeout', String(timeoutSeconds)];
    const volumes = ['-v', `${volume}:/mnt,size=${VOLUME_SIZE}`];
    return node.machine.inside(process.execPath, FLOCKER, 'run', ...where, ...volumes, '--', ...command);
  }

  /** A command in a container, with what a node shows at `source` bound at `target`. */
  boundCommand(node: FaultNode, source: string, target: string, command: Command): Command {
    const container = ['--mount', '--propagation', 'slave', '--', 'sh', '-c', CONTAINER, 'container', source, target];
    return node.machine.inside('unshare', ...container, ...command);
  }

  async setMkfs(mode: 'fail' | 'hang' | 'well'): Promise<void> {
    await writeFile(join(this.directory, 'mkfs-mode'), mode);
  }

  async fillPool(): Promise<void> {
    const out = await sh('df', '--output=avail', '--block-size=1', this.layout.volumes);
    const left = Number(out.trim().split('\n').at(-1)) - LEFT_FREE;
    if (left > 0) await sh('fallocate', '--length', String(left), this.#ballast).catch(() => undefined);
  }

  async emptyPool(): Promise<void> {
    await rm(this.#ballast, { force: true });
  }

  /**
   * Starts a control service on a store that was cut short. Resolves with how that ended, `null` when it went on to run, or undefined when
   * there was nothing to cut. The whole store is back afterwards, and nothing runs.
   */
  async startTorn(): Promise<{ readonly exit: number | NodeJS.Signals | null } | undefined> {
    const [store, whole] = [join(this.layout.controlData, 'store'), join(this.directory, 'whole-store')];
    await rm(whole, { recursive: true, force: true });
    await cp(store, whole, { recursive: true, preserveTimestamps: true });
    const torn = await tearLargest(store);
    if (!torn) return undefined;
    const control = await this.startControl();
    const exit = await Promise.race([control.ended, new Promise<null>((resolve) => setTimeout(resolve, 15_000, null))]);
    signal(control.pid, 'SIGKILL');
    await control.ended;
    this.control = undefined;
    await rm(store, { recursive: true });
    await cp(whole, store, { recursive: true, preserveTimestamps: true });
    return { exit };
  }

  /** Steps at which daemons killed themselves. */
  async stepsReached(): Promise<string[]> {
    const armed = (await readdir(this.directory)).filter((name) => name.startsWith(STEPS));
    const reached = await Promise.all(armed.map((name) => readdir(join(this.directory, name))));
    return [...new Set(reached.flat())].sort();
  }

  /** The environment of a daemon. In a directory of their own steps kill again. */
  async #armed(steps: Steps): Promise<NodeJS.ProcessEnv> {
    if (steps.length === 0) return process.env;
    const directory = await mkdtemp(join(this.directory, STEPS));
    return { ...process.env, FLOCKER_FAILPOINTS: `${directory}:${steps.join(',')}` };
  }

  get #ballast(): string {
    return join(this.layout.volumes, 'ballast');
  }
}

/** mkfs.ext4 on all machines asks a file whether to work. */
async function wrapMkfs(directory: string): Promise<void> {
  const tools = join(directory, 'tools');
  await mkdir(tools);
  await copyFile('/usr/sbin/mke2fs', join(tools, 'mkfs.ext4'));
  const mode = join(directory, 'mkfs-mode');
  const script = `#!/bin/sh
case "$(cat ${mode} 2>/dev/null)" in
  fail) echo "mkfs.ext4: input/output error" >&2; exit 1 ;;
  hang) exec sleep 600 ;;
esac
exec ${join(tools, 'mkfs.ext4')} "$@"
`;
  await writeFile(join(tools, 'asked'), script, { mode: 0o755 });
  await sh('mount', '--bind', join(tools, 'asked'), '/usr/sbin/mke2fs');
}

async function writeAgentYml(path: string, address: string): Promise<void> {
  const content = parse(await readFile(path, 'utf8')) as { node: object };
  const control = { hostname: HUB, port: 4524, 'rest-port': 4523 };
  const text = stringify({ ...content, 'control-service': control, node: { ...content.node, address } });
  await writeFile(path, text);
}

/** Cuts the largest file of a LevelDB in half: its log, or a table. */
async function tearLargest(store: string): Promise<boolean> {
  const found: { path: string; size: number }[] = [];
  for (const entry of await readdir(store, { recursive: true, withFileTypes: true })) {
    if (!/^\d+\.(log|ldb)$/.test(entry.name)) continue;
    const path = join(entry.parentPath, entry.name);
    found.push({ path, size: (await stat(path)).size });
  }
  const largest = found.toSorted((a, b) => b.size - a.size)[0];
  if (largest === undefined || largest.size < 2) return false;
  await truncate(largest.path, Math.floor(largest.size / 2));
  return true;
}

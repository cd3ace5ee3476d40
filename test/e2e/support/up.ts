import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'vitest';
import type { ClusterJson } from '../../../src/cli/up/start-cluster.ts';
import { connectFlocker } from '../../../src/client/connect-flocker.ts';
import type { FlockerClient } from '../../../src/client/flocker-client.ts';
import type { StorageClient } from '../../../src/client/storage-client.ts';
import { LocalClient } from '../../../src/frontends/local/local-client.ts';
import { systemClock } from '../../../src/kit/clock.ts';
import { errorCode } from '../../../src/kit/coded-error.ts';
import { silentLogger } from '../../../src/kit/logger.ts';
import type { Credentials } from '../../../src/tls/credentials.ts';
import { type RestApi, restApi } from '../../support/rest-api.ts';
import { eventually } from './eventually.ts';
import { type Ended, type Program, start } from './program.ts';
import { Scratch } from './scratch.ts';

export type Daemon = 'control' | number;
export type ClusterNode = ClusterJson['nodes'][number];

/** Backends that this user can run. */
export const BACKENDS = process.getuid?.() === 0 ? (['loopback', 'directory'] as const) : (['directory'] as const);

/** With a Ceph beside it, and the story first. */
const START_TIMEOUT_MS = 150_000;

/** Resolves once the agent answers on its own socket, which it opens after all others. */
export async function agentAnswers(socket: string): Promise<void> {
  await eventually(() => new LocalClient(socket).volumes(AbortSignal.timeout(5_000)), 30_000);
}

/** A cluster under `flocker up`, all of it real processes. Nodes are numbered from 1. */
export class UpCluster {
  readonly scratch: Scratch;
  readonly directory: string;
  #up: Program | undefined;

  constructor(scratch: Scratch) {
    this.scratch = scratch;
    this.directory = join(scratch.directory, 'cluster');
  }

  static async start(...args: readonly string[]): Promise<UpCluster> {
    return await UpCluster.startWith({}, ...args);
  }

  /** With more in the environment of everything that is started. */
  static async startWith(env: Readonly<Record<string, string>>, ...args: readonly string[]): Promise<UpCluster> {
    const cluster = new UpCluster(await Scratch.make());
    Object.assign(cluster.scratch.env, env);
    try {
      await cluster.up(...args);
      return cluster;
    } catch (error) {
      await cluster.remove();
      throw error;
    }
  }

  get clusterJson(): string {
    return join(this.directory, 'cluster.json');
  }

  /** Starts `flocker up` on the directory and waits until it says that the cluster runs. */
  async up(...args: readonly string[]): Promise<void> {
    this.#up = start('flocker', ['up', '--dir', this.directory, ...args], this.scratch.env);
    await this.#up.says('The cluster runs', START_TIMEOUT_MS);
  }

  /** What `flocker up` has said since its last start. */
  get said(): string {
    return this.#up?.stdout ?? '';
  }

  async json(): Promise<ClusterJson> {
    return JSON.parse(await readFile(this.clusterJson, 'utf8')) as ClusterJson;
  }

  async node(number: number): Promise<ClusterNode> {
    const node = (await this.json()).nodes[number - 1];
    if (node === undefined) throw new Error(`there is no node ${number}`);
    return node;
  }

  async user(): Promise<Credentials> {
    const { tls } = await this.json();
    const [ca, cert, key] = await Promise.all([tls.ca, tls.cert, tls.key].map((path) => readFile(path, 'utf8')));
    return { ca: ca ?? '', cert: cert ?? '', key: key ?? '' };
  }

  async client(): Promise<FlockerClient & StorageClient> {
    const { control } = await this.json();
    return connectFlocker({
      urls: [control.url],
      tls: await this.user(),
      clock: systemClock,
      random: Math.random,
      logger: silentLogger,
    });
  }

  async api(): Promise<RestApi> {
    const { control } = await this.json();
    const target = { port: Number(new URL(control.url).port), tls: await this.user() };
    return restApi(() => target);
  }

  /** `flocker run` on a node; `args` begin with the volumes. */
  run(number: number, ...args: readonly string[]): Program {
    const where = ['--cluster', this.clusterJson, '--node', String(number)];
    return start('flocker', ['run', ...where, ...args], this.scratch.env);
  }

  /** What `flocker run` of a shell command came to, with the volume at /mnt. */
  sh(number: number, volume: string, script: string): Promise<Ended> {
    return this.run(number, '-v', volume, '--', 'sh', '-c', script).ended;
  }

  ctl(...args: readonly string[]): Promise<Ended> {
    return start('flockerctl', ['--cluster', this.clusterJson, ...args], this.scratch.env).ended;
  }

  async pid(daemon: Daemon): Promise<number> {
    const { nodes, pids } = await this.json();
    const pid = daemon === 'control' ? pids.control : nodes[daemon - 1]?.pid;
    if (pid === null || pid === undefined) throw new Error(`there is no process of ${daemon} now`);
    return pid;
  }

  /** Kills a daemon with -9 and waits for nothing; it may be gone already. */
  async killNow(daemon: Daemon): Promise<void> {
    try {
      process.kill(await this.pid(daemon), 'SIGKILL');
    } catch (error) {
      if (errorCode(error) !== 'ESRCH') throw error;
    }
  }

  /**
   * Sends a daemon a signal that ends it, -9 unless given, and waits until `flocker up` has started it again and, when it is
   * an agent, until that serves all its sockets.
   */
  async kill(daemon: Daemon, signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    const before = await this.pid(daemon);
    process.kill(before, signal);
    await eventually(async () => expect(await this.pid(daemon)).not.toBe(before), 20_000);
    if (daemon !== 'control') await agentAnswers((await this.node(daemon)).socket);
  }

  /** Runs `work` while the control service is dead, and nothing else is; then it is started again. */
  async withoutControl(work: () => Promise<void>): Promise<void> {
    const [up, before] = [this.#up, await this.pid('control')];
    // Who would start it again at once.
    up?.kill('SIGSTOP');
    try {
      process.kill(before, 'SIGKILL');
      await work();
    } finally {
      up?.kill('SIGCONT');
    }
    await eventually(async () => expect(await this.pid('control')).not.toBe(before), 20_000);
    await this.connected();
  }

  /** Waits until every node is connected to the control service. */
  async connected(): Promise<void> {
    const { nodes } = await this.json();
    const api = await this.api();
    await eventually(async () => {
      const { json } = await api.get('/v1/inspect/nodes');
      const connected = (json as { connected: boolean }[]).filter((node) => node.connected);
      expect(connected.length).toBe(nodes.length);
    }, 20_000);
  }

  /** Sends `signal` to `flocker up` and waits for its end. */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<Ended> {
    if (this.#up === undefined) throw new Error('flocker up was not started');
    this.#up.kill(signal);
    return this.#up.ended;
  }

  /** Stops it, checks that it went well and nothing is left, and removes its directory. */
  async remove(): Promise<void> {
    try {
      if (this.#up?.running === true) expect(await this.stop()).toMatchObject({ status: 0, stderr: '' });
    } finally {
      await this.scratch.remove();
    }
  }
}

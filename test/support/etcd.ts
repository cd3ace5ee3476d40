import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePorts } from '../../src/cli/up/settings.ts';
import { findProgram } from '../e2e/support/find-program.ts';

const START_TIMEOUT_MS = 30_000;

/** Why tests with etcd cannot run here; null when they can. */
export async function etcdSkipReason(): Promise<string | null> {
  const found = await findProgram('etcd', 'ETCD');
  return found === undefined ? ' (skipped: etcd is not installed; Debian has it as etcd-server)' : null;
}

/** A real etcd of one or more members on the loopback address, in a directory of its own. */
export class TestEtcd {
  readonly #directory: string;
  readonly #clients: readonly number[];
  readonly #peers: readonly number[];
  readonly #processes: (ChildProcess | undefined)[];

  private constructor(directory: string, clients: readonly number[], peers: readonly number[]) {
    this.#directory = directory;
    this.#clients = clients;
    this.#peers = peers;
    this.#processes = clients.map(() => undefined);
  }

  static async start(members = 1): Promise<TestEtcd> {
    const directory = await mkdtemp(join(tmpdir(), 'flocker-etcd-'));
    const ports = await freePorts(2 * members);
    const etcd = new TestEtcd(directory, ports.slice(0, members), ports.slice(members));
    try {
      await Promise.all(etcd.#clients.map((_, index) => etcd.startMember(index)));
      await etcd.ready();
    } catch (error) {
      await etcd.dispose();
      throw error;
    }
    return etcd;
  }

  /** `host:port` of each member. */
  get members(): string[] {
    return this.#clients.map((port) => `127.0.0.1:${port}`);
  }

  get url(): string {
    return `etcd://${this.members.join(',')}`;
  }

  async startMember(index: number): Promise<void> {
    const peer = (at: number): string => `http://127.0.0.1:${this.#peers[at]}`;
    const client = `http://127.0.0.1:${this.#clients[index]}`;
    const all = this.#clients.map((_, at) => `m${at}=${peer(at)}`).join(',');
    const program = (await findProgram('etcd', 'ETCD')) ?? 'etcd';
    this.#processes[index] = spawn(
      program,
      [
        ...['--name', `m${index}`, '--data-dir', join(this.#directory, `m${index}`)],
        ...['--listen-client-urls', client, '--advertise-client-urls', client],
        ...['--listen-peer-urls', peer(index), '--initial-advertise-peer-urls', peer(index), '--initial-cluster', all],
        // As on a machine with a disk of its own; here many tests share one.
        ...['--heartbeat-interval', '100', '--election-timeout', '1000', '--logger', 'zap', '--log-level', 'error'],
      ],
      { stdio: 'ignore' },
    );
    await Promise.resolve();
  }

  /** Resolves when a member answers a read that the majority confirms. */
  async ready(): Promise<void> {
    const untilMs = Date.now() + START_TIMEOUT_MS;
    for (;;) {
      for (const member of this.members) {
        const body = JSON.stringify({ key: 'eA==' });
        const answer = await fetch(`http://${member}/v3/kv/range`, { method: 'POST', body }).catch(() => undefined);
        if (answer?.status === 200) return;
      }
      if (Date.now() > untilMs) throw new Error('etcd does not start');
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  signalMember(index: number, signal: NodeJS.Signals): void {
    this.#processes[index]?.kill(signal);
  }

  async dispose(): Promise<void> {
    await Promise.all(
      this.#processes.map(async (child) => {
        if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
        const ended = new Promise((resolve) => child.once('exit', resolve));
        child.kill('SIGCONT');
        child.kill('SIGKILL');
        await ended;
      }),
    );
    await rm(this.#directory, { recursive: true, force: true });
  }
}

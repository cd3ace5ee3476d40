import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'vitest';
import type { ClusterJson } from '../../../src/cli/up/start-cluster.ts';
import { connectFlocker } from '../../../src/client/connect-flocker.ts';
import type { FlockerClient } from '../../../src/client/flocker-client.ts';
import { systemClock } from '../../../src/kit/clock.ts';
import { silentLogger } from '../../../src/kit/logger.ts';

/** The built `flocker`, as users run it. */
export const FLOCKER = fileURLToPath(new URL('../../../dist/src/bin/flocker.js', import.meta.url));

/** A cluster under `flocker up`, a real process. */
export class UpCluster {
  readonly directory: string;
  #up: ChildProcess | undefined;
  #output = '';

  private constructor(directory: string) {
    this.directory = directory;
  }

  static async start(...args: readonly string[]): Promise<UpCluster> {
    const cluster = new UpCluster(await mkdtemp(join(tmpdir(), 'flocker-e2e-')));
    await cluster.up(...args);
    return cluster;
  }

  /** Starts `flocker up` on the directory and waits until it says that the cluster runs. */
  async up(...args: readonly string[]): Promise<void> {
    const up = spawn(process.execPath, [FLOCKER, 'up', '--dir', this.directory, ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.#up = up;
    this.#output = '';
    up.stderr.on('data', (chunk: Buffer) => {
      this.#output += chunk.toString();
    });
    await new Promise<void>((resolve, reject) => {
      up.stdout.on('data', (chunk: Buffer) => {
        this.#output += chunk.toString();
        if (this.#output.includes('The cluster runs')) resolve();
      });
      up.once('exit', (status) => reject(new Error(`flocker up ended with ${status}: ${this.#output}`)));
    });
  }

  async json(): Promise<ClusterJson> {
    return JSON.parse(await readFile(join(this.directory, 'cluster.json'), 'utf8')) as ClusterJson;
  }

  async client(): Promise<FlockerClient> {
    const { control, tls } = await this.json();
    const read = (path: string): Promise<string> => readFile(path, 'utf8');
    return connectFlocker({
      urls: [control.url],
      tls: { ca: await read(tls.ca), cert: await read(tls.cert), key: await read(tls.key) },
      clock: systemClock,
      random: Math.random,
      logger: silentLogger,
    });
  }

  /** `flocker run` with the volume arguments and command given, on node `number`. */
  run(number: number, ...args: readonly string[]): ChildProcess {
    const cluster = join(this.directory, 'cluster.json');
    return spawn(process.execPath, [FLOCKER, 'run', '--cluster', cluster, '--node', String(number), ...args]);
  }

  /** Kills a daemon with -9 and waits until `flocker up` has started it again. */
  async kill(daemon: 'control' | number): Promise<void> {
    const before = await this.#pid(daemon);
    process.kill(before, 'SIGKILL');
    await expect.poll(() => this.#pid(daemon), { timeout: 10_000, interval: 20 }).not.toBe(before);
  }

  /** Sends `signal` to `flocker up` and waits for its end; resolves with its exit status. */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | null> {
    const up = this.#up;
    if (up === undefined || up.exitCode !== null || up.signalCode !== null) return up?.exitCode ?? null;
    const ended = new Promise<number | null>((resolve) => {
      up.once('exit', resolve);
    });
    up.kill(signal);
    return ended;
  }

  /** Stops it and removes its directory. */
  async remove(): Promise<void> {
    expect(await this.stop(), this.#output).toBe(0);
    await rm(this.directory, { recursive: true });
  }

  async #pid(daemon: 'control' | number): Promise<number> {
    const { nodes, pids } = await this.json();
    return (daemon === 'control' ? pids.control : nodes[daemon - 1]?.pid) ?? -1;
  }
}

/** What a process said and how it ended. */
export function ended(
  child: ChildProcess,
): Promise<{ status: number | null; signal: NodeJS.Signals | null; output: string }> {
  let output = '';
  child.stdout?.on('data', (chunk: Buffer) => {
    output += chunk.toString();
  });
  child.stderr?.on('data', (chunk: Buffer) => {
    output += chunk.toString();
  });
  return new Promise((resolve) => {
    child.once('close', (status, signal) => resolve({ status, signal, output }));
  });
}

import { connect } from 'node:net';
import { join } from 'node:path';
import { systemClock } from '../../../kit/clock.ts';
import type { NodeId } from '../../../kit/ids.ts';
import { silentLogger } from '../../../kit/logger.ts';
import { VolumesBench } from '../../../volumes/testing/volumes-bench.ts';
import type { Volumes } from '../../../volumes/volumes.ts';
import { type LocalServer, serveLocal } from '../../local/serve-local.ts';
import { dvdcli } from '../dvdcli.ts';
import { type DvdcliCallsOptions, dvdcliCalls } from '../dvdcli-calls.ts';

export interface Ran {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** A node agent's socket over a fake cluster, and dvdcli in this process. */
export class DvdcliBench {
  readonly cluster: VolumesBench;
  readonly node: NodeId;
  #volumes: Volumes | undefined;
  #server: LocalServer | undefined;

  private constructor(cluster: VolumesBench) {
    this.cluster = cluster;
    this.node = cluster.flocker.addNode();
  }

  static async start(options: Partial<DvdcliCallsOptions> = {}): Promise<DvdcliBench> {
    const bench = new DvdcliBench(await VolumesBench.create());
    await bench.startAgent(options);
    return bench;
  }

  get socketPath(): string {
    return join(this.cluster.ledgerDirectory(this.node), 'run', 'agent.sock');
  }

  get volumes(): Volumes {
    if (this.#volumes === undefined) throw new Error('the agent is not running');
    return this.#volumes;
  }

  get holders(): string[] {
    return this.volumes.list().flatMap(({ holders }) => holders.map(({ holderId }) => holderId));
  }

  get leases(): number {
    return this.cluster.flocker.cluster.leases().length;
  }

  async startAgent(
    options: Partial<DvdcliCallsOptions> = {},
    faults: Parameters<VolumesBench['volumes']>[1] = {},
  ): Promise<void> {
    const common = { clock: systemClock, logger: silentLogger };
    this.#volumes = await this.cluster.volumes(this.node, faults, { releaseWaitMs: 100 });
    const volumes = this.#volumes;
    const calls = dvdcliCalls({ volumes, bootId: 'boot', allowOverwrite: false, ...common, ...options });
    this.#server = await serveLocal({ volumes, socketPath: this.socketPath, calls, ...common });
  }

  async stopAgent(): Promise<void> {
    await this.#server?.close();
    await this.#volumes?.close();
  }

  /** dvdcli for driver flocker. */
  async run(command: string, name?: string, ...more: readonly string[]): Promise<Ran> {
    return this.raw(
      command,
      '--volumedriver=flocker',
      ...(name === undefined ? [] : [`--volumename=${name}`]),
      ...more,
    );
  }

  async raw(...args: readonly string[]): Promise<Ran> {
    const said = { stdout: '', stderr: '' };
    const status = await dvdcli(args, {
      env: { FLOCKER_AGENT_SOCKET: this.socketPath },
      clock: systemClock,
      connect,
      stdout: (text) => (said.stdout += text),
      stderr: (text) => (said.stderr += text),
      versionText: () => Promise.resolve('SemVer: 1.2.3\n'),
    });
    return { status, ...said };
  }

  async close(): Promise<void> {
    await this.#server?.close();
    await this.cluster.close();
  }
}

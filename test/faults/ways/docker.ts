import { randomBytes } from 'node:crypto';
import { unixCall } from '../../e2e/support/unix-call.ts';
import { type FaultCluster, type FaultNode, VOLUME_SIZE } from '../fault-cluster.ts';
import type { VolumeUser, Way } from './way.ts';

/** As dockerd: `Create`, `Mount` with an id for each container, `Unmount` of that id. */
export function dockerWay(cluster: FaultCluster): Way {
  return { user: (node, volume) => new DockerUser(cluster, node, volume) };
}

class DockerUser implements VolumeUser {
  readonly #cluster: FaultCluster;
  readonly #node: FaultNode;
  readonly #volume: string;
  /** A mount that is repeated has the same one. */
  readonly #id = randomBytes(32).toString('hex');
  #mountpoint = '';

  constructor(cluster: FaultCluster, node: FaultNode, volume: string) {
    this.#cluster = cluster;
    this.#node = node;
    this.#volume = volume;
  }

  async take(): Promise<void> {
    await this.#call('Create', { Opts: { size: VOLUME_SIZE } });
    const { Mountpoint } = await this.#call('Mount', { ID: this.#id });
    if (typeof Mountpoint !== 'string' || Mountpoint === '')
      throw new Error('Mount was answered without a mount point');
    this.#mountpoint = Mountpoint;
  }

  command(forMs: number): ReturnType<VolumeUser['command']> {
    return this.#cluster.boundCommand(this.#node, this.#mountpoint, '/mnt', this.#cluster.writer('/mnt', forMs));
  }

  async leave(): Promise<void> {
    await this.#call('Unmount', { ID: this.#id });
  }

  async #call(call: string, more: object): Promise<Record<string, unknown>> {
    const body = JSON.stringify({ Name: this.#volume, ...more });
    const answer = await unixCall(this.#cluster.sockets(this.#node).docker, 'POST', `/VolumeDriver.${call}`, body);
    const said = JSON.parse(answer.body) as Record<string, unknown>;
    if (answer.status !== 200 || said['Err'] !== '') throw new Error(`${call}: ${String(said['Err'])}`);
    return said;
  }
}

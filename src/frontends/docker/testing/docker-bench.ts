import { request } from 'node:http';
import { join } from 'node:path';
import { systemClock } from '../../../kit/clock.ts';
import type { NodeId } from '../../../kit/ids.ts';
import { silentLogger } from '../../../kit/logger.ts';
import { VolumesBench } from '../../../volumes/testing/volumes-bench.ts';
import type { Volumes } from '../../../volumes/volumes.ts';
import { type DockerServer, type DockerServerOptions, serveDocker } from '../serve-docker.ts';

export interface PluginAnswer {
  readonly status: number | undefined;
  readonly type: string | undefined;
  readonly body: unknown;
}

/** Headers that tell clients apart. */
const DOCKER = { accept: 'application/vnd.docker.plugins.v1.2+json', 'user-agent': 'Go-http-client/1.1' };
export const PODMAN = {
  'content-type': 'application/vnd.docker.plugins.v1.1+json',
  'user-agent': 'Go-http-client/1.1',
};

/** A plugin's socket over a fake cluster, and what Docker sends it. */
export class DockerBench {
  readonly cluster: VolumesBench;
  readonly node: NodeId;
  #volumes: Volumes | undefined;
  #server: DockerServer | undefined;

  private constructor(cluster: VolumesBench) {
    this.cluster = cluster;
    this.node = cluster.flocker.addNode();
  }

  static async start(options: Partial<DockerServerOptions> = {}): Promise<DockerBench> {
    const bench = new DockerBench(await VolumesBench.create());
    await bench.startAgent(options);
    return bench;
  }

  get socketPath(): string {
    return join(this.cluster.ledgerDirectory(this.node), 'plugins', 'flocker.sock');
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

  async startAgent(options: Partial<DockerServerOptions> = {}): Promise<void> {
    this.#volumes = await this.cluster.volumes(this.node);
    this.#server = await serveDocker({
      volumes: this.#volumes,
      socketPaths: [this.socketPath],
      required: true,
      bootId: 'boot',
      remove: 'delete',
      clock: systemClock,
      logger: silentLogger,
      ...options,
    });
  }

  async stopAgent(): Promise<void> {
    await this.#server?.close();
    await this.#volumes?.close();
  }

  send(
    method: string,
    path: string,
    text: string,
    signal?: AbortSignal,
    client: Readonly<Record<string, string>> = DOCKER,
  ): Promise<PluginAnswer> {
    return new Promise((resolve, reject) => {
      const headers = { ...client, 'content-length': Buffer.byteLength(text) };
      const options = { socketPath: this.socketPath, method, path, headers, agent: false as const };
      const sent = request({ ...options, ...(signal === undefined ? {} : { signal }) }, (response) => {
        let body = '';
        response.setEncoding('utf8').on('data', (chunk: string) => (body += chunk));
        response.on('end', () => {
          const type = response.headers['content-type'];
          resolve({ status: response.statusCode, type, body: JSON.parse(body) as unknown });
        });
      });
      sent.on('error', reject);
      sent.end(text);
    });
  }

  /** The body of a call's answer, which has to be 200. */
  async call(name: string, body: object, signal?: AbortSignal): Promise<unknown> {
    const answer = await this.send('POST', `/VolumeDriver.${name}`, JSON.stringify(body), signal);
    if (answer.status !== 200) throw new Error(`${name} answered ${answer.status}`);
    return answer.body;
  }

  async close(): Promise<void> {
    await this.#server?.close();
    await this.cluster.close();
  }
}

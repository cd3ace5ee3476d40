import { randomUUID } from 'node:crypto';
import { chmod, mkdir, mkdtemp, readdir, realpath, rm } from 'node:fs/promises';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type FakeFlocker, fakeFlocker } from '../../../client/testing/fake-flocker.ts';
import { systemClock } from '../../../kit/clock.ts';
import type { DatasetId, NodeId } from '../../../kit/ids.ts';
import { silentLogger } from '../../../kit/logger.ts';
import { openLedger } from '../../../volumes/ledger.ts';
import { openVolumes, type Volumes } from '../../../volumes/volumes.ts';
import type { OperatorSettings } from '../operator-rules.ts';
import { type IsolatorServer, type IsolatorServerOptions, serveIsolator } from '../serve-isolator.ts';

export interface Reply {
  readonly status: number | undefined;
  readonly body: unknown;
}

export interface LaunchReply {
  readonly clone_namespaces: readonly number[];
  readonly mounts: readonly { readonly source: string; readonly target: string; readonly flags: number }[];
}

const OPEN: OperatorSettings = { rules: undefined, allowedPaths: [], killTasksOfLostVolumes: false };

/** The isolator's API over a fake cluster whose volumes are plain directories. */
export class IsolatorBench {
  readonly directory: string;
  readonly flocker: FakeFlocker = fakeFlocker();
  readonly node: NodeId;
  readonly socketPath: string;
  #volumes: Volumes | undefined;
  #server: IsolatorServer | undefined;

  private constructor(directory: string) {
    this.directory = directory;
    this.socketPath = join(directory, 'run', 'isolator.sock');
    this.node = this.flocker.addNode();
  }

  static async start(settings: Partial<OperatorSettings> = {}): Promise<IsolatorBench> {
    const bench = new IsolatorBench(await mkdtemp(join(await realpath(tmpdir()), 'flocker-isolator-')));
    await bench.startAgent(settings);
    return bench;
  }

  get volumes(): Volumes {
    if (this.#volumes === undefined) throw new Error('the agent is not running');
    return this.#volumes;
  }

  /** Holders with their volumes: `mesos/<chain> <volume>`. */
  get holders(): string[] {
    return this.volumes
      .list()
      .flatMap(({ volume, holders }) => holders.map(({ holderId }) => `${holderId} ${volume}`))
      .sort();
  }

  /** Names of the volumes that were not deleted. */
  get names(): string[] {
    const all = [...this.flocker.cluster.datasets.values()].map(({ configuration }) => configuration);
    return all
      .filter(({ deleted }) => !deleted)
      .flatMap(({ metadata }) => metadata['name'] ?? [])
      .sort();
  }

  pathOf(id: DatasetId): string {
    return join(this.directory, 'volumes', id);
  }

  async startAgent(settings: Partial<OperatorSettings> = {}, more: Partial<IsolatorServerOptions> = {}): Promise<void> {
    const { client } = this.flocker;
    this.#volumes = openVolumes({
      client: {
        ...client,
        waitUntilMounted: async (id, ...rest) => {
          const mounted = await client.waitUntilMounted(id, ...rest);
          if ((await mkdir(this.pathOf(id), { recursive: true })) !== undefined) await chmod(this.pathOf(id), 0o777);
          return { ...mounted, path: this.pathOf(id) };
        },
      },
      nodeId: () => this.node,
      ledger: await openLedger(join(this.directory, 'ledger')),
      clock: systemClock,
      random: Math.random,
      newUuid: randomUUID,
      logger: silentLogger,
    });
    this.#server = await serveIsolator({
      volumes: this.#volumes,
      socketPath: this.socketPath,
      node: { id: this.node, hostname: 'agent-7' },
      settings: { ...OPEN, ...settings },
      clock: systemClock,
      logger: silentLogger,
      bootId: 'boot-1',
      lookMs: 50,
      ...more,
    });
  }

  async stopAgent(): Promise<void> {
    await this.#server?.close();
    await this.#volumes?.close();
    this.#server = undefined;
    this.#volumes = undefined;
  }

  call(method: string, body: unknown, signal?: AbortSignal): Promise<Reply> {
    return callIsolator(this.socketPath, method, body, signal);
  }

  async sandbox(id: string): Promise<string> {
    const sandbox = join(this.directory, 'sandboxes', id);
    await mkdir(sandbox, { recursive: true });
    return sandbox;
  }

  /** `prepare` of a command task with these variables. */
  async prepare(
    id: string,
    variables: Readonly<Record<string, string>>,
    config: Readonly<Record<string, unknown>> = {},
    more: Readonly<Record<string, unknown>> = {},
    signal?: AbortSignal,
  ): Promise<Reply> {
    const listed = Object.entries(variables).map(([name, value]) => ({ name, type: 'VALUE', value }));
    return this.call(
      'prepare',
      {
        container_id: { value: id },
        container_config: {
          directory: await this.sandbox(id),
          user: 'root',
          command_info: { environment: { variables: listed } },
          ...config,
        },
        ...more,
      },
      signal,
    );
  }

  /** Like `prepare`, for one that must succeed. */
  async prepared(...args: Parameters<IsolatorBench['prepare']>): Promise<LaunchReply> {
    const { status, body } = await this.prepare(...args);
    if (status !== 200) throw new Error(JSON.stringify(body));
    return body as LaunchReply;
  }

  cleanup(id: string): Promise<Reply> {
    return this.call('cleanup', { container_id: { value: id } });
  }

  /** What is in the sandbox of a container. */
  async inSandbox(id: string): Promise<string[]> {
    return readdir(await this.sandbox(id));
  }

  async close(): Promise<void> {
    await this.stopAgent();
    this.flocker.close();
    await rm(this.directory, { recursive: true, force: true });
  }
}

/** One call as the module makes it: one request on a connection of its own. */
export function callIsolator(socketPath: string, method: string, body: unknown, signal?: AbortSignal): Promise<Reply> {
  const text = typeof body === 'string' ? body : JSON.stringify(body);
  return new Promise((resolve, reject) => {
    const headers = {
      'content-type': 'application/json',
      'content-length': Buffer.byteLength(text),
      connection: 'close',
    };
    const options = { socketPath, path: `/v1/isolator/${method}`, method: 'POST', headers, agent: false as const };
    const sent = request(signal === undefined ? options : { ...options, signal }, (response) => {
      let answer = '';
      response.setEncoding('utf8').on('data', (chunk: string) => {
        answer += chunk;
      });
      response.on('end', () =>
        resolve({ status: response.statusCode, body: answer === '' ? null : (JSON.parse(answer) as unknown) }),
      );
      response.on('error', reject);
    });
    sent.on('error', reject);
    sent.end(text);
  });
}

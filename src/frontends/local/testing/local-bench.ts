import { type ChildProcess, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type FakeFlocker, fakeFlocker } from '../../../client/testing/fake-flocker.ts';
import { systemClock } from '../../../kit/clock.ts';
import type { DatasetId, NodeId } from '../../../kit/ids.ts';
import { silentLogger } from '../../../kit/logger.ts';
import { openLedger } from '../../../volumes/ledger.ts';
import { openVolumes, type Volumes } from '../../../volumes/volumes.ts';
import { LocalClient } from '../local-client.ts';
import { ProcessTable } from '../process-table.ts';
import { type LocalServer, serveLocal } from '../serve-local.ts';

const BUILT = fileURLToPath(new URL('../../../../dist/src/frontends/local/', import.meta.url));

/** The compiled room, for processes that are to be killed; undefined before a build. */
export const builtRoom = existsSync(join(BUILT, 'run.js')) ? BUILT : undefined;

/** As the command line will do it: volumes up to `--`, then the command. */
const RUNNER = `
  import { spawn } from 'node:child_process';
  import { randomUUID } from 'node:crypto';
  const [room, socketPath, ...rest] = process.argv.slice(1);
  const { runWithVolumes } = await import(room + 'run.js');
  const { LocalClient } = await import(room + 'local-client.js');
  const { parseVolumeArguments } = await import(room + 'volume-argument.js');
  const { systemClock } = await import(room + '../../kit/clock.js');
  const cut = rest.indexOf('--');
  const world = {
    client: new LocalClient(socketPath), spawn, signals: process, inForeground: () => false, env: process.env,
    workingDirectory: process.cwd(), isRoot: process.getuid() === 0, pid: process.pid, clock: systemClock,
    newUuid: randomUUID, say: (line) => console.error('flocker: ' + line),
  };
  try {
    const volumes = parseVolumeArguments(rest.slice(0, cut));
    process.exitCode = await runWithVolumes({ volumes, command: rest.slice(cut + 1), timeoutMs: 5000 }, world);
  } catch (error) {
    console.error('flocker: ' + error.message);
    process.exitCode = 125;
  }
`;

export interface Ran {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A node agent's local API over a fake cluster whose volumes are plain directories. */
export class LocalBench {
  readonly directory: string;
  readonly flocker: FakeFlocker = fakeFlocker();
  readonly socketPath: string;
  readonly client: LocalClient;
  readonly #node: NodeId;
  readonly #children = new Set<ChildProcess>();
  #volumes: Volumes | undefined;
  #server: LocalServer | undefined;

  private constructor(directory: string) {
    this.directory = directory;
    this.socketPath = join(directory, 'run', 'agent.sock');
    this.client = new LocalClient(this.socketPath);
    this.#node = this.flocker.addNode();
  }

  static async start(): Promise<LocalBench> {
    const bench = new LocalBench(await mkdtemp(join(tmpdir(), 'flocker-local-')));
    await bench.startAgent();
    return bench;
  }

  get volumes(): Volumes {
    if (this.#volumes === undefined) throw new Error('the agent is not running');
    return this.#volumes;
  }

  get holders(): string[] {
    return this.volumes.list().flatMap(({ holders }) => holders.map((one) => one.holderId));
  }

  pathOf(id: DatasetId): string {
    return join(this.directory, 'volumes', id);
  }

  async startAgent(): Promise<void> {
    const { client } = this.flocker;
    this.#volumes = openVolumes({
      client: {
        ...client,
        waitUntilMounted: async (id, ...rest) => {
          const mounted = await client.waitUntilMounted(id, ...rest);
          await mkdir(this.pathOf(id), { recursive: true });
          return { ...mounted, path: this.pathOf(id) };
        },
      },
      nodeId: () => this.#node,
      ledger: await openLedger(join(this.directory, 'ledger')),
      clock: systemClock,
      random: Math.random,
      newUuid: randomUUID,
      logger: silentLogger,
    });
    this.#server = await serveLocal({
      volumes: this.#volumes,
      socketPath: this.socketPath,
      processes: new ProcessTable(),
      clock: systemClock,
      logger: silentLogger,
      returnMs: 1_000,
      lookMs: 100,
    });
  }

  async stopAgent(): Promise<void> {
    await this.#server?.close();
    await this.#volumes?.close();
    this.#server = undefined;
    this.#volumes = undefined;
  }

  /** Starts `flocker run` as a process of its own. */
  run(
    volumes: readonly string[],
    command: readonly string[],
    more: { env?: NodeJS.ProcessEnv; cwd?: string } = {},
  ): { readonly child: ChildProcess; readonly done: Promise<Ran> } {
    const args = ['--input-type=module', '-e', RUNNER, BUILT, this.socketPath, ...volumes, '--', ...command];
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'], ...more });
    this.#children.add(child);
    const output = { stdout: '', stderr: '' };
    child.stdout?.setEncoding('utf8').on('data', (chunk: string) => (output.stdout += chunk));
    child.stderr?.setEncoding('utf8').on('data', (chunk: string) => (output.stderr += chunk));
    const done = once(child, 'close').then(([status, signal]): Ran => {
      this.#children.delete(child);
      return { status: status as number | null, signal: signal as NodeJS.Signals | null, ...output };
    });
    return { child, done };
  }

  async close(): Promise<void> {
    for (const child of this.#children) child.kill('SIGKILL');
    await this.stopAgent();
    this.flocker.close();
    await rm(this.directory, { recursive: true, force: true });
  }
}

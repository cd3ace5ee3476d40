import { type ChildProcess, spawn } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { Clock } from '../../../kit/clock.ts';
import { orAbort, withDeadline } from '../../../kit/deadline.ts';
import { SYSTEM_ENVIRONMENT } from '../../host/run-program.ts';
import { askSocket } from './admin-socket.ts';
import type { FuseProcess, FuseProcesses } from './fuse-processes.ts';
import type { ImagePlace } from './image-record.ts';
import type { CephAccess } from './librados.ts';

/** Beside this file; where the sources themselves run, in tests, what was built of them. */
const PROGRAM = fileURLToPath(
  new URL(
    import.meta.url.endsWith('.ts') ? '../../../../dist/src/agent/backends/ceph/serve-image.js' : './serve-image.js',
    import.meta.url,
  ),
);
/** One waits for the kernel, the others for the cluster. */
const THREADS = '20';
const START_TIMEOUT_MS = 40_000;
const COMMAND_TIMEOUT_MS = 30_000;

/** A process that was started and serves nothing yet. */
export interface StartedServer extends FuseProcess {
  readonly address: string;
  /** Opens the image, locked; returns the path of its block device. */
  serve(signal: AbortSignal): Promise<string>;
  /** The device goes, and the process ends, with the last use from now on. */
  release(): Promise<void>;
}

export interface ImageServersOptions {
  readonly access: CephAccess;
  readonly clock: Clock;
}

/** Starts and asks the processes that serve images as block devices ({@link file://./serve-image.ts}). */
export class ImageServers {
  readonly #processes: FuseProcesses;
  readonly #options: ImageServersOptions;

  constructor(processes: FuseProcesses, options: ImageServersOptions) {
    this.#processes = processes;
    this.#options = options;
  }

  /**
   * Starts one, which goes on when this process ends. `mountPoint` is what it is found by. What is written to a `new` image fails where the
   * cluster is full, and else waits.
   */
  async start(
    { pool, image }: ImagePlace,
    mountPoint: string,
    signal: AbortSignal,
    { isNew = false }: { readonly isNew?: boolean } = {},
  ): Promise<StartedServer> {
    const { access, clock } = this.#options;
    const token = this.#processes.newToken();
    const socket = this.#processes.socket(token);
    await mkdir(dirname(socket), { recursive: true, mode: 0o700 });
    const keyring = access.keyringPath === null ? [] : [`--keyring=${access.keyringPath}`];
    const parameters = [
      ...['--max-semi-space-size=2', PROGRAM, `--admin_socket=${socket}`, `--conf=${access.confPath}`],
      ...[`--client=${access.client}`, ...keyring, `--pool=${pool}`, `--image=${image}`],
      ...[...(isNew ? ['--new'] : []), mountPoint],
    ];
    const child = spawn(process.execPath, parameters, {
      stdio: ['pipe', 'pipe', 'ignore'],
      env: { ...SYSTEM_ENVIRONMENT, UV_THREADPOOL_SIZE: THREADS, MALLOC_ARENA_MAX: '2' },
      cwd: '/',
      detached: true,
    });
    const lines = linesOf(child);
    const answer = async (key: string, until: AbortSignal): Promise<string> =>
      await withDeadline(clock, START_TIMEOUT_MS, `serving image ${image}`, until, async (limit) => {
        const said = await orAbort(lines(), limit);
        const value = said[key];
        if (typeof value === 'string') return value;
        const { code, message } = (said['error'] ?? {}) as { readonly code?: string; readonly message?: string };
        throw Object.assign(new Error(message ?? `what serves image ${image} ended at once`), { code });
      });
    const release = async (): Promise<void> => {
      child.stdin?.end();
      child.stdout?.destroy();
      child.unref();
    };
    try {
      const address = await answer('address', signal);
      return {
        ...{ pid: child.pid ?? 0, mountPoint, token, address, release },
        serve: async (until) => {
          child.stdin?.write('serve\n');
          return await answer('device', until);
        },
      };
    } catch (error) {
      child.kill('SIGKILL');
      throw error;
    }
  }

  /** Makes a served image larger, and its block device with it once that is asked to look. */
  async grow(process: FuseProcess, sizeBytes: number, signal: AbortSignal): Promise<void> {
    await this.#ask(process, { prefix: 'grow', sizeBytes }, signal);
  }

  /** Takes a snapshot of a served image; fine when there is one of that name. */
  async takeSnapshot(process: FuseProcess, name: string, signal: AbortSignal): Promise<void> {
    await this.#ask(process, { prefix: 'takeSnapshot', name }, signal);
  }

  async removeSnapshot(process: FuseProcess, name: string, signal: AbortSignal): Promise<void> {
    await this.#ask(process, { prefix: 'removeSnapshot', name }, signal);
  }

  async #ask(
    { token, mountPoint }: FuseProcess,
    request: Readonly<Record<string, unknown>>,
    signal: AbortSignal,
  ): Promise<void> {
    const what = `asking what serves ${mountPoint}`;
    const text = await withDeadline(this.#options.clock, COMMAND_TIMEOUT_MS, what, signal, (limit) =>
      askSocket(this.#processes.socket(token), request, limit),
    );
    const { error } = JSON.parse(text) as { readonly error?: string };
    if (error !== undefined) throw new Error(error);
  }
}

/** What a process says, line by line; an empty object when it has ended. */
function linesOf(child: ChildProcess): () => Promise<Readonly<Record<string, unknown>>> {
  child.on('error', () => undefined);
  child.stdin?.on('error', () => undefined);
  if (child.stdout === null) throw new Error('the process has no output');
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return async () => {
    const next = await lines.next();
    return next.done === true ? {} : (JSON.parse(next.value) as Readonly<Record<string, unknown>>);
  };
}

import { readdirSync, readFileSync } from 'node:fs';
import { mkdir, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { basename, join } from 'node:path';
import { kill } from 'node:process';
import { type Clock, pause } from '../../../kit/clock.ts';
import { errorCode } from '../../../kit/coded-error.ts';
import { withDeadline } from '../../../kit/deadline.ts';
import type { NewUuid } from '../../../kit/ids.ts';
import { runProgram } from '../../host/run-program.ts';
import type { CephAccess } from './librados.ts';

const PROGRAM = { name: 'ceph-fuse', debianPackage: 'ceph-fuse' };
const START_TIMEOUT_MS = 30_000;
const STATUS_TIMEOUT_MS = 2_000;
const POLL_MS = 4;

/** A process that serves one mount. It outlives the agent that started it. */
export interface FuseProcess {
  readonly pid: number;
  readonly mountPoint: string;
  /** Unique to the process; the name of its socket. */
  readonly token: string;
}

/** What such a process says of its client. */
export interface ClientStatus {
  readonly address: string;
  /** The cluster has cut it off for good: its mount fails with ESHUTDOWN or ENOTCONN. */
  readonly isCutOff: boolean;
}

export interface FuseOptions {
  readonly access: CephAccess;
  readonly filesystem: string;
  /** Where the sockets of the processes are; short, as paths of sockets are. */
  readonly socketDirectory: string;
  readonly clock: Clock;
  readonly newUuid: NewUuid;
}

/** Starts and finds the processes of `ceph-fuse`. */
export class CephFuse {
  readonly #options: FuseOptions;

  constructor(options: FuseOptions) {
    this.#options = options;
  }

  /** Mounts `cephPath` at a directory; resolves when it is mounted. The process goes on when this one ends. */
  async start(cephPath: string, mountPoint: string, signal: AbortSignal): Promise<FuseProcess & ClientStatus> {
    const { access, filesystem, socketDirectory, clock, newUuid } = this.#options;
    await mkdir(socketDirectory, { recursive: true, mode: 0o700 });
    const token = newUuid().replaceAll('-', '').slice(0, 16);
    const keyring = access.keyringPath === null ? [] : ['--keyring', access.keyringPath];
    const parameters = [
      ...['--conf', access.confPath, '--name', access.client, ...keyring],
      ...[`--client_fs=${filesystem}`, `--client_mountpoint=${cephPath}`],
      `--admin_socket=${this.#socket(token)}`,
      // It writes what was not synced within seconds; with the default a volume may hold back 100 MB.
      '--client_oc_size=67108864',
      '--client_mount_timeout=20',
      // With the first use of a pool it would ask for the right to write by writing, and in a cluster that is full wait even to read.
      '--client_check_pool_perm=false',
      mountPoint,
    ];
    try {
      await runProgram(PROGRAM, parameters, { clock, signal, timeoutMs: START_TIMEOUT_MS });
      const process = (await this.at(mountPoint)).find((one) => one.token === token);
      const status = process === undefined ? undefined : await this.status(process);
      if (process === undefined || status === undefined) {
        throw new Error(`ceph-fuse ended at once; see what it wrote to the log file that ceph.conf names`);
      }
      return { ...process, ...status };
    } catch (error) {
      for (const process of await this.at(mountPoint)) if (process.token === token) this.kill(process);
      throw error;
    }
  }

  /** Processes that serve mounts, or are about to, and have their sockets where this node's are. */
  async running(): Promise<readonly FuseProcess[]> {
    return readdirSync('/proc').flatMap((name) => {
      if (!/^\d+$/.test(name)) return [];
      const words = commandLine(name);
      const socket = words.find((word) => word.startsWith('--admin_socket='))?.slice('--admin_socket='.length);
      const mountPoint = words.at(-1);
      const isOurs = words.some((word) => basename(word) === PROGRAM.name) && mountPoint !== undefined;
      if (!isOurs || socket === undefined || this.#socket(basename(socket, '.asok')) !== socket) return [];
      return [{ pid: Number(name), mountPoint, token: basename(socket, '.asok') }];
    });
  }

  async at(mountPoint: string): Promise<readonly FuseProcess[]> {
    return (await this.running()).filter((process) => process.mountPoint === mountPoint);
  }

  /** Undefined when the process does not answer: it has ended, or waits for the cluster. */
  async status(process: FuseProcess): Promise<ClientStatus | undefined> {
    const what = `asking ceph-fuse of ${process.mountPoint}`;
    const answer = await withDeadline(this.#options.clock, STATUS_TIMEOUT_MS, what, undefined, (signal) =>
      askSocket(this.#socket(process.token), 'status', signal),
    ).catch(() => undefined);
    // One that ends answers that it does not know the command (any more).
    if (answer?.startsWith('{') !== true) return undefined;
    const { addr_str, blocklisted } = JSON.parse(answer) as { addr_str?: unknown; blocklisted?: unknown };
    // Only with the whole of it another node could cut this client off.
    if (typeof addr_str !== 'string' || typeof blocklisted !== 'boolean') {
      throw new Error('this ceph-fuse does not tell its address and whether it is blocked: it is older than Ceph 16');
    }
    return { address: addr_str, isCutOff: blocklisted };
  }

  kill({ pid }: FuseProcess): void {
    try {
      kill(pid, 'SIGKILL');
    } catch (error) {
      if (errorCode(error) !== 'ESRCH') throw error;
    }
  }

  /** Waits until processes have ended; returns those that have not in that time. It is not their parent, so nobody tells it. */
  async ended(
    processes: readonly FuseProcess[],
    timeoutMs: number,
    signal: AbortSignal,
  ): Promise<readonly FuseProcess[]> {
    const { clock } = this.#options;
    const untilMs = clock.monotonicMs() + timeoutMs;
    for (let left = processes; ; ) {
      left = left.filter(({ pid, token }) => commandLine(String(pid)).some((word) => word.includes(token)));
      if (left.length === 0 || clock.monotonicMs() > untilMs) {
        const gone = processes.filter((process) => !left.includes(process));
        await Promise.all(gone.map(({ token }) => rm(this.#socket(token), { force: true })));
        return left;
      }
      await pause(clock, POLL_MS, signal);
    }
  }

  #socket(token: string): string {
    return join(this.#options.socketDirectory, `${token}.asok`);
  }
}

/** Empty when there is no such process, or only what is left of it for its parent. */
function commandLine(pid: string): readonly string[] {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').slice(0, -1);
  } catch {
    return [];
  }
}

/** Ceph's admin socket: a command that ends with a zero byte; the answer's length in four bytes, and the answer. */
function askSocket(path: string, prefix: string, signal: AbortSignal): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    const abort = (): void => void socket.destroy(signal.reason as Error);
    signal.addEventListener('abort', abort, { once: true });
    const parts: Buffer[] = [];
    socket.on('connect', () => socket.write(`${JSON.stringify({ prefix, format: 'json' })}\0`));
    socket.on('data', (part: Buffer) => parts.push(part));
    socket.on('error', reject);
    socket.on('close', () => {
      signal.removeEventListener('abort', abort);
      const whole = Buffer.concat(parts);
      if (whole.length >= 4 && whole.length === 4 + whole.readUInt32BE(0)) resolve(whole.toString('utf8', 4));
      else reject(new Error(`${path} gave no whole answer`));
    });
  });
}

import { readdirSync, readFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { kill } from 'node:process';
import { type Clock, pause } from '../../../kit/clock.ts';
import { errorCode } from '../../../kit/coded-error.ts';
import { withDeadline } from '../../../kit/deadline.ts';
import type { NewUuid } from '../../../kit/ids.ts';
import { askSocket } from './admin-socket.ts';

/** Names of what serves mounts, among the words of their command lines. */
const PROGRAMS: ReadonlySet<string> = new Set(['ceph-fuse', 'serve-image.js']);
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
  /** The cluster has cut it off for good: its mount fails. */
  readonly isCutOff: boolean;
}

/** One that was started for a mount. */
export interface StartedProcess extends FuseProcess {
  readonly address: string;
  /** It serves an RBD image, and not a directory of CephFS. */
  readonly isOfImage?: boolean;
  /** Makes it serve, and makes the mount; absent where it has done so already. */
  readonly complete?: () => Promise<void>;
  /** Lets it end with the last use from now on; absent where it does so anyhow. */
  readonly release?: () => Promise<void>;
}

export interface FuseProcessesOptions {
  /** Where the sockets of the processes are; short, as paths of sockets are. */
  readonly socketDirectory: string;
  readonly clock: Clock;
  readonly newUuid: NewUuid;
}

/** The processes of this node that serve mounts, found by their command lines: a socket of ours, and the mount point as the last word. */
export class FuseProcesses {
  readonly #options: FuseProcessesOptions;

  constructor(options: FuseProcessesOptions) {
    this.#options = options;
  }

  newToken(): string {
    return this.#options.newUuid().replaceAll('-', '').slice(0, 16);
  }

  socket(token: string): string {
    return join(this.#options.socketDirectory, `${token}.asok`);
  }

  /** Processes that serve mounts, or are about to, and have their sockets where this node's are. */
  async running(): Promise<readonly FuseProcess[]> {
    return readdirSync('/proc').flatMap((name) => {
      if (!/^\d+$/.test(name)) return [];
      const words = commandLine(name);
      const socket = words.find((word) => word.startsWith('--admin_socket='))?.slice('--admin_socket='.length);
      const mountPoint = words.at(-1);
      const isOurs = words.some((word) => PROGRAMS.has(basename(word))) && mountPoint !== undefined;
      if (!isOurs || socket === undefined || this.socket(basename(socket, '.asok')) !== socket) return [];
      return [{ pid: Number(name), mountPoint, token: basename(socket, '.asok') }];
    });
  }

  async at(mountPoint: string): Promise<readonly FuseProcess[]> {
    return (await this.running()).filter((process) => process.mountPoint === mountPoint);
  }

  /** Undefined when the process does not answer: it has ended, or waits for the cluster. */
  async status(process: FuseProcess): Promise<ClientStatus | undefined> {
    const what = `asking what serves ${process.mountPoint}`;
    const answer = await withDeadline(this.#options.clock, STATUS_TIMEOUT_MS, what, undefined, (signal) =>
      askSocket(this.socket(process.token), { prefix: 'status' }, signal),
    ).catch(() => undefined);
    // One that is ending says "ERROR: (22) Invalid argument".
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
        await Promise.all(gone.map(({ token }) => rm(this.socket(token), { force: true })));
        return left;
      }
      await pause(clock, POLL_MS, signal);
    }
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

import { mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Clock } from '../../../kit/clock.ts';
import { runProgram } from '../../host/run-program.ts';
import type { FuseProcesses, StartedProcess } from './fuse-processes.ts';
import type { CephAccess } from './librados.ts';

const PROGRAM = { name: 'ceph-fuse', debianPackage: 'ceph-fuse' };
const START_TIMEOUT_MS = 30_000;

export interface FuseOptions {
  readonly access: CephAccess;
  readonly filesystem: string;
  readonly clock: Clock;
}

/** Starts `ceph-fuse`. */
export class CephFuse {
  readonly #processes: FuseProcesses;
  readonly #options: FuseOptions;

  constructor(processes: FuseProcesses, options: FuseOptions) {
    this.#processes = processes;
    this.#options = options;
  }

  /** Mounts `cephPath` at a directory; resolves when it is mounted. The process goes on when this one ends. */
  async start(cephPath: string, mountPoint: string, signal: AbortSignal): Promise<StartedProcess> {
    const { access, filesystem, clock } = this.#options;
    const processes = this.#processes;
    const token = processes.newToken();
    await mkdir(dirname(processes.socket(token)), { recursive: true, mode: 0o700 });
    const keyring = access.keyringPath === null ? [] : ['--keyring', access.keyringPath];
    const parameters = [
      ...['--conf', access.confPath, '--name', access.client, ...keyring],
      ...[`--client_fs=${filesystem}`, `--client_mountpoint=${cephPath}`],
      `--admin_socket=${processes.socket(token)}`,
      // It writes what was not synced within seconds; with the default a volume may hold back 100 MB.
      '--client_oc_size=67108864',
      '--client_mount_timeout=20',
      // With the first use of a pool it would ask for the right to write by writing, and in a cluster that is full wait even to read.
      '--client_check_pool_perm=false',
      mountPoint,
    ];
    try {
      await runProgram(PROGRAM, parameters, { clock, signal, timeoutMs: START_TIMEOUT_MS });
      const process = (await processes.at(mountPoint)).find((one) => one.token === token);
      const status = process === undefined ? undefined : await processes.status(process);
      if (process === undefined || status === undefined) {
        throw new Error(`ceph-fuse ended at once; see what it wrote to the log file that ceph.conf names`);
      }
      return { ...process, address: status.address };
    } catch (error) {
      for (const process of await processes.at(mountPoint)) if (process.token === token) processes.kill(process);
      throw error;
    }
  }
}

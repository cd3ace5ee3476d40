import { mkdir, realpath } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { Clock } from '../../../kit/clock.ts';
import { withDeadline } from '../../../kit/deadline.ts';
import { readMountTable } from '../../host/mount-table.ts';
import type { CephFuse } from './ceph-fuse.ts';
import type { FuseMounts } from './fuse-mounts.ts';

export interface PoolMountOptions {
  /** Directory of CephFS. */
  readonly root: string;
  readonly mountPoint: string;
  readonly clock: Clock;
}

const TIMEOUT_MS = 60_000;

/** The node's own mount of the pool, through which its agent moves volumes. It stays when the agent ends. */
export class PoolMount {
  readonly #mounts: FuseMounts;
  readonly #fuse: CephFuse;
  readonly #options: PoolMountOptions;
  #underWay: Promise<void> | undefined;

  constructor(mounts: FuseMounts, fuse: CephFuse, options: PoolMountOptions) {
    this.#mounts = mounts;
    this.#fuse = fuse;
    this.#options = options;
  }

  /**
   * Makes sure that the pool is mounted. Where the cluster has cut this node off (as it was taken for dead, or was away for long), what is
   * left of its mounts is taken away and the pool is mounted anew: who has which volume is in the pool.
   */
  async ready(): Promise<void> {
    this.#underWay ??= this.#ready().finally(() => {
      this.#underWay = undefined;
    });
    await this.#underWay;
  }

  async close(signal: AbortSignal): Promise<void> {
    await this.#mounts.unmount({ what: 'pool', mountPoint: await this.#realMountPoint() }, signal);
  }

  async #ready(): Promise<void> {
    const mountPoint = await this.#realMountPoint();
    if (await this.#mounts.isLive(mountPoint, await readMountTable())) return;
    const { root, clock } = this.#options;
    await withDeadline(clock, TIMEOUT_MS, `mounting ${root}`, undefined, async (signal) => {
      await this.#mounts.clearCutOff();
      await this.#mounts.mount({ what: 'pool', mountPoint }, (at, until) => this.#fuse.start(root, at, until), signal);
    });
  }

  /** The kernel names mounts by their real path; the mount point itself may be dead. */
  async #realMountPoint(): Promise<string> {
    const { mountPoint } = this.#options;
    const parent = dirname(mountPoint);
    await mkdir(parent, { recursive: true, mode: 0o700 });
    return join(await realpath(parent), basename(mountPoint));
  }
}

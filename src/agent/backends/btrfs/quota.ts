import type { VolumeUsage } from '../../../model/storage-state.ts';
import type { Btrfs } from '../../host/btrfs.ts';
import type { BtrfsSpace } from '../../host/btrfs-space.ts';
import { BackendError } from '../backend.ts';
import type { BtrfsSettings } from './settings.ts';

/** The limits of the volumes of a pool, kept by the quota of its filesystem. */
export class Quota {
  readonly #btrfs: Btrfs;
  readonly #space: BtrfsSpace;
  readonly #enforced: boolean;

  private constructor(btrfs: Btrfs, space: BtrfsSpace, enforced: boolean) {
    this.#btrfs = btrfs;
    this.#space = space;
    this.#enforced = enforced;
  }

  /** Turns quotas on in the mode asked for. Fails when the filesystem has them in the other one. */
  static async open(btrfs: Btrfs, space: BtrfsSpace, wanted: BtrfsSettings['quota'], rootPath: string): Promise<Quota> {
    if (wanted === 'none') return new Quota(btrfs, space, false);
    if ((await space.quotaMode()) === null) await btrfs.enableQuota(rootPath, wanted);
    const mode = await space.quotaMode();
    if (mode === wanted) return new Quota(btrfs, space, true);
    const advice =
      mode === null
        ? 'could not be turned on; see the kernel log'
        : `is in the mode ${mode}: set dataset.quota to ${mode}, or turn it off with "btrfs quota disable ${rootPath}" first`;
    throw new BackendError('pool_unreachable', `the quota of the btrfs at ${rootPath} ${advice}`);
  }

  /** Limits the volume whose subvolume is at `path`, mounted or not. */
  async limit(path: string, sizeBytes: number): Promise<void> {
    if (this.#enforced) await this.#btrfs.limitReferenced(path, sizeBytes);
  }

  /** How full a volume is; `poolAvailableBytes` bounds what its limit leaves. */
  async usage(path: string, poolAvailableBytes: number): Promise<VolumeUsage> {
    const id = this.#enforced ? await this.#btrfs.subvolumeId(path) : undefined;
    const bytes = id === undefined ? undefined : await this.#space.subvolumeBytes(id);
    if (bytes === undefined) return { usedBytes: null, availableBytes: poolAvailableBytes };
    const { referencedBytes, limitBytes } = bytes;
    const left = limitBytes === null ? poolAvailableBytes : Math.max(0, limitBytes - referencedBytes);
    return { usedBytes: referencedBytes, availableBytes: Math.min(left, poolAvailableBytes) };
  }
}

import { errorCode } from '../../../kit/coded-error.ts';
import type { VolumeUsage } from '../../../model/storage-state.ts';
import type { Btrfs } from '../../host/btrfs.ts';
import type { BtrfsSpace, SubvolumeBytes } from '../../host/btrfs-space.ts';
import { BackendError } from '../backend.ts';
import type { BtrfsSettings } from './settings.ts';

/** What btrfs reserves for the change of one subvolume, and for what tasks write meanwhile. */
const ROOM_BYTES = 64 * 2 ** 20;

/** The limits of the volumes of a pool, kept by the quota of its filesystem. */
export class Quota {
  readonly #btrfs: Btrfs;
  readonly #space: BtrfsSpace;
  readonly #rootPath: string;
  readonly #mode: BtrfsSettings['quota'];

  private constructor(btrfs: Btrfs, space: BtrfsSpace, rootPath: string, mode: BtrfsSettings['quota']) {
    this.#btrfs = btrfs;
    this.#space = space;
    this.#rootPath = rootPath;
    this.#mode = mode;
  }

  /** Turns quotas on in the mode asked for. Fails when the filesystem has them in the other one. */
  static async open(btrfs: Btrfs, space: BtrfsSpace, wanted: BtrfsSettings['quota'], rootPath: string): Promise<Quota> {
    if (wanted === 'none') return new Quota(btrfs, space, rootPath, wanted);
    if ((await space.quotaMode()) === null) await btrfs.enableQuota(rootPath, wanted);
    const mode = await space.quotaMode();
    if (mode === wanted) return new Quota(btrfs, space, rootPath, wanted);
    const advice =
      mode === null
        ? 'could not be turned on; see the kernel log'
        : `is in the mode ${mode}: set dataset.quota to ${mode}, or turn it off with "btrfs quota disable ${rootPath}" first`;
    throw new BackendError('pool_unreachable', `the quota of the btrfs at ${rootPath} ${advice}`);
  }

  get #enforced(): boolean {
    return this.#mode !== 'none';
  }

  /** Whether it is known what subvolumes share. */
  get countsShares(): boolean {
    return this.#mode === 'full';
  }

  /** What the subvolume at `path` refers to, as of the last transaction; undefined when what it shares is not known. */
  async shares(path: string): Promise<SubvolumeBytes | undefined> {
    const id = this.countsShares ? await this.#btrfs.subvolumeId(path) : undefined;
    return id === undefined ? undefined : await this.#space.subvolumeBytes(id);
  }

  /** Limits the volume whose subvolume is at `path`, mounted or not. */
  async limit(path: string, sizeBytes: number): Promise<void> {
    const id = this.#enforced ? await this.#btrfs.subvolumeId(path) : undefined;
    if (id !== undefined) await this.#btrfs.limitReferenced(this.#rootPath, id, sizeBytes);
  }

  /**
   * Does a step on the volume at `path` that itself takes a little metadata, also when the volume is full: the limit is
   * raised for the moment. If that moment is cut short, the next mount sets it again.
   */
  async withRoom(path: string, step: () => Promise<void>): Promise<void> {
    try {
      await step();
    } catch (error) {
      const id = errorCode(error) === 'EDQUOT' ? await this.#btrfs.subvolumeId(path) : undefined;
      const bytes = id === undefined ? undefined : await this.#space.subvolumeBytes(id);
      if (id === undefined || bytes === undefined || bytes.limitBytes === null) throw error;
      const { limitBytes, referencedBytes } = bytes;
      const raisedBytes = Math.max(limitBytes, referencedBytes) + ROOM_BYTES;
      await this.#btrfs.limitReferenced(this.#rootPath, id, raisedBytes);
      try {
        await step();
      } finally {
        await this.#btrfs.limitReferenced(this.#rootPath, id, limitBytes);
      }
    }
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

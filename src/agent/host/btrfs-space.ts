import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { errorCode } from '../../kit/coded-error.ts';
import type { BtrfsQuotaMode } from './btrfs.ts';

/** Copies that a block group profile keeps of each block. Those with parity keep one and can restore it. */
const COPIES: Readonly<Record<string, number>> = {
  ...{ single: 1, raid0: 1, dup: 2, raid1: 2, raid10: 2, raid1c3: 3, raid1c4: 4, raid5: 1, raid6: 1 },
};

/** Bytes of a subvolume as the quota counts them; they are as of the last transaction, at most half a minute old. */
export interface SubvolumeBytes {
  readonly referencedBytes: number;
  /** Of these, what nothing else refers to; known with full quotas only. */
  readonly exclusiveBytes: number;
  /** Null without a limit. */
  readonly limitBytes: number | null;
}

/** What the kernel publishes of a mounted btrfs under /sys: plain reads of memory, never of a disk. */
export class BtrfsSpace {
  readonly #directory: string;

  constructor(uuid: string) {
    this.#directory = join('/sys/fs/btrfs', uuid);
  }

  /** Null while quotas are off. */
  async quotaMode(): Promise<BtrfsQuotaMode | null> {
    const mode = await this.#text('qgroups/mode');
    if (mode === 'squota') return 'simple';
    if (mode === 'qgroup') return 'full';
    // Kernels before 6.7 know the full mode only, and have no such file.
    return (await this.#text('qgroups/enabled')) === '1' ? 'full' : null;
  }

  /** Undefined while quotas are off or the subvolume is not counted. */
  async subvolumeBytes(id: number): Promise<SubvolumeBytes | undefined> {
    const [referenced, exclusive, limit, flags] = await Promise.all([
      this.#text(`qgroups/0_${id}/referenced`),
      this.#text(`qgroups/0_${id}/exclusive`),
      this.#text(`qgroups/0_${id}/max_referenced`),
      this.#text(`qgroups/0_${id}/limit_flags`),
    ]);
    if (referenced === undefined || exclusive === undefined) return undefined;
    const limited = limit !== undefined && (Number(flags) & 1) === 1;
    return {
      referencedBytes: Number(referenced),
      exclusiveBytes: Number(exclusive),
      limitBytes: limited ? Number(limit) : null,
    };
  }

  /** Copies of each block of data; null when that is not the same for all. */
  async dataCopies(): Promise<number | null> {
    const entries = await readdir(join(this.#directory, 'allocation/data'), { withFileTypes: true }).catch(() => []);
    const profiles = entries.filter((entry) => entry.isDirectory()).map(({ name }) => COPIES[name] ?? null);
    const [first = null, ...others] = profiles;
    return others.every((copies) => copies === first) ? first : null;
  }

  /** Grows with every transaction; undefined when the kernel does not say. */
  async generation(): Promise<string | undefined> {
    return await this.#text('generation');
  }

  async #text(name: string): Promise<string | undefined> {
    try {
      return (await readFile(join(this.#directory, name), 'utf8')).trim();
    } catch (error) {
      if (errorCode(error) === 'ENOENT') return undefined;
      throw error;
    }
  }
}

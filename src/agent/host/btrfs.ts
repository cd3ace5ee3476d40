import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { type Clock, pause, systemClock } from '../../kit/clock.ts';
import { errorCode } from '../../kit/coded-error.ts';
import { parseAnyUuid } from '../../kit/ids.ts';
import type { Kernel } from './kernel.ts';

/** `<linux/btrfs.h>`. */
const START_SYNC = 0x8008_9418;
const WAIT_SYNC = 0x4008_9416;
const SUBVOL_CREATE = 0x5000_940e;
const SNAP_CREATE_V2 = 0x5000_9417;
const SNAP_DESTROY_V2 = 0x5000_943f;
const SUBVOL_GETFLAGS = 0x8008_9419;
const SUBVOL_SETFLAGS = 0x4008_941a;
const INO_LOOKUP = 0xd000_9412;
const FS_INFO = 0x8400_941f;
const QUOTA_CTL = 0xc010_9428;
const QGROUP_LIMIT = 0x8030_942b;
const GET_SUBVOL_INFO = 0x81f8_943c;

/** Size of `struct btrfs_ioctl_vol_args` and of its second version, and where the names in them begin. */
const ARGUMENT_BYTES = 4096;
const NAME_OFFSET = 8;
const NAME_OFFSET_V2 = 56;
const FLAGS_OFFSET_V2 = 16;
const SUBVOLUME_READ_ONLY = 2n;
const SUBVOLUME_BY_ID = 16n;
const LIMIT_REFERENCED = 1n;
const QUOTA_ENABLE = { full: 1n, simple: 4n } as const;
/** A commit takes some milliseconds; one that was not begun is asked for again after this long. */
const REMINDER_MS = 50;
/** Inode number of a subvolume's root directory. */
const ROOT_INODE = 256;

/** Size of `struct btrfs_ioctl_get_subvol_info_args`, and where in it the fields that matter here are. */
const INFO_BYTES = 504;
const INFO_FLAGS = 288;
const INFO_UUID = 296;
const INFO_RECEIVED_UUID = 328;
const INFO_MADE_IN = 352;
const UUID_BYTES = 16;

export type BtrfsQuotaMode = keyof typeof QUOTA_ENABLE;

/** A subvolume that does not change any more. */
export interface ReadOnlyVersion {
  /** Id of the subvolume, on its filesystem. */
  readonly id: number;
  /**
   * What send and receive know its content by, on every filesystem that has it: the uuid that it was received with, else its own
   * (`get_root_info` and `send_subvol_begin` in fs/btrfs/send.c).
   */
  readonly identity: string;
  /** The transaction that made it: later ones of a filesystem have higher numbers. */
  readonly madeIn: bigint;
}

/** What btrfs does beyond plain files, by system calls. Paths must not end in a symlink. Failures are `SystemCallError`s. */
export class Btrfs {
  readonly #kernel: Kernel;
  readonly #clock: Clock;
  #commit: Promise<void> | undefined;
  #nextCommit: Promise<void> | undefined;

  constructor(kernel: Kernel, clock: Clock = systemClock) {
    this.#kernel = kernel;
    this.#clock = clock;
  }

  /** UUID of the filesystem at `path`; undefined when it is not btrfs. */
  filesystemUuid(path: string): Promise<string | undefined> {
    return withDirectory(path, async ({ fd }) => {
      const argument = Buffer.alloc(1024);
      try {
        await this.#kernel.ioctl(fd, FS_INFO, argument);
      } catch (error) {
        if (errorCode(error) === 'ENOTTY') return undefined;
        throw error;
      }
      return parseAnyUuid(argument.toString('hex', 16, 32));
    });
  }

  /**
   * Makes everything that was changed in the filesystem's structure so far durable; file contents are not waited for. For one
   * filesystem only: those who come while a commit is under way share the next, and so never occupy all of the process's
   * threads with waiting.
   */
  commit(path: string): Promise<void> {
    if (this.#commit === undefined) {
      const commit = this.#commitNow(path).finally(() => (this.#commit = undefined));
      this.#commit = commit;
      return commit;
    }
    const before = this.#commit;
    this.#nextCommit ??= before
      .catch(() => undefined)
      .then(() => {
        this.#nextCommit = undefined;
        return this.commit(path);
      });
    return this.#nextCommit;
  }

  #commitNow(path: string): Promise<void> {
    return withDirectory(path, async ({ fd }) => {
      const transaction = Buffer.alloc(8);
      await this.#kernel.ioctl(fd, START_SYNC, transaction);
      const over = new AbortController();
      const waiting = this.#kernel.ioctl(fd, WAIT_SYNC, transaction).finally(() => over.abort());
      // Both have ended before the directory is closed.
      const [waited] = await Promise.allSettled([waiting, this.#remind(fd, over.signal)]);
      if (waited.status === 'rejected') throw waited.reason;
    });
  }

  /**
   * START_SYNC wakes the kernel's commit thread. One that is just going to sleep misses that and sleeps for its whole interval,
   * 30 s, and so does who waits for it: the thread looks at what was asked for before it sleeps, but is not asleep yet
   * (transaction_kthread in fs/btrfs/disk-io.c). Seen with twenty volumes made at once.
   */
  async #remind(fd: number, over: AbortSignal): Promise<void> {
    for (;;) {
      const again = await pause(this.#clock, REMINDER_MS, over).then(
        () => true,
        () => false,
      );
      if (!again) return;
      await this.#kernel.ioctl(fd, START_SYNC, Buffer.alloc(8));
    }
  }

  /** Makes an empty subvolume. */
  createSubvolume(path: string): Promise<void> {
    return withDirectory(dirname(path), async ({ fd }) => {
      const argument = Buffer.alloc(ARGUMENT_BYTES);
      argument.write(basename(path), NAME_OFFSET);
      await this.#kernel.ioctl(fd, SUBVOL_CREATE, argument);
    });
  }

  /** Makes `path` a subvolume with what `source` holds now, what is still in the page cache included. */
  snapshot(source: string, path: string, kind: 'read-only' | 'writable'): Promise<void> {
    return withDirectory(source, (from) =>
      withDirectory(dirname(path), async ({ fd }) => {
        const argument = Buffer.alloc(ARGUMENT_BYTES);
        argument.writeBigInt64LE(BigInt(from.fd), 0);
        argument.writeBigUInt64LE(kind === 'read-only' ? SUBVOLUME_READ_ONLY : 0n, FLAGS_OFFSET_V2);
        argument.write(basename(path), NAME_OFFSET_V2);
        await this.#kernel.ioctl(fd, SNAP_CREATE_V2, argument);
      }),
    );
  }

  /** Id of the subvolume that begins at `path`; undefined when none does, or when nothing is there. */
  async subvolumeId(path: string): Promise<number | undefined> {
    try {
      return await withDirectory(path, async (directory) => {
        if ((await directory.stat()).ino !== ROOT_INODE) return undefined;
        const argument = Buffer.alloc(ARGUMENT_BYTES);
        argument.writeBigUInt64LE(BigInt(ROOT_INODE), 8);
        await this.#kernel.ioctl(directory.fd, INO_LOOKUP, argument);
        return Number(argument.readBigUInt64LE(0));
      });
    } catch (error) {
      if (['ENOENT', 'ENOTDIR', 'ELOOP'].includes(errorCode(error) ?? '')) return undefined;
      throw error;
    }
  }

  /** The subvolume that begins at `path`; undefined when none does, or it can be written to. */
  async readOnlyVersion(path: string): Promise<ReadOnlyVersion | undefined> {
    const id = await this.subvolumeId(path);
    if (id === undefined) return undefined;
    return await withDirectory(path, async ({ fd }) => {
      const argument = Buffer.alloc(INFO_BYTES);
      await this.#kernel.ioctl(fd, GET_SUBVOL_INFO, argument);
      // Here the flag is that of the item on disk, 1, not that of the system calls.
      if ((argument.readBigUInt64LE(INFO_FLAGS) & 1n) === 0n) return undefined;
      const [received, own] = [INFO_RECEIVED_UUID, INFO_UUID].map((at) => argument.subarray(at, at + UUID_BYTES));
      const bytes = received?.some((byte) => byte !== 0) === true ? received : own;
      const identity = parseAnyUuid(bytes?.toString('hex') ?? '');
      return identity === undefined ? undefined : { id, identity, madeIn: argument.readBigUInt64LE(INFO_MADE_IN) };
    });
  }

  /** Deletes the subvolume `id` of the filesystem at `path`; fine when it is gone. It must have none within it. */
  async destroySubvolume(path: string, id: number): Promise<void> {
    await withDirectory(path, async ({ fd }) => {
      const argument = Buffer.alloc(ARGUMENT_BYTES);
      argument.writeBigUInt64LE(SUBVOLUME_BY_ID, FLAGS_OFFSET_V2);
      argument.writeBigUInt64LE(BigInt(id), NAME_OFFSET_V2);
      try {
        await this.#kernel.ioctl(fd, SNAP_DESTROY_V2, argument);
      } catch (error) {
        if (errorCode(error) !== 'ENOENT') throw error;
      }
    });
  }

  isReadOnly(path: string): Promise<boolean> {
    return withDirectory(path, async ({ fd }) => ((await this.#flags(fd)) & SUBVOLUME_READ_ONLY) !== 0n);
  }

  /** Forbids or allows changes of a subvolume, durably. Files that are open for writing already stay so. */
  setReadOnly(path: string, readOnly: boolean): Promise<void> {
    return withDirectory(path, async ({ fd }) => {
      const before = await this.#flags(fd);
      const after = readOnly ? before | SUBVOLUME_READ_ONLY : before & ~SUBVOLUME_READ_ONLY;
      if (after === before) return;
      const argument = Buffer.alloc(8);
      argument.writeBigUInt64LE(after);
      await this.#kernel.ioctl(fd, SUBVOL_SETFLAGS, argument);
    });
  }

  /** How files that are made in the directory from now on are compressed: `none`, `lzo`, `zstd`. */
  setCompression(path: string, algorithm: string): Promise<void> {
    return withDirectory(path, ({ fd }) => this.#kernel.setAttribute(fd, 'btrfs.compression', algorithm));
  }

  /** Turns the quota of the filesystem on; changes nothing when it is on already. */
  enableQuota(path: string, mode: BtrfsQuotaMode): Promise<void> {
    return withDirectory(path, async ({ fd }) => {
      const argument = Buffer.alloc(16);
      argument.writeBigUInt64LE(QUOTA_ENABLE[mode]);
      await this.#kernel.ioctl(fd, QUOTA_CTL, argument);
    });
  }

  /**
   * Limits what subvolume `id` refers to, in bytes as stored, shared ones included. `path` is of the filesystem, but not in
   * that subvolume: once it is full, even this is refused from within.
   */
  limitReferenced(path: string, id: number, sizeBytes: number): Promise<void> {
    return withDirectory(path, async ({ fd }) => {
      const argument = Buffer.alloc(48);
      argument.writeBigUInt64LE(BigInt(id), 0);
      argument.writeBigUInt64LE(LIMIT_REFERENCED, 8);
      argument.writeBigUInt64LE(BigInt(sizeBytes), 16);
      await this.#kernel.ioctl(fd, QGROUP_LIMIT, argument);
    });
  }

  async #flags(fd: number): Promise<bigint> {
    const argument = Buffer.alloc(8);
    await this.#kernel.ioctl(fd, SUBVOL_GETFLAGS, argument);
    return argument.readBigUInt64LE();
  }
}

async function withDirectory<T>(path: string, use: (directory: FileHandle) => Promise<T>): Promise<T> {
  const directory = await open(path, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW);
  try {
    return await use(directory);
  } finally {
    await directory.close();
  }
}

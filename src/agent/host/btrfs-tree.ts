import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { errorCode } from '../../kit/coded-error.ts';
import type { Kernel } from './kernel.ts';

/** An item of one of the trees that a btrfs filesystem is made of. */
export interface BtrfsItem {
  readonly objectId: bigint;
  readonly type: number;
  readonly offset: bigint;
  readonly bytes: Buffer;
}

/** A place in a tree; items are ordered by object id, then type, then offset. */
export type BtrfsKey = Omit<BtrfsItem, 'bytes'>;

/** BTRFS_IOC_TREE_SEARCH_V2 of `<linux/btrfs.h>`. */
const TREE_SEARCH_V2 = 0xc070_9411;
const KEY_BYTES = 104;
const HEADER_BYTES = 32;
/** About a thousand items, half a millisecond of work for the kernel. */
const BUFFER_BYTES = 128 * 1024;
const HIGHEST = 2n ** 64n - 1n;

/** The tree of subvolumes, and the type of its items that lead from a subvolume to one within it. */
const ROOT_TREE = 1;
const ROOT_REF = 156;

/** Looks into the trees of the filesystem that an open file is on. Needs CAP_SYS_ADMIN. */
export class BtrfsTree {
  readonly #kernel: Kernel;

  constructor(kernel: Kernel) {
    this.#kernel = kernel;
  }

  /**
   * Items of tree `treeId` (a subvolume has the tree of its own id) between two keys, as many as one system call gives;
   * empty at the end. Undefined when there is no such tree any more.
   */
  async items(fd: number, treeId: number, from: BtrfsKey, to: BtrfsKey): Promise<readonly BtrfsItem[] | undefined> {
    const argument = Buffer.alloc(KEY_BYTES + 8 + BUFFER_BYTES);
    argument.writeBigUInt64LE(BigInt(treeId), 0);
    argument.writeBigUInt64LE(from.objectId, 8);
    argument.writeBigUInt64LE(to.objectId, 16);
    argument.writeBigUInt64LE(from.offset, 24);
    argument.writeBigUInt64LE(to.offset, 32);
    argument.writeBigUInt64LE(HIGHEST, 48);
    argument.writeUInt32LE(from.type, 56);
    argument.writeUInt32LE(to.type, 60);
    argument.writeUInt32LE(0xffff_ffff, 64);
    argument.writeBigUInt64LE(BigInt(BUFFER_BYTES), KEY_BYTES);
    try {
      await this.#kernel.ioctl(fd, TREE_SEARCH_V2, argument);
    } catch (error) {
      if (errorCode(error) === 'ENOENT') return undefined;
      throw error;
    }
    const items: BtrfsItem[] = [];
    let at = KEY_BYTES + 8;
    for (let left = argument.readUInt32LE(64); left > 0; left -= 1) {
      const bytesFrom = at + HEADER_BYTES;
      const bytesTo = bytesFrom + argument.readUInt32LE(at + 28);
      items.push({
        objectId: argument.readBigUInt64LE(at + 8),
        offset: argument.readBigUInt64LE(at + 16),
        type: argument.readUInt32LE(at + 24),
        bytes: argument.subarray(bytesFrom, bytesTo),
      });
      at = bytesTo;
    }
    return items;
  }

  /** Ids of all subvolumes within a subvolume, at any depth, each before those that it is in. */
  async subvolumesWithin(path: string, id: number): Promise<readonly number[]> {
    const directory = await open(path, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW);
    try {
      const found: number[] = [];
      const waiting = [id];
      for (let parent = waiting.pop(); parent !== undefined; parent = waiting.pop()) {
        const children = await this.#children(directory.fd, parent);
        found.push(...children);
        waiting.push(...children);
      }
      return found.toReversed();
    } finally {
      await directory.close();
    }
  }

  async #children(fd: number, parent: number): Promise<readonly number[]> {
    const place = { objectId: BigInt(parent), type: ROOT_REF };
    const children: number[] = [];
    for (let offset = 0n; ; ) {
      const items = await this.items(fd, ROOT_TREE, { ...place, offset }, { ...place, offset: HIGHEST });
      const last = items?.at(-1);
      if (items === undefined || last === undefined) return children;
      children.push(...items.map((item) => Number(item.offset)));
      offset = last.offset + 1n;
    }
  }
}

/** The first and the last place of any tree. */
export const FIRST_KEY: BtrfsKey = { objectId: 0n, type: 0, offset: 0n };
export const LAST_KEY: BtrfsKey = { objectId: HIGHEST, type: 255, offset: HIGHEST };

/** The place right after an item. */
export function keyAfter({ objectId, type, offset }: BtrfsKey): BtrfsKey {
  if (offset < HIGHEST) return { objectId, type, offset: offset + 1n };
  return type < 255 ? { objectId, type: type + 1, offset: 0n } : { objectId: objectId + 1n, type: 0, offset: 0n };
}

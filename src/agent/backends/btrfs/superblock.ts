import { type FileHandle, open, readFile } from 'node:fs/promises';
import { parseAnyUuid } from '../../../kit/ids.ts';

/** What the bytes at a path are. */
export type Superblock =
  | { readonly kind: 'btrfs'; readonly uuid: string }
  /** Nothing but zeros where filesystems, partition tables and volume managers leave their marks. */
  | { readonly kind: 'blank' }
  | { readonly kind: 'other' };

/** Where the first superblock is, and what is in it where. */
const SUPERBLOCK_OFFSET = 64 * 1024;
const MAGIC = '_BHRfS_M';
const MAGIC_OFFSET = SUPERBLOCK_OFFSET + 64;
const UUID_OFFSET = SUPERBLOCK_OFFSET + 32;
/** Partition tables and RAID superblocks also lie at the end of a disk. */
const EDGE_BYTES = 1024 * 1024;
/** Unit of sizes in /sys, whatever the device's own is. */
const SECTOR_BYTES = 512;

/** Reads what a file or a block device holds. */
export async function readSuperblock(path: string): Promise<Superblock> {
  const file = await open(path, 'r');
  try {
    const start = Buffer.alloc(EDGE_BYTES);
    await file.read(start, 0, EDGE_BYTES, 0);
    if (start.toString('latin1', MAGIC_OFFSET, MAGIC_OFFSET + MAGIC.length) === MAGIC) {
      return { kind: 'btrfs', uuid: parseAnyUuid(start.toString('hex', UUID_OFFSET, UUID_OFFSET + 16)) ?? '' };
    }
    if (start.some((byte) => byte !== 0)) return { kind: 'other' };
    const sizeBytes = await endOf(file);
    const end = Buffer.alloc(EDGE_BYTES);
    await file.read(end, 0, EDGE_BYTES, Math.max(0, sizeBytes - EDGE_BYTES));
    return { kind: end.some((byte) => byte !== 0) ? 'other' : 'blank' };
  } finally {
    await file.close();
  }
}

/** Bytes of a file or of a block device, whose own size in stat(2) is 0. */
async function endOf(file: FileHandle): Promise<number> {
  const stats = await file.stat({ bigint: true });
  if (!stats.isBlockDevice()) return Number(stats.size);
  const { rdev } = stats;
  const major = ((rdev >> 8n) & 0xfffn) | ((rdev >> 32n) & ~0xfffn);
  const minor = (rdev & 0xffn) | ((rdev >> 12n) & ~0xffn);
  return Number(await readFile(`/sys/dev/block/${major}:${minor}/size`, 'utf8')) * SECTOR_BYTES;
}

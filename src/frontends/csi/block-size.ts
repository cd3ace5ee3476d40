import { roundUp } from '../../kit/sizes.ts';
import { BLOCK_KEY, SIZE_STEP_BYTES } from '../../model/dataset.ts';
import type { Access } from './capabilities.ts';

/** Sizes of block volumes, and of the datasets they are in, are multiples of this many bytes: a block of any filesystem. */
const BLOCK_STEP_BYTES = 4096;

/** Sizes of volumes are multiples of this many bytes. */
export function stepOf(access: Access): number {
  return access === 'block' ? BLOCK_STEP_BYTES : SIZE_STEP_BYTES;
}

/**
 * What a filesystem needs beside a file that fills it: ext4 up to 2.5 % (inode tables, reserved clusters) and its journal,
 * xfs a log of 64 MiB and 0.8 %, and both some for the map of a file that was written in pieces.
 */
const MARGIN_BYTES = 96 * 2 ** 20;
const MARGIN_SHARE = 0.03;

/** Size of the dataset that a block volume of `blockBytes` needs, so that it can always be written in full. */
export function storageBytesFor(blockBytes: number): number {
  return blockBytes + MARGIN_BYTES + roundUp(blockBytes * MARGIN_SHARE, BLOCK_STEP_BYTES);
}

/** Size of the largest block volume that a dataset has room for: the inverse of {@link storageBytesFor}. */
export function blockBytesIn(storageBytes: number): number {
  const guess = (storageBytes - MARGIN_BYTES) / (1 + MARGIN_SHARE);
  let blockBytes = Math.max(0, roundUp(guess, BLOCK_STEP_BYTES) + BLOCK_STEP_BYTES);
  while (blockBytes > 0 && storageBytesFor(blockBytes) > storageBytes) blockBytes -= BLOCK_STEP_BYTES;
  return blockBytes;
}

export function blockMetadata(blockBytes: number | undefined): Record<string, string> {
  return blockBytes === undefined ? {} : { [BLOCK_KEY]: String(blockBytes) };
}

/**
 * Size of the block volume in a dataset with this metadata; undefined when it is none. Metadata stay as they were when it was
 * made, so that one which has grown since is known by the size of its dataset.
 */
export function blockBytesOf(
  metadata: Readonly<Record<string, string>>,
  storageBytes: number | null | undefined,
): number | undefined {
  const text = metadata[BLOCK_KEY];
  if (text === undefined || !/^\d{1,15}$/.test(text)) return undefined;
  return Math.max(Number(text), blockBytesIn(storageBytes ?? 0));
}

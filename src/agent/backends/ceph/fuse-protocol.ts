/**
 * What the kernel and who serves a filesystem say to each other through `/dev/fuse` (`<linux/fuse.h>`, fuse(4)), as far as one plain file
 * needs it. Numbers are in the machine's order, which is little-endian on all that Node runs on.
 */

/** Opcodes. */
export const FuseOp = {
  forget: 2,
  getAttributes: 3,
  open: 14,
  read: 15,
  write: 16,
  statFilesystem: 17,
  release: 18,
  fsync: 20,
  flush: 25,
  init: 26,
  interrupt: 36,
  destroy: 38,
  batchForget: 42,
  allocate: 43,
} as const;

const HEADER_IN_BYTES = 40;
const HEADER_OUT_BYTES = 16;
const WRITE_IN_BYTES = 40;
/** The kernel sends at most so many bytes with one request, and asks for at most so many. */
export const MAX_IO_BYTES = 2 ** 20;
/** What a request takes at most. */
export const REQUEST_BYTES = HEADER_IN_BYTES + WRITE_IN_BYTES + MAX_IO_BYTES + 4096;
/** FUSE_ASYNC_READ, FUSE_BIG_WRITES, FUSE_ASYNC_DIO, FUSE_MAX_PAGES. */
const WANTED_FLAGS = (1 << 0) | (1 << 5) | (1 << 15) | (1 << 22);
const PAGE_BYTES = 4096;
/** FOPEN_DIRECT_IO, FOPEN_PARALLEL_DIRECT_WRITES: nothing is cached between who reads and writes and who serves. */
const OPEN_FLAGS = (1 << 0) | (1 << 6);
/** FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE, FALLOC_FL_ZERO_RANGE. */
const KEEP_SIZE = 1;
const PUNCH_HOLE = 2;
const ZERO_RANGE = 16;
const S_IFREG = 0o100000;

export interface FuseRequest {
  readonly opcode: number;
  /** Names the request in its answer. */
  readonly unique: bigint;
  /** What follows the header. */
  readonly body: Buffer;
}

/** A part of the file. */
export interface Extent {
  readonly offset: number;
  readonly length: number;
}

export function parseRequest(message: Buffer): FuseRequest {
  const length = message.readUInt32LE(0);
  return {
    opcode: message.readUInt32LE(4),
    unique: message.readBigUInt64LE(8),
    body: message.subarray(HEADER_IN_BYTES, length),
  };
}

/** An answer with room for `length` bytes, which `bodyOf` gives. */
export function newAnswer(unique: bigint, length: number): Buffer {
  const answer = Buffer.alloc(HEADER_OUT_BYTES + length);
  answer.writeUInt32LE(answer.length, 0);
  answer.writeBigUInt64LE(unique, 8);
  return answer;
}

export function bodyOf(answer: Buffer): Buffer {
  return answer.subarray(HEADER_OUT_BYTES);
}

export function failure(unique: bigint, errno: number): Buffer {
  const answer = newAnswer(unique, 0);
  answer.writeInt32LE(-errno, 4);
  return answer;
}

/** Of a read or a write. */
export function extentOf({ body }: FuseRequest): Extent {
  return { offset: Number(body.readBigUInt64LE(8)), length: body.readUInt32LE(16) };
}

/** The bytes of a write. */
export function writtenBytes({ body }: FuseRequest): Buffer {
  return body.subarray(WRITE_IN_BYTES);
}

/** What an fallocate(2) wants to read as zeros; undefined when it wants something else. */
export function zeroedExtent({ body }: FuseRequest): Extent | undefined {
  const mode = body.readUInt32LE(24);
  const isZeroing = mode === (KEEP_SIZE | PUNCH_HOLE) || mode === (KEEP_SIZE | ZERO_RANGE) || mode === ZERO_RANGE;
  if (!isZeroing) return undefined;
  return { offset: Number(body.readBigUInt64LE(8)), length: Number(body.readBigUInt64LE(16)) };
}

export function initAnswer({ unique, body }: FuseRequest, requestsAtOnce: number): Buffer {
  const answer = newAnswer(unique, 64);
  const out = bodyOf(answer);
  out.writeUInt32LE(7, 0);
  // The minor version with the number of pages; an older kernel's is lower, and holds then.
  out.writeUInt32LE(Math.min(body.readUInt32LE(4), 31), 4);
  out.writeUInt32LE(body.readUInt32LE(8), 8);
  out.writeUInt32LE(body.readUInt32LE(12) & WANTED_FLAGS, 12);
  out.writeUInt16LE(requestsAtOnce, 16);
  out.writeUInt16LE(requestsAtOnce, 18);
  out.writeUInt32LE(MAX_IO_BYTES, 20);
  out.writeUInt32LE(1, 24);
  out.writeUInt16LE(MAX_IO_BYTES / PAGE_BYTES, 28);
  return answer;
}

/** What stat(2) says of the file. It holds for no time, so that a larger size is seen when it is asked for. */
export function attributesAnswer(unique: bigint, sizeBytes: number): Buffer {
  const answer = newAnswer(unique, 104);
  const attributes = bodyOf(answer).subarray(16);
  attributes.writeBigUInt64LE(1n, 0);
  attributes.writeBigUInt64LE(BigInt(sizeBytes), 8);
  attributes.writeUInt32LE(S_IFREG | 0o600, 60);
  attributes.writeUInt32LE(1, 64);
  attributes.writeUInt32LE(PAGE_BYTES, 80);
  return answer;
}

export function openAnswer(unique: bigint): Buffer {
  const answer = newAnswer(unique, 16);
  bodyOf(answer).writeUInt32LE(OPEN_FLAGS, 8);
  return answer;
}

export function writtenAnswer(unique: bigint, bytes: number): Buffer {
  const answer = newAnswer(unique, 8);
  bodyOf(answer).writeUInt32LE(bytes, 0);
  return answer;
}

/** What statfs(2) says. Of a loop device on the file, the kernel takes the block's size for the smallest room that can be given back. */
export function filesystemAnswer(unique: bigint, blockBytes: number): Buffer {
  const answer = newAnswer(unique, 80);
  const out = bodyOf(answer);
  out.writeUInt32LE(blockBytes, 40);
  out.writeUInt32LE(255, 44);
  out.writeUInt32LE(blockBytes, 48);
  return answer;
}

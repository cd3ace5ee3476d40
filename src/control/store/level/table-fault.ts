import { crc32c } from './crc32c.ts';

/** A block's place in the file, without its trailer. */
interface BlockHandle {
  readonly offset: number;
  readonly sizeBytes: number;
}

/** LevelDB's table format: blocks, each with a compression byte and a masked CRC-32C, then a footer of 48 bytes. */
const FOOTER_BYTES = 48;
const TRAILER_BYTES = 5;
const MAGIC = 0xdb4775248b80fb57n;
const UNCOMPRESSED = 0;

/**
 * What is wrong with the bytes of an LevelDB table file; undefined when nothing is. Every byte is covered: LevelDB itself
 * does not verify block checksums as classic-level opens it, and a wrong length in an index block makes it allocate
 * that many bytes, which ends the process.
 */
export function tableFault(table: Buffer): string | undefined {
  try {
    verify(table);
    return undefined;
  } catch (error) {
    if (error instanceof TableFault) return error.message;
    if (error instanceof RangeError) return 'a length in it points outside of it';
    throw error;
  }
}

class TableFault extends Error {}

function verify(table: Buffer): void {
  const footerAt = table.length - FOOTER_BYTES;
  if (footerAt < 0 || table.readBigUInt64LE(table.length - 8) !== MAGIC) throw new TableFault('its end is missing');
  const footer = new Cursor(table, footerAt, table.length - 8);
  const metaindex = footer.handle();
  const index = footer.handle();
  while (!footer.atEnd()) if (footer.byte() !== 0) throw new TableFault('its footer is altered');

  const blocks = [...handlesIn(table, index), ...handlesIn(table, metaindex), metaindex, index];
  let end = 0;
  for (const block of blocks.sort((a, b) => a.offset - b.offset)) {
    if (block.offset !== end) throw new TableFault(`its blocks do not follow each other at byte ${end}`);
    verifyBlock(table, block, footerAt);
    end = block.offset + block.sizeBytes + TRAILER_BYTES;
  }
  if (end !== footerAt) throw new TableFault(`its blocks do not follow each other at byte ${end}`);
}

function verifyBlock(table: Buffer, block: BlockHandle, footerAt: number): void {
  const end = block.offset + block.sizeBytes;
  if (end + TRAILER_BYTES > footerAt) throw new TableFault('a length in it points outside of it');
  const crc = crc32c(table, block.offset, end + 1);
  const masked = (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;
  if (table.readUInt32LE(end + 1) !== masked) throw new TableFault(`a checksum fails at byte ${block.offset}`);
}

/** The blocks that an index block names. Its checksum is verified first: its lengths are trusted afterwards. */
function handlesIn(table: Buffer, index: BlockHandle): BlockHandle[] {
  verifyBlock(table, index, table.length - FOOTER_BYTES);
  const end = index.offset + index.sizeBytes;
  if (table[end] !== UNCOMPRESSED) throw new TableFault('it is compressed, which this program never does');
  const restartsAt = end - 4 - 4 * table.readUInt32LE(end - 4);
  const cursor = new Cursor(table, index.offset, restartsAt);
  const handles: BlockHandle[] = [];
  while (!cursor.atEnd()) {
    cursor.varint();
    const keyBytes = cursor.varint();
    cursor.varint();
    cursor.skip(keyBytes);
    handles.push(cursor.handle());
  }
  return handles;
}

class Cursor {
  readonly #bytes: Buffer;
  readonly #end: number;
  #at: number;

  constructor(bytes: Buffer, start: number, end: number) {
    this.#bytes = bytes;
    this.#at = start;
    this.#end = end;
  }

  atEnd(): boolean {
    return this.#at >= this.#end;
  }

  byte(): number {
    const byte = this.#bytes.readUInt8(this.#at);
    this.#at += 1;
    return byte;
  }

  skip(count: number): void {
    this.#at += count;
  }

  varint(): number {
    let value = 0;
    for (let factor = 1; factor <= 2 ** 42; factor *= 128) {
      const byte = this.byte();
      value += (byte & 0x7f) * factor;
      if (byte < 0x80) return value;
    }
    throw new TableFault('a length in it points outside of it');
  }

  handle(): BlockHandle {
    return { offset: this.varint(), sizeBytes: this.varint() };
  }
}

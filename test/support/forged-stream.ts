/** Stream of btrfs send: magic and version, then commands of length, kind, sum and fields (`fs/btrfs/send.h`). */
const STREAM_HEADER_BYTES = 17;
const COMMAND_HEADER_BYTES = 10;
const COMMAND_WRITE = 15;
const COMMAND_END = 21;

/** Replaces bytes in the commands that write to files, in all streams of a row, and makes their sums right again. */
export function forge(stream: Buffer, from: Buffer, to: Buffer): Buffer {
  const forged = Buffer.from(stream);
  for (let at = STREAM_HEADER_BYTES; at < forged.length; ) {
    const end = at + COMMAND_HEADER_BYTES + forged.readUInt32LE(at);
    const command = forged.subarray(at, end);
    const found = command.indexOf(from);
    if (command.readUInt16LE(4) === COMMAND_WRITE && found >= 0) to.copy(command, found);
    const sum = command.readUInt32LE(6);
    command.writeUInt32LE(0, 6);
    const right = crc32c(command);
    if (found < 0 && right !== sum) throw new Error('the sums are not made as the test thinks');
    command.writeUInt32LE(right, 6);
    at = end + (command.readUInt16LE(4) === COMMAND_END ? STREAM_HEADER_BYTES : 0);
  }
  return forged;
}

/** CRC-32C as the kernel has it: begins with 0, and is not inverted. */
function crc32c(bytes: Buffer): number {
  let crc = 0;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit += 1) crc = (crc >>> 1) ^ (crc & 1 ? 0x82f6_3b78 : 0);
  }
  return crc >>> 0;
}

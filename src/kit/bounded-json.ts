/** Texts up to this many bytes are parsed as they are: nothing in them can cost much. */
const FREE_BYTES = 2 ** 20;
/** Of larger ones, at most one byte in this many may begin a value: ours have one in seventeen. */
const BYTES_PER_VALUE = 8;
/** Deeper than any message of ours. */
const DEEPEST = 64;

/**
 * Parses JSON from a peer that may be hostile, UTF-8. A few dozen bytes of memory for each `[` or `{}` make gigabytes, and many
 * seconds of work, out of what is still a permitted length; such a text is refused before it is parsed. Throws an `Error`
 * that says what is wrong.
 */
export function parseBoundedJson(bytes: Buffer): unknown {
  if (bytes.length > FREE_BYTES) refuseCostly(bytes);
  return JSON.parse(bytes.toString('utf8'));
}

function refuseCostly(bytes: Buffer): void {
  const mostValues = bytes.length / BYTES_PER_VALUE;
  let values = 0;
  let depth = 0;
  for (let at = 0; at < bytes.length; at += 1) {
    switch (bytes.readUInt8(at)) {
      case 0x22: // "
        at = endOfString(bytes, at);
        break;
      case 0x5b: // [
      case 0x7b: // {
        depth += 1;
        values += 1;
        if (depth > DEEPEST) throw new Error(`JSON of ${bytes.length} bytes is nested deeper than ${DEEPEST} levels`);
        break;
      case 0x5d: // ]
      case 0x7d: // }
        depth -= 1;
        break;
      case 0x2c: // ,
        values += 1;
        break;
      default:
    }
    if (values > mostValues) throw new Error(`JSON of ${bytes.length} bytes has too many values for its length`);
  }
}

/** Where the string that begins at `start` ends, or the end of the text. */
function endOfString(bytes: Buffer, start: number): number {
  for (let at = start + 1; at < bytes.length; at += 1) {
    if (bytes[at] === 0x5c)
      at += 1; // a backslash, and what it escapes
    else if (bytes[at] === 0x22) return at;
  }
  return bytes.length;
}

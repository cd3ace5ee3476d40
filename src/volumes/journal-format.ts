import { crc32 } from 'node:zlib';

/** JSON-representable value of an entry. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

/** A new value for a key, or null to remove it. */
export type JournalChange = readonly [key: string, value: Json | null];

/**
 * One line: everything one fdatasync made durable. As the next group is written only after that, a crash can leave
 * nothing but the last line unfinished.
 */
export interface JournalGroup {
  /** Counts up by one; a gap shows a lost line. */
  readonly number: number;
  /** The first line of a file holds all entries, the others what changed. */
  readonly kind: 'all' | 'changes';
  readonly changes: readonly JournalChange[];
}

/** What a journal file holds. `tornBytes` at its end were never acknowledged to anyone. */
export type JournalContent =
  | { readonly kind: 'whole'; readonly entries: Map<string, Json>; readonly number: number; readonly tornBytes: number }
  | { readonly kind: 'damaged'; readonly line: number; readonly reason: string };

/** CRC-32 as eight hex digits, a space, the group as JSON, a newline. JSON text has neither NUL nor raw newlines. */
export function encodeGroup(group: JournalGroup): string {
  const text = JSON.stringify([group.number, group.kind, group.changes]);
  return `${checksum(text)} ${text}\n`;
}

/**
 * Replays a journal. An unfinished last line is left out; anything else that does not read is damage, as it was
 * acknowledged once. A crash of the machine can leave zeros where data was not written yet, so NUL also means unfinished.
 */
export function decodeJournal(bytes: Buffer): JournalContent {
  const entries = new Map<string, Json>();
  let number = 0;
  let line = 0;
  for (let start = 0; start < bytes.length; ) {
    line += 1;
    const end = bytes.indexOf(10, start);
    const piece = bytes.subarray(start, end < 0 ? bytes.length : end);
    const group = end < 0 ? undefined : decodeGroup(piece.toString('utf8'));
    if (group === undefined) {
      const last = end < 0 || end === bytes.length - 1;
      if (last && line > 1 && (end < 0 || piece.includes(0))) {
        return { kind: 'whole', entries, number, tornBytes: bytes.length - start };
      }
      return { kind: 'damaged', line, reason: 'its checksum does not fit' };
    }
    if (group.kind !== (line === 1 ? 'all' : 'changes') || (line > 1 && group.number !== number + 1)) {
      return { kind: 'damaged', line, reason: `it follows group ${number} but is group ${group.number}` };
    }
    number = group.number;
    for (const [key, value] of group.changes) {
      if (value === null) entries.delete(key);
      else entries.set(key, value);
    }
    start = end + 1;
  }
  if (line === 0) return { kind: 'damaged', line: 1, reason: 'the file is empty' };
  return { kind: 'whole', entries, number, tornBytes: 0 };
}

function decodeGroup(line: string): JournalGroup | undefined {
  const text = line.slice(9);
  if (line[8] !== ' ' || checksum(text) !== line.slice(0, 8)) return undefined;
  // The checksum shows that encodeGroup wrote this text.
  const [number, kind, changes] = JSON.parse(text) as [number, JournalGroup['kind'], JournalChange[]];
  return { number, kind, changes };
}

function checksum(text: string): string {
  return crc32(text).toString(16).padStart(8, '0');
}

import type { Session } from './session.ts';
import { type Cell, formatTable } from './table.ts';

/** Width of the original's tables. */
const WIDEST_TABLE = 140;

/** A table on standard output. In a pipe each row stays one line, for whoever filters lines. */
export function writeTable(
  { environment: { stdout } }: Session,
  header: readonly string[],
  rows: readonly (readonly Cell[])[],
  elastic: number,
): void {
  const maxWidth = stdout.isTTY === true ? Math.min(WIDEST_TABLE, stdout.columns ?? WIDEST_TABLE) : undefined;
  const heads = header.map((text) => ({ text }));
  stdout.write(formatTable([heads, ...rows], { maxWidth, elastic }));
}

/** Names and values one below the other; values that are undefined are left out. */
export function writeFields(
  { environment: { stdout } }: Session,
  fields: readonly (readonly [string, string | undefined])[],
): void {
  const present = fields.filter((field): field is readonly [string, string] => field[1] !== undefined);
  const width = Math.max(...present.map(([name]) => name.length));
  stdout.write(present.map(([name, value]) => `${name.padEnd(width)}   ${value}\n`).join(''));
}

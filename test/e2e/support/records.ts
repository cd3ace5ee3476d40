import { open, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'vitest';

/**
 * Appends numbered records at /mnt/records, each on disk before its number is said, until it is killed. What was under way when an earlier one
 * ended, and is there in part, it takes away.
 */
export const WRITER: readonly string[] = [
  process.execPath,
  '-e',
  `const { openSync, ftruncateSync, readFileSync, writeSync, fsyncSync } = require('node:fs');
   const file = openSync('/mnt/records', 'a');
   const lines = readFileSync('/mnt/records', 'latin1').split('\\n');
   ftruncateSync(file, lines.slice(0, -1).join('\\n').length + (lines.length > 1 ? 1 : 0));
   for (let n = lines.length; ; n += 1) {
     writeSync(file, n + '\\n');
     fsyncSync(file);
     writeSync(1, n + '\\n');
   }`,
];

/** Appends the next record in a mounted volume; on disk when it resolves. */
export async function appendRecord(mountPath: string, record: number): Promise<void> {
  const file = await open(join(mountPath, 'records'), 'a');
  try {
    await file.write(`${record}\n`);
    await file.sync();
  } finally {
    await file.close();
  }
}

/** Fails unless the records are 1, 2, … with none missing, and at least `count` of them. Resolves with how many. */
export async function expectRecords(mountPath: string, count: number): Promise<number> {
  return expectSequence(await readFile(join(mountPath, 'records'), 'utf8'), count);
}

/**
 * The same for the text of the file. What comes after the last whole record was under way when its writer was cut off: nobody was told that it is
 * on disk. On CephFS the size can be there without the bytes.
 */
export function expectSequence(text: string, count: number): number {
  const records = text.split('\n').slice(0, -1).map(Number);
  expect(records).toEqual(records.map((_, index) => index + 1));
  expect(records.length).toBeGreaterThanOrEqual(count);
  return records.length;
}

/** The last record that a {@link WRITER} said, 0 when none. */
export function lastRecord(said: string): number {
  const numbers = said.split('\n').filter((line) => /^\d+$/.test(line));
  return Number(numbers.at(-1) ?? 0);
}

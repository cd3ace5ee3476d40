import { hash } from 'node:crypto';
import { CodedError, errorText } from '../../../kit/coded-error.ts';
import type { Json } from '../store.ts';
import { EntrySum } from './store-head.ts';

/** The format this program writes; a backup of a higher one is refused. */
const BACKUP_FORMAT = 1;

/** What a backup holds: the state of a store at one revision. */
export interface Backup {
  readonly clusterId: string;
  readonly revision: number;
  /** Wall clock, milliseconds since the epoch. */
  readonly takenAtMs: number;
  readonly values: ReadonlyMap<string, Json>;
}

/** A file that is no whole backup. The message says what is wrong with it. */
export class BackupError extends CodedError<'bad_backup'> {
  override readonly name = 'BackupError';
}

/**
 * The text of a backup: a line that says what follows, a line `[key, value]` for each entry in the order of the keys, and a line with
 * the SHA-256 of everything before it.
 */
export function backupText({ clusterId, revision, takenAtMs, values }: Backup): string {
  const keys = [...values.keys()].sort();
  const entrySum = sumOf(values);
  const head = {
    flockerStoreBackup: BACKUP_FORMAT,
    clusterId,
    revision,
    takenAt: new Date(takenAtMs).toISOString(),
    entries: entrySum.entries,
    sum: entrySum.sum,
  };
  const lines = [JSON.stringify(head), ...keys.map((key) => JSON.stringify([key, values.get(key)]))];
  const text = `${lines.join('\n')}\n`;
  return `${text}${JSON.stringify({ sha256: hash('sha256', text, 'hex') })}\n`;
}

/** The backup in the text of the file `path`. Throws {@link BackupError} unless every byte is as it was written. */
export function parseBackup(text: string, path: string): Backup {
  const bad = (found: string): BackupError =>
    new BackupError(
      'bad_backup',
      `${path} is no backup that can be restored: ${found}. Take another copy of it, or an older backup.`,
    );
  const lines = text.split('\n');
  const head = object(lines[0]);
  const format = head?.['flockerStoreBackup'];
  if (typeof format !== 'number') throw bad('it does not begin like a backup of a store');
  if (format > BACKUP_FORMAT) throw bad('a newer version of this program wrote it');
  const sumLine = lines.at(-2) ?? '';
  const body = text.slice(0, text.length - sumLine.length - 1);
  if (lines.at(-1) !== '' || object(sumLine)?.['sha256'] !== hash('sha256', body, 'hex'))
    throw bad('it is cut short or altered, its checksum does not fit');
  const { clusterId, revision, takenAt, entries, sum } = head ?? {};
  if (typeof clusterId !== 'string' || typeof revision !== 'number' || typeof takenAt !== 'string')
    throw bad('its first line does not say what it is of');
  const values = new Map<string, Json>();
  for (const line of lines.slice(1, -2)) {
    const [key, value] = pair(line) ?? [];
    if (key === undefined || value === undefined) throw bad(`a line of it is no entry: ${line.slice(0, 80)}`);
    values.set(key, value);
  }
  const found = sumOf(values);
  if (found.entries !== entries || found.sum !== sum) throw bad('its entries are not those of its first line');
  return { clusterId, revision, takenAtMs: Date.parse(takenAt), values };
}

function sumOf(values: ReadonlyMap<string, Json>): EntrySum {
  const sum = new EntrySum();
  for (const [key, value] of values) sum.put(key, JSON.stringify(value));
  return sum;
}

function object(line: string | undefined): Readonly<Record<string, unknown>> | undefined {
  const value = parsed(line);
  return typeof value === 'object' && value !== null ? (value as Readonly<Record<string, unknown>>) : undefined;
}

function pair(line: string): readonly [string, Json] | undefined {
  const value = parsed(line);
  if (!Array.isArray(value) || value.length !== 2 || typeof value[0] !== 'string') return undefined;
  return [value[0], value[1] as Json];
}

function parsed(line: string | undefined): unknown {
  try {
    return JSON.parse(line ?? '');
  } catch (error) {
    return errorText(error);
  }
}

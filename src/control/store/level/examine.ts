import { copyFile, link, mkdir, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { errorCode, errorText } from '../../../kit/coded-error.ts';
import type { Logger } from '../../../kit/logger.ts';
import { StoreError } from '../store.ts';
import { type Contents, readContents } from './contents.ts';
import { type Database, databaseFault, openDatabase } from './database.ts';
import { ENTRIES, EXAMINING_PREFIX } from './layout.ts';
import { lockStore } from './lock.ts';
import { damaged, refused } from './refusals.ts';
import { tableFault } from './table-fault.ts';

/** The files that a LevelDB consists of. */
export const DATABASE_FILE = /^(?:CURRENT|MANIFEST-\d+|\d+\.(?:log|ldb|sst))$/;
const TABLE = /\.(?:ldb|sst)$/;
/** What link(2) answers on file systems without hard links and for files of another user. */
const NO_LINKS: ReadonlySet<string | undefined> = new Set([
  'EPERM',
  'EOPNOTSUPP',
  'ENOTSUP',
  'ENOSYS',
  'EMLINK',
  'EXDEV',
]);

/**
 * Reads and checks the whole store without changing it. Opening a LevelDB replays its log, drops what is corrupt and
 * deletes the files it then takes for obsolete, so it is opened through hard links: its files are only ever appended to
 * by the process that created them, replaced or removed. Rejects with a StoreError.
 */
export async function examine(directory: string, logger: Logger): Promise<Contents> {
  const scratch = await mkdtemp(join(directory, EXAMINING_PREFIX)).catch((error: unknown) => {
    throw refused(directory, 'write to', error);
  });
  let lock: Database | undefined;
  try {
    lock = await lockStore(directory, join(scratch, 'lock'));
    return await examineFiles(directory, join(directory, ENTRIES), join(scratch, ENTRIES));
  } catch (error) {
    throw error instanceof StoreError ? error : refused(directory, 'read', error);
  } finally {
    await lock?.close();
    await rm(scratch, { recursive: true, force: true }).catch((error: unknown) => {
      logger.warn({ directory: scratch, reason: errorText(error) }, 'could not remove a directory of hard links');
    });
  }
}

/** Reads and checks the database whose files are in `entries`, through links in the new directory `scratch`. `directory` is for messages. */
export async function examineFiles(directory: string, entries: string, scratch: string): Promise<Contents> {
  const names = await readdir(entries);
  await requireManifest(directory, entries, names);
  await mkdir(scratch);
  const badTables = await linkFiles(entries, scratch, names);
  let database: Database | undefined;
  try {
    database = await openDatabase(scratch, false);
    return await readContents(database, directory);
  } catch (error) {
    if (badTables[0] !== undefined) throw damaged(directory, badTables[0], error);
    if (error instanceof StoreError) throw error;
    const fault = databaseFault(error);
    if (fault.kind === 'failed') throw refused(directory, 'read', fault.cause);
    throw damaged(directory, errorText(fault.cause).replaceAll(scratch, ENTRIES), fault.cause);
  } finally {
    await database?.close();
  }
}

/** LevelDB takes a directory without CURRENT for a new database and would delete the files of the old one. */
async function requireManifest(directory: string, entries: string, names: readonly string[]): Promise<void> {
  if (!names.some((name) => DATABASE_FILE.test(name))) throw damaged(directory, `"${ENTRIES}" is empty`);
  if (!names.includes('CURRENT')) throw damaged(directory, `the file "${ENTRIES}/CURRENT" is missing`);
  const current = await readFile(join(entries, 'CURRENT'), 'latin1');
  const manifest = /^(MANIFEST-\d+)\n$/.exec(current)?.[1];
  if (manifest === undefined) throw damaged(directory, `the file "${ENTRIES}/CURRENT" is unreadable`);
  if (!names.includes(manifest)) throw damaged(directory, `the file "${ENTRIES}/${manifest}" is missing`);
}

/**
 * Links the database's files into `scratch`, without tables that are not whole, and says what is wrong with those.
 * Such a table matters only when LevelDB then misses it: a compaction that was killed leaves half a table that is no
 * part of the database.
 */
async function linkFiles(entries: string, scratch: string, names: readonly string[]): Promise<readonly string[]> {
  const badTables: string[] = [];
  for (const name of names) {
    if (!DATABASE_FILE.test(name)) continue;
    const fault = TABLE.test(name) ? tableFault(await readFile(join(entries, name))) : undefined;
    if (fault !== undefined) {
      badTables.push(`the file "${ENTRIES}/${name}" is not whole: ${fault}`);
      continue;
    }
    try {
      await link(join(entries, name), join(scratch, name));
    } catch (error) {
      if (!NO_LINKS.has(errorCode(error))) throw error;
      await copyFile(join(entries, name), join(scratch, name));
    }
  }
  return badTables;
}

import { ClassicLevel } from 'classic-level';
import { errorCode } from '../../../kit/coded-error.ts';

export type Database = ClassicLevel;

/** Key of the {@link StoreHead}. */
export const HEAD_KEY = 'meta/head';
/** What the keys of entries begin with. Nothing but these and the head is in the database. */
export const ENTRY_PREFIX = 'entry/';

/** Opens a LevelDB. Rejects with classic-level's errors; {@link databaseFault} tells them apart. */
export async function openDatabase(location: string, createIfMissing: boolean): Promise<Database> {
  // Uncompressed, so that tableFault can read the index of a table.
  const database: Database = new ClassicLevel(location, { compression: false });
  await database.open({ createIfMissing, errorIfExists: createIfMissing, compression: false });
  return database;
}

/** The error that LevelDB gave, out of those that classic-level wraps it in. */
export function databaseFault(error: unknown): {
  readonly kind: 'damaged' | 'locked' | 'failed';
  readonly cause: unknown;
} {
  const cause = error instanceof Error && error.cause !== undefined ? error.cause : error;
  const code = errorCode(cause);
  if (code === 'LEVEL_LOCKED') return { kind: 'locked', cause };
  const missing = cause instanceof Error && cause.message.includes('No such file or directory');
  return { kind: code === 'LEVEL_CORRUPTION' || missing ? 'damaged' : 'failed', cause };
}

import { chown, mkdtemp, readdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { syncDirectory, writeFileDurably } from '../../../kit/atomic-file.ts';
import { CodedError, errorCode } from '../../../kit/coded-error.ts';
import { type Json, RESTORED_KEY, StoreError } from '../store.ts';
import type { Backup } from './backup-file.ts';
import { copyContents } from './copy-contents.ts';
import { ENTRY_PREFIX, HEAD_KEY, openDatabase } from './database.ts';
import { CREATING_PREFIX, ENTRIES, readLayout, WITNESS } from './layout.ts';
import { lockStore } from './lock.ts';
import { foreign, refused } from './refusals.ts';
import { EntrySum, headText, type StoreHead } from './store-head.ts';
import { witnessText } from './witness.ts';

const REPLACED_PREFIX = 'replaced-';

export interface RestoreOptions {
  /** Where the store is to be. */
  readonly directory: string;
  readonly backup: Backup;
  /** Replaces a store that has something; what was there is kept in a directory beside. */
  readonly force: boolean;
  readonly wallMs: number;
  /** False for records that are not old: nobody has used them since. True unless given. */
  readonly isOld?: boolean;
}

/** What a restore made. */
export interface Restored {
  readonly entries: number;
  /** Where the store that was replaced is now; undefined when there was none. */
  readonly replaced: string | undefined;
}

/** A store that a restore would replace. */
export class RestoreError extends CodedError<'store_not_empty'> {
  override readonly name = 'RestoreError';
}

/**
 * Makes the store of a backup, marked so that the control service doubts where volumes are. Refuses while a control service has the
 * store open. Killed at any moment it leaves the old store, the new one, or one that is refused as damaged and is restored again.
 */
export async function restoreStore({
  directory: path,
  backup,
  force,
  wallMs,
  isOld = true,
}: RestoreOptions): Promise<Restored> {
  const { directory, hasEntries, foreign: names } = await readLayout(path);
  const strange = names.filter((name) => !name.startsWith(REPLACED_PREFIX));
  if (!hasEntries && strange.length > 0) throw foreign(directory, strange);
  const creating = await mkdtemp(join(directory, CREATING_PREFIX));
  try {
    const lock = hasEntries ? await lockStore(directory, join(creating, 'lock')) : undefined;
    try {
      if (hasEntries && !force) await requireNothingIn(directory, creating);
      const made = await makeEntries(join(creating, ENTRIES), backup, isOld ? wallMs : undefined);
      await giveTo(directory, join(creating, ENTRIES));
      const replaced = hasEntries ? await putAside(directory, wallMs) : undefined;
      // The witness first: a store without the database that it tells of is never taken for a new one.
      await writeFileDurably(join(directory, WITNESS), witnessText(made), 0o600);
      await giveTo(directory, join(directory, WITNESS));
      await rename(join(creating, ENTRIES), join(directory, ENTRIES));
      await syncDirectory(directory);
      return { entries: made.entries, replaced };
    } finally {
      await lock?.close();
    }
  } catch (error) {
    if (error instanceof StoreError || error instanceof RestoreError) throw error;
    throw refused(directory, 'restore', error);
  } finally {
    await rm(creating, { recursive: true, force: true });
  }
}

async function requireNothingIn(directory: string, scratch: string): Promise<void> {
  const { values, head } = await copyContents(directory, scratch);
  if (values.size === 0) return;
  throw new RestoreError(
    'store_not_empty',
    `There is a store in ${directory} already, of cluster ${head.clusterId}, with ${values.size} entries at revision ${head.revision}. ` +
      'Nothing was changed. With --force it is replaced, and what is there is kept beside it.',
  );
}

/** `restoredAtMs` marks it as old. */
async function makeEntries(location: string, backup: Backup, restoredAtMs: number | undefined): Promise<StoreHead> {
  const { clusterId } = backup;
  const texts = new Map<string, string>();
  const put = (key: string, value: Json): void => void texts.set(key, JSON.stringify(value));
  for (const [key, value] of backup.values) put(key, value);
  if (restoredAtMs !== undefined) put(RESTORED_KEY, { atMs: restoredAtMs, doubted: false });
  const total = new EntrySum();
  for (const [key, text] of texts) total.put(key, text);
  const head = { clusterId, revision: backup.revision + 1, entries: total.entries, sum: total.sum };
  const database = await openDatabase(location, true);
  try {
    const operations = [...texts].map(([key, value]) => ({ type: 'put' as const, key: ENTRY_PREFIX + key, value }));
    await database.batch([...operations, { type: 'put', key: HEAD_KEY, value: headText(head) }], { sync: true });
  } finally {
    await database.close();
  }
  await syncDirectory(location);
  return head;
}

async function putAside(directory: string, wallMs: number): Promise<string> {
  // A name of its own each time, also when the clock stands still.
  const aside = await mkdtemp(join(directory, `${REPLACED_PREFIX}${new Date(wallMs).toISOString().slice(0, 10)}-`));
  await giveTo(directory, aside);
  await rename(join(directory, ENTRIES), join(aside, ENTRIES));
  await rename(join(directory, WITNESS), join(aside, WITNESS)).catch((error: unknown) => {
    if (errorCode(error) !== 'ENOENT') throw error;
  });
  await syncDirectory(aside);
  await syncDirectory(directory);
  return aside;
}

/** Gives what root made to whoever owns the store: a control service need not run as root. */
async function giveTo(directory: string, path: string): Promise<void> {
  const { uid, gid } = await stat(directory);
  const made = await stat(path);
  if (made.isDirectory()) for (const name of await readdir(path)) await giveTo(directory, join(path, name));
  if (made.uid !== uid || made.gid !== gid) await chown(path, uid, gid);
}

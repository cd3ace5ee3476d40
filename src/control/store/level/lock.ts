import { mkdir, readdir, readFile, readlink, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { StoreError } from '../store.ts';
import { type Database, databaseFault, openDatabase } from './database.ts';
import { ENTRIES } from './layout.ts';
import { locked, refused } from './refusals.ts';

/**
 * Takes the lock of the store's database without opening the database: opens an empty one, at the new directory
 * `scratch`, whose lock file is a link to the store's. Closing it gives up the lock. Rejects with `store_locked` or
 * `store_failed`.
 */
export async function lockStore(directory: string, scratch: string): Promise<Database> {
  const lock = join(directory, ENTRIES, 'LOCK');
  try {
    if (await isLockedHere(lock)) throw locked(directory, 'this process');
    await mkdir(scratch);
    await symlink(lock, join(scratch, 'LOCK'));
  } catch (error) {
    throw error instanceof StoreError ? error : refused(directory, 'lock', error);
  }
  try {
    return await openDatabase(scratch, true);
  } catch (error) {
    const fault = databaseFault(error);
    throw fault.kind === 'locked' ? locked(directory, 'another process') : refused(directory, 'lock', fault.cause);
  }
}

/**
 * LevelDB 1.20 opens and closes the lock file before it notices that its own process holds it, and closing any
 * descriptor of a file drops all fcntl locks that the process has on it (fcntl(2)). So it must not even try. The
 * descriptor alone proves nothing: LevelDB opens it without O_CLOEXEC, so child processes inherit it, without the lock.
 * proc(5) lists the locks of a descriptor in fdinfo only when they are this process's own.
 */
async function isLockedHere(path: string): Promise<boolean> {
  for (const descriptor of await readdir('/proc/self/fd')) {
    const target = await readlink(`/proc/self/fd/${descriptor}`).catch(() => undefined);
    if (target !== path) continue;
    const state = await readFile(`/proc/self/fdinfo/${descriptor}`, 'latin1').catch(() => '');
    if (state.includes('lock:')) return true;
  }
  return false;
}

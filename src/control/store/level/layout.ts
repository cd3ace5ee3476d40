import { access, constants, mkdir, readdir, realpath, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { syncDirectory } from '../../../kit/atomic-file.ts';
import type { Logger } from '../../../kit/logger.ts';
import { StoreError } from '../store.ts';
import { damaged, refused } from './refusals.ts';

/** The LevelDB, in the store's directory. */
export const ENTRIES = 'entries';
/** The file with the last revision that was acknowledged. */
export const WITNESS = 'acknowledged';
/** A database being created; becomes {@link ENTRIES} by one rename, so a store is there whole or not at all. */
export const CREATING_PREFIX = 'creating-';
/** The hard links through which a store is examined before it is opened. */
export const EXAMINING_PREFIX = 'examining-';

/** What is in a store's directory. */
export interface Layout {
  /** The directory's real path: LevelDB knows a lock by the text of its path. */
  readonly directory: string;
  readonly hasEntries: boolean;
  readonly hasWitness: boolean;
  readonly foreign: readonly string[];
}

/** Creates the directory, mode 0700, unless it is there, and says what is in it. Rejects with a StoreError. */
export async function readLayout(directory: string): Promise<Layout> {
  try {
    const first = await mkdir(directory, { recursive: true, mode: 0o700 });
    const real = await realpath(directory);
    if (first !== undefined) {
      const stop = dirname(await realpath(first));
      for (let parent = dirname(real); parent.length >= stop.length; parent = dirname(parent)) {
        await syncDirectory(parent);
        if (parent === '/') break;
      }
    }
    await access(real, constants.R_OK | constants.W_OK | constants.X_OK);
    const names = await readdir(real);
    const hasEntries = names.includes(ENTRIES);
    if (hasEntries && !(await stat(join(real, ENTRIES))).isDirectory()) {
      throw damaged(real, `"${ENTRIES}" is not a directory`);
    }
    return {
      directory: real,
      hasEntries,
      hasWitness: names.includes(WITNESS),
      foreign: names.filter((name) => !isOurs(name)),
    };
  } catch (error) {
    throw error instanceof StoreError ? error : refused(directory, 'use', error);
  }
}

/** A file system's own directory at its root is not foreign: a store may have a disk of its own. */
function isOurs(name: string): boolean {
  return [ENTRIES, WITNESS, `${WITNESS}.new`, 'lost+found'].includes(name) || isUnfinished(name);
}

function isUnfinished(name: string): boolean {
  return name.startsWith(CREATING_PREFIX) || name.startsWith(EXAMINING_PREFIX);
}

/** Removes what an opening that was killed left behind. Only the holder of the database's lock may call it. */
export async function removeUnfinished(directory: string, logger: Logger): Promise<void> {
  for (const name of await readdir(directory)) {
    if (!isUnfinished(name)) continue;
    logger.info({ directory, name }, 'removing what an interrupted start left behind');
    await rm(join(directory, name), { recursive: true, force: true });
  }
}

import { copyFile, mkdtemp, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { errorCode } from '../../../kit/coded-error.ts';
import { StoreError } from '../store.ts';
import type { Contents } from './contents.ts';
import { DATABASE_FILE, examineFiles } from './examine.ts';
import { ENTRIES, WITNESS } from './layout.ts';
import { damaged, refused, rolledBack } from './refusals.ts';
import { readWitness } from './witness.ts';

/** The database makes new files and removes old ones now and then; that many times in a row it does not. */
const MOST_TRIES = 20;

/**
 * Everything in a store, whether or not a control service has it open, proved to be all that was acknowledged before the call. Reads the
 * store's files and changes nothing there; copies are made in `scratchParent` and removed. Rejects with a StoreError.
 *
 * The files are only ever appended to, replaced or removed, so copies of them are the store at some moment of the copying, as after a
 * power cut. Whether that moment is whole, and no older than what was acknowledged, is proved as at any opening.
 */
export async function copyContents(directory: string, scratchParent: string): Promise<Contents> {
  let failure: unknown;
  for (let tries = 0; tries < MOST_TRIES; tries += 1) {
    const scratch = await mkdtemp(join(scratchParent, '.flocker-copy-'));
    try {
      return await copyOnce(directory, scratch);
    } catch (error) {
      failure = error;
      if (error instanceof StoreError && error.code !== 'store_damaged' && error.code !== 'store_rolled_back')
        throw error;
    } finally {
      await rm(scratch, { recursive: true, force: true });
    }
  }
  throw failure;
}

async function copyOnce(directory: string, scratch: string): Promise<Contents> {
  const entries = join(directory, ENTRIES);
  let acknowledged: Awaited<ReturnType<typeof readWitness>>;
  try {
    acknowledged = await readWitness(join(directory, WITNESS));
    const names = (await readdir(entries)).filter((name) => DATABASE_FILE.test(name));
    for (const name of names) await copyFile(join(entries, name), join(scratch, name));
  } catch (error) {
    if (errorCode(error) === 'ENOENT') throw damaged(directory, `a file of its "${ENTRIES}" is missing`, error);
    throw refused(directory, 'read', error);
  }
  const contents = await examineFiles(directory, scratch, join(scratch, 'opened'));
  if (typeof acknowledged === 'string') return contents;
  const { clusterId, revision } = contents.head;
  if (acknowledged.clusterId !== clusterId)
    throw rolledBack(
      directory,
      `it is of cluster ${clusterId}, but "${WITNESS}" is of cluster ${acknowledged.clusterId}`,
    );
  if (acknowledged.revision > revision)
    throw rolledBack(directory, `it is at revision ${revision}, but revision ${acknowledged.revision} was confirmed`);
  return contents;
}

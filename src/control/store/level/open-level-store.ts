import { mkdtemp, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { syncDirectory } from '../../../kit/atomic-file.ts';
import { errorCode } from '../../../kit/coded-error.ts';
import type { NewUuid } from '../../../kit/ids.ts';
import type { Logger } from '../../../kit/logger.ts';
import { type Json, RESTORED_KEY, type Store, StoreError } from '../store.ts';
import type { Contents } from './contents.ts';
import { type Database, databaseFault, ENTRY_PREFIX, HEAD_KEY, openDatabase } from './database.ts';
import { examine } from './examine.ts';
import { CREATING_PREFIX, ENTRIES, readLayout, removeUnfinished, WITNESS } from './layout.ts';
import { LevelStore } from './level-store.ts';
import { damaged, foreign, locked, refused, rolledBack } from './refusals.ts';
import { EntrySum, headText } from './store-head.ts';
import { type Acknowledged, readWitness, Witness } from './witness.ts';

export interface LevelStoreOptions {
  /** Where the store is, or is created (mode 0700). It must hold nothing else when it is new. */
  readonly directory: string;
  /** Gives a new store its cluster id. */
  readonly newUuid: NewUuid;
  readonly logger: Logger;
  /** Opens a store that would be refused as `store_rolled_back`, giving up what it lacks. Refuses damage all the same. */
  readonly acceptLoss?: boolean;
  /** Wall clock, milliseconds since the epoch: when loss was accepted. */
  readonly wallMs?: number;
}

/**
 * Opens the embedded store, or creates it. Everything in it is read and proved to be all that was acknowledged before
 * anything is written. Rejects with a {@link StoreError}, having changed nothing.
 */
export async function openLevelStore(options: LevelStoreOptions): Promise<Store> {
  const { newUuid, logger } = options;
  const { directory, ...layout } = await readLayout(options.directory);
  if (!layout.hasEntries) {
    if (layout.hasWitness) {
      throw damaged(directory, `its database "${ENTRIES}" is missing, though "${WITNESS}" says that there was one`);
    }
    if (layout.foreign.length > 0) throw foreign(directory, layout.foreign);
    await createEntries(directory, newUuid, logger);
  } else if (layout.foreign.length > 0) {
    logger.warn({ directory, names: layout.foreign }, 'the directory of the store holds files that are no part of it');
  }
  // Before the database: another process that has it may confirm more meanwhile, and that is no loss.
  const acknowledged = await readWitness(join(directory, WITNESS)).catch((error: unknown) =>
    refused(directory, 'read', error),
  );
  const examined = await examine(directory, logger);
  if (acknowledged instanceof StoreError) throw acknowledged;
  const lost = requireAcknowledged(acknowledged, examined, options, directory);
  const database = await openExamined(directory, examined);
  try {
    const contents = lost ? await marked(database, examined, options.wallMs) : examined;
    const { clusterId, revision } = contents.head;
    await removeUnfinished(directory, logger);
    const witness = await Witness.start(join(directory, WITNESS), { clusterId, revision });
    return new LevelStore({ directory, database, witness, contents, logger });
  } catch (error) {
    await database.close();
    throw refused(directory, 'write to', error);
  }
}

async function createEntries(directory: string, newUuid: NewUuid, logger: Logger): Promise<void> {
  const clusterId = newUuid();
  const { entries, sum } = new EntrySum();
  let creating: string | undefined;
  try {
    creating = await mkdtemp(join(directory, CREATING_PREFIX));
    const database = await openDatabase(creating, true);
    try {
      await database.put(HEAD_KEY, headText({ clusterId, revision: 0, entries, sum }), { sync: true });
    } finally {
      await database.close();
    }
    await syncDirectory(creating);
    await rename(creating, join(directory, ENTRIES));
    await syncDirectory(directory);
    logger.info({ directory, clusterId }, 'created an empty store');
  } catch (error) {
    if (creating !== undefined) await rm(creating, { recursive: true, force: true }).catch(() => undefined);
    // Another process created it meanwhile; whose it is, the lock decides.
    if (['ENOTEMPTY', 'EEXIST'].includes(errorCode(error) ?? '')) return;
    throw refused(directory, 'create', databaseFault(error).cause);
  }
}

/** Marks a store that lacks confirmed commits as the old copy that it is, before it passes for anything else. */
async function marked(database: Database, { head, values, sum }: Contents, wallMs = 0): Promise<Contents> {
  const value: Json = { atMs: wallMs, doubted: false };
  const text = JSON.stringify(value);
  sum.put(RESTORED_KEY, text);
  const next = { ...head, revision: head.revision + 1, entries: sum.entries, sum: sum.sum };
  await database.batch(
    [
      { type: 'put', key: ENTRY_PREFIX + RESTORED_KEY, value: text },
      { type: 'put', key: HEAD_KEY, value: headText(next) },
    ],
    { sync: true },
  );
  return { head: next, values: new Map(values).set(RESTORED_KEY, value), sum };
}

/** Whether confirmed commits are missing and that was accepted. */
function requireAcknowledged(
  acknowledged: Acknowledged | 'missing' | 'unreadable',
  contents: Contents,
  { logger, acceptLoss = false }: LevelStoreOptions,
  directory: string,
): boolean {
  const { clusterId, revision } = contents.head;
  if (acknowledged === 'missing' || acknowledged === 'unreadable') {
    // The database is whole; the witness only adds that it is not an old copy. Refusing would turn a torn note, as a
    // power cut may leave it, into an outage.
    if (acknowledged === 'unreadable' || revision > 0) {
      logger.warn(
        { directory, revision },
        `the file "${WITNESS}" is ${acknowledged}; the store is whole and the file is written again, but this once ` +
          'nobody can tell whether the store is the latest copy',
      );
    }
    return false;
  }
  let found: string | undefined;
  if (acknowledged.clusterId !== clusterId) {
    found = `it is of cluster ${clusterId}, but "${WITNESS}" is of cluster ${acknowledged.clusterId}`;
  } else if (acknowledged.revision > revision) {
    found = `it is at revision ${revision}, but revision ${acknowledged.revision} was confirmed`;
  }
  if (found === undefined) return false;
  if (!acceptLoss) throw rolledBack(directory, found);
  logger.error(
    { directory, revision, acknowledged },
    `opening a store that lacks confirmed changes, as asked: ${found}`,
  );
  return true;
}

/** Opens the database itself. It has the very files that were examined, unless another process got in between. */
async function openExamined(directory: string, contents: Contents): Promise<Database> {
  let database: Database | undefined;
  try {
    database = await openDatabase(join(directory, ENTRIES), false);
    if ((await database.get(HEAD_KEY)) === headText(contents.head)) return database;
  } catch (error) {
    await database?.close();
    const fault = databaseFault(error);
    if (fault.kind !== 'locked') throw refused(directory, 'open', fault.cause);
  }
  await database?.close();
  throw locked(directory, 'another process');
}

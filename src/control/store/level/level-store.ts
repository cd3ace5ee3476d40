import { join } from 'node:path';
import { errorText } from '../../../kit/coded-error.ts';
import { failpoint } from '../../../kit/failpoint.ts';
import type { Logger } from '../../../kit/logger.ts';
import { type ChangeText, changeText } from '../change-text.ts';
import { type Json, type Store, type StoreChange, StoreError } from '../store.ts';
import type { Contents } from './contents.ts';
import { type Database, ENTRY_PREFIX, HEAD_KEY } from './database.ts';
import { ENTRIES } from './layout.ts';
import { LogNames } from './log-names.ts';
import { refused } from './refusals.ts';
import { headText } from './store-head.ts';
import type { Witness } from './witness.ts';

interface Waiting {
  readonly changes: readonly ChangeText[];
  readonly resolve: () => void;
  readonly reject: (error: StoreError) => void;
}

type Operation = { type: 'put'; key: string; value: string } | { type: 'del'; key: string };

/** What an open store consists of. It owns the database and the witness and closes them. */
export interface LevelStoreParts {
  readonly directory: string;
  readonly database: Database;
  readonly witness: Witness;
  readonly contents: Contents;
  readonly logger: Logger;
}

/** A {@link Store} on an open and verified LevelDB. While one batch is written, later commits gather for the next. */
export class LevelStore implements Store {
  readonly clusterId: string;
  readonly #parts: Omit<LevelStoreParts, 'contents'>;
  readonly #sum: Contents['sum'];
  readonly #logs: LogNames;
  #atOpen: ReadonlyMap<string, Json> | undefined;
  #revision: number;
  #waiting: Waiting[] = [];
  #writing: Promise<void> | undefined;
  #refusal: StoreError | undefined;
  #closed: Promise<void> | undefined;

  constructor({ contents, ...parts }: LevelStoreParts) {
    this.clusterId = contents.head.clusterId;
    this.#parts = parts;
    this.#sum = contents.sum;
    this.#logs = new LogNames(join(parts.directory, ENTRIES));
    this.#atOpen = contents.values;
    this.#revision = contents.head.revision;
  }

  get revision(): number {
    return this.#revision;
  }

  entries(): ReadonlyMap<string, Json> {
    if (this.#atOpen === undefined) throw new Error('entries() was called before');
    const entries = this.#atOpen;
    this.#atOpen = undefined;
    return entries;
  }

  commit(changes: readonly StoreChange[]): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#refusal !== undefined) {
        reject(this.#refusal);
        return;
      }
      let texts: readonly ChangeText[];
      try {
        texts = changes.map(changeText);
      } catch (error) {
        this.#refusal = refused(this.#parts.directory, 'write to', error);
        throw error;
      }
      this.#waiting.push({ changes: texts, resolve, reject });
      this.#writing ??= this.#writeWaiting();
    });
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    const { directory, database, witness } = this.#parts;
    this.#refusal ??= new StoreError('store_failed', `The store in ${directory} is closed.`);
    await this.#writing;
    await witness.close();
    await database.close();
  }

  async #writeWaiting(): Promise<void> {
    while (this.#waiting.length > 0) {
      const group = this.#waiting;
      this.#waiting = [];
      try {
        await this.#write(group);
      } catch (error) {
        this.#poison(error, group);
        break;
      }
      for (const { resolve } of group) resolve();
    }
    this.#writing = undefined;
  }

  async #write(group: readonly Waiting[]): Promise<void> {
    const operations: Operation[] = [];
    for (const { key, text } of group.flatMap(({ changes }) => changes)) {
      if (text === undefined) {
        this.#sum.remove(key);
        operations.push({ type: 'del', key: ENTRY_PREFIX + key });
      } else {
        this.#sum.put(key, text);
        operations.push({ type: 'put', key: ENTRY_PREFIX + key, value: text });
      }
    }
    const revision = this.#revision + group.length;
    const { entries, sum } = this.#sum;
    const head = headText({ clusterId: this.clusterId, revision, entries, sum });
    operations.push({ type: 'put', key: HEAD_KEY, value: head });
    failpoint('store.before');
    await this.#parts.database.batch(operations, { sync: true });
    failpoint('store.written');
    await this.#logs.makeDurable();
    this.#parts.witness.acknowledge(revision);
    this.#revision = revision;
  }

  /** After a failed write nobody knows what is on disk (fsync drops the dirty pages), so none may follow. */
  #poison(error: unknown, group: readonly Waiting[]): void {
    const { directory, logger } = this.#parts;
    const refusal = refused(directory, 'write to', error);
    this.#refusal = refusal;
    logger.error(
      { directory, revision: this.#revision, reason: errorText(error) },
      'the store refuses all further commits',
    );
    const rejected = [...group, ...this.#waiting];
    this.#waiting = [];
    for (const { reject } of rejected) reject(refusal);
  }
}

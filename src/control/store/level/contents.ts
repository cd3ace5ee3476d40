import { errorText } from '../../../kit/coded-error.ts';
import type { Json } from '../store.ts';
import { type Database, ENTRY_PREFIX, HEAD_KEY } from './database.ts';
import { damaged, unsupported } from './refusals.ts';
import { EntrySum, parseHead, type StoreHead } from './store-head.ts';

/** Everything in a store, proved to be what was written. */
export interface Contents {
  readonly head: StoreHead;
  readonly values: ReadonlyMap<string, Json>;
  readonly sum: EntrySum;
}

const READ_AT_ONCE = 1000;

/**
 * Reads a whole database and checks it against its head. `directory` is for messages.
 * Rejects with `store_damaged`, `store_unsupported`, or classic-level's error.
 */
export async function readContents(database: Database, directory: string): Promise<Contents> {
  const text = await database.get(HEAD_KEY);
  if (text === undefined) throw damaged(directory, 'the entry that says what it holds is missing');
  const head = parseHead(text);
  if (head === 'newer') throw unsupported(directory);
  if (head === undefined) throw damaged(directory, 'the entry that says what it holds is unreadable');

  const values = new Map<string, Json>();
  const sum = new EntrySum();
  for await (const [key, value] of pairs(database)) {
    if (key === HEAD_KEY) continue;
    if (!key.startsWith(ENTRY_PREFIX)) throw damaged(directory, `it holds a foreign key ${JSON.stringify(key)}`);
    const name = key.slice(ENTRY_PREFIX.length);
    sum.put(name, value);
    values.set(name, parseValue(value, name, directory));
  }
  if (sum.entries !== head.entries) {
    throw damaged(
      directory,
      `at revision ${head.revision} it had ${head.entries} entries, now ${sum.entries} are left`,
    );
  }
  if (sum.sum !== head.sum) {
    throw damaged(directory, `its ${head.entries} entries are not the ones of revision ${head.revision}`);
  }
  return { head, values, sum };
}

async function* pairs(database: Database): AsyncGenerator<[string, string]> {
  const iterator = database.iterator({ highWaterMarkBytes: 1 << 20 });
  try {
    for (;;) {
      const next = await iterator.nextv(READ_AT_ONCE);
      if (next.length === 0) return;
      yield* next;
    }
  } finally {
    await iterator.close();
  }
}

function parseValue(value: string, name: string, directory: string): Json {
  try {
    return JSON.parse(value) as Json;
  } catch (error) {
    throw damaged(directory, `the value of ${JSON.stringify(name)} is unreadable: ${errorText(error)}`);
  }
}

import { hash } from 'node:crypto';

/** The format this program writes; a store of a higher one is refused. */
export const STORE_FORMAT = 1;

/** The entry that every batch rewrites. It says what all the others must add up to. */
export interface StoreHead {
  readonly clusterId: string;
  readonly revision: number;
  /** How many entries there are. */
  readonly entries: number;
  /** XOR over the 128-bit hashes of all entries, 32 hexadecimal digits. */
  readonly sum: string;
}

export function headText(head: StoreHead): string {
  return JSON.stringify({ format: STORE_FORMAT, ...head });
}

/** The head that `text` holds; `newer` when a newer version wrote it; undefined when it is none. */
export function parseHead(text: string): StoreHead | 'newer' | undefined {
  let fields: unknown;
  try {
    fields = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof fields !== 'object' || fields === null || !('format' in fields)) return undefined;
  if (typeof fields.format === 'number' && fields.format > STORE_FORMAT) return 'newer';
  if (fields.format !== STORE_FORMAT) return undefined;
  if (!('clusterId' in fields) || typeof fields.clusterId !== 'string') return undefined;
  if (!('revision' in fields) || typeof fields.revision !== 'number') return undefined;
  if (!('entries' in fields) || typeof fields.entries !== 'number') return undefined;
  if (!('sum' in fields) || typeof fields.sum !== 'string') return undefined;
  const { clusterId, revision, entries, sum } = fields;
  return { clusterId, revision, entries, sum };
}

/** The number and the sum of a set of entries, kept up to date in constant time for each change. */
export class EntrySum {
  readonly #hashes = new Map<string, bigint>();
  #sum = 0n;

  get entries(): number {
    return this.#hashes.size;
  }

  get sum(): string {
    return this.#sum.toString(16).padStart(32, '0');
  }

  put(key: string, text: string): void {
    this.remove(key);
    const hashed = BigInt(`0x${hash('sha256', `${key} ${text}`, 'hex').slice(0, 32)}`);
    this.#hashes.set(key, hashed);
    this.#sum ^= hashed;
  }

  remove(key: string): void {
    this.#sum ^= this.#hashes.get(key) ?? 0n;
    this.#hashes.delete(key);
  }
}

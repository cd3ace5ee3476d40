import { CodedError } from '../../kit/coded-error.ts';

/** JSON-representable value of an entry. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

/**
 * Key of the entry that says that the others are an old copy, `{atMs, doubted}`: whoever opens the store has to doubt them first. It
 * is written with the old copy, so that there is never one without the other.
 */
export const RESTORED_KEY = 'restored';

/** One change of the durable state. Keys are short ASCII paths such as `dataset/<uuid>`. */
export type StoreChange =
  | { readonly kind: 'put'; readonly key: string; readonly value: Json }
  | { readonly kind: 'remove'; readonly key: string };

/** The durable state of a control service: a map of small JSON values, read whole at start, then only written. */
export interface Store {
  /** Random identity given when the store was created; a restored backup keeps it. */
  readonly clusterId: string;
  /** Number of the last commit that is in the store. */
  readonly revision: number;
  /** Every entry as it was when the store was opened. May be called once. */
  entries(): ReadonlyMap<string, Json>;
  /**
   * Makes all changes durable, atomically and in the order of the calls; resolves once they survive kill -9 and power loss.
   * Concurrent calls share one write. After a rejection every later call is rejected too: the caller must stop, as what it
   * holds in memory is no longer what is on disk.
   */
  commit(changes: readonly StoreChange[]): Promise<void>;
  /**
   * Throws unless the caller alone has the store open at this moment, for stores that several may want: what is in its memory is
   * all there is. Absent where a lock sees to that.
   */
  assertCurrent?(): void;
  close(): Promise<void>;
}

/**
 * - `store_damaged`: it exists but is not whole. Never treated as empty.
 * - `store_rolled_back`: it misses commits that were acknowledged, as after restoring an old copy.
 * - `store_locked`: another process has it open.
 * - `store_unsupported`: written by a newer version.
 * - `store_failed`: the disk refused a read or a write.
 */
export type StoreErrorCode =
  | 'store_damaged'
  | 'store_rolled_back'
  | 'store_locked'
  | 'store_unsupported'
  | 'store_failed';

/** A store that cannot be opened or written. The message says what was found and what an operator can do. */
export class StoreError extends CodedError<StoreErrorCode> {
  override readonly name = 'StoreError';
}

import { errorCode, errorText } from '../../../kit/coded-error.ts';
import { StoreError } from '../store.ts';

const UNCHANGED = 'Nothing was changed.';
const RESTORE = 'restore a backup with "flocker store restore" while the control service is stopped';

/** `store_damaged`: `found` says what is not whole. */
export function damaged(directory: string, found: string, cause?: unknown): StoreError {
  return new StoreError(
    'store_damaged',
    `The store in ${directory} is damaged: ${found}. ${UNCHANGED} To go on, ${RESTORE}. ` +
      'A damaged store is never taken for an empty one; to start an empty cluster on purpose, move the directory away.',
    { cause },
  );
}

/** `store_rolled_back`: the store is whole, but `found` says what it lacks. */
export function rolledBack(directory: string, found: string): StoreError {
  return new StoreError(
    'store_rolled_back',
    `The store in ${directory} lacks changes that were confirmed to their callers: ${found}. An old copy was put in its ` +
      `place, or the end of its log was lost. ${UNCHANGED} To go on, ${RESTORE}; or, to give up what is missing, open it ` +
      'once with the option acceptLoss.',
  );
}

/** `store_locked`: somebody else has it open. */
export function locked(directory: string, by: string): StoreError {
  return new StoreError(
    'store_locked',
    `The store in ${directory} is in use by ${by}. Two control services must not share a directory: stop the other one, ` +
      'or give this one a directory of its own.',
  );
}

/** `store_unsupported`: a newer version wrote it. */
export function unsupported(directory: string): StoreError {
  return new StoreError(
    'store_unsupported',
    `The store in ${directory} was written by a newer version of this program. ${UNCHANGED} Start that version again, or ` +
      `${RESTORE}, one taken before the upgrade.`,
  );
}

/** `store_failed` for a directory that holds something else. */
export function foreign(directory: string, names: readonly string[]): StoreError {
  return new StoreError(
    'store_failed',
    `No store was created in ${directory}: it holds ${names
      .slice(0, 3)
      .map((name) => JSON.stringify(name))
      .join(', ')}` +
      `${names.length > 3 ? ` and ${names.length - 3} more` : ''}, which is no part of a store. ${UNCHANGED} ` +
      'Name an empty directory, or one that does not exist yet.',
  );
}

const REASONS: Readonly<Record<string, string>> = {
  EACCES: 'this user has no permission',
  EPERM: 'this user has no permission',
  EROFS: 'the disk is mounted read-only',
  ENOSPC: 'the disk is full',
  EDQUOT: 'the disk quota is used up',
  ENOTDIR: 'it, or a part of its path, is not a directory',
  EEXIST: 'it, or a part of its path, is not a directory',
  EIO: 'the disk fails',
};

/** `store_failed`: the operating system or LevelDB refused to `attempt` (as in "write to") the store. */
export function refused(directory: string, attempt: string, cause: unknown): StoreError {
  const reason = REASONS[errorCode(cause) ?? ''];
  return new StoreError(
    'store_failed',
    `Could not ${attempt} the store in ${directory}: ${reason === undefined ? '' : `${reason}: `}${errorText(cause)}. ` +
      'See to the disk and the permissions, then start the control service again.',
    { cause },
  );
}

import { errorCode, errorText } from '../../kit/coded-error.ts';
import type { ProblemCode } from '../../model/volume-state.ts';
import { BackendError } from './backend.ts';

/** Codes of the kernel and of mkfs that say more than "it failed". */
const CODES: Readonly<Record<string, ProblemCode>> = {
  ENOSPC: 'no_space',
  EDQUOT: 'no_space',
  // EDQUOT as node's own file functions name it.
  'Unknown system error -122': 'no_space',
  no_space: 'no_space',
  EFBIG: 'bad_size',
  ESHUTDOWN: 'pool_unreachable',
  ENOTCONN: 'pool_unreachable',
};

const ADVICE: Readonly<Record<string, string>> = {
  EPERM: 'run the node agent as root with CAP_SYS_ADMIN',
  EACCES: 'run the node agent as root',
  EUCLEAN: 'the filesystem is damaged; it is never repaired by itself: check it with fsck while it is not mounted',
  EROFS: 'the storage is read-only: look for I/O errors in the kernel log',
  ESHUTDOWN: 'the storage has cut this node off; the agent mounts it again with its next step',
  ENOTCONN: 'what served the storage on this node has ended; the agent mounts it again with its next step',
  EIO: 'look for I/O errors in the kernel log',
};

/**
 * Runs a step and turns what it throws into a {@link BackendError} that begins with `what`, such as
 * `cannot mount volume … on node …`. An abort passes through unchanged.
 */
export async function explainFailure<T>(what: string, signal: AbortSignal | null, step: () => Promise<T>): Promise<T> {
  try {
    return await step();
  } catch (error) {
    if (error instanceof BackendError || (signal?.aborted === true && error === signal.reason)) throw error;
    const code = errorCode(error) ?? '';
    const advice = ADVICE[code];
    const text = `${what}: ${errorText(error)}${advice === undefined ? '' : `; ${advice}`}`;
    throw new BackendError(CODES[code] ?? 'backend_failed', text, { cause: error });
  }
}

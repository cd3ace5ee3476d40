import { CodedError } from '../../kit/coded-error.ts';
import { VolumeError, type VolumeErrorCode } from '../../volumes/volume-error.ts';

/**
 * Errors of the node agent's own API besides those of volumes.
 *
 * - `bad_request`: the request does not fit the schema. `bad_target`: a mount point that is not allowed or cannot be made.
 * - `no_such_process`: the process that was named is not there. `not_attended`: a `run/` holder without its connection.
 * - `internal`: a fault in the agent; its log has more.
 */
export type LocalErrorCode =
  | VolumeErrorCode
  | 'bad_request'
  | 'bad_target'
  | 'no_such_process'
  | 'not_attended'
  | 'not_found'
  | 'internal';

/** A request that the node agent refuses. */
export class LocalError extends CodedError<LocalErrorCode> {
  override readonly name = 'LocalError';
}

/** HTTP status of every error. */
export const LOCAL_STATUS: Readonly<Record<LocalErrorCode, number>> = {
  bad_request: 400,
  bad_name: 400,
  bad_size: 400,
  bad_holder: 400,
  bad_target: 400,
  not_found: 404,
  volume_not_found: 404,
  no_such_process: 404,
  ambiguous_name: 409,
  leased_elsewhere: 409,
  in_use: 409,
  released: 409,
  not_attended: 409,
  no_such_profile: 422,
  needs_action: 422,
  refused: 422,
  cancelled: 503,
  unreachable: 503,
  timed_out: 504,
  no_space: 507,
  ledger_failed: 500,
  ledger_damaged: 500,
  internal: 500,
};

/** The error as it is answered; faults of our own give nothing away but that they happened. */
export function localErrorOf(error: unknown): LocalError | VolumeError {
  if (error instanceof LocalError || error instanceof VolumeError) return error;
  return new LocalError('internal', 'the node agent failed; its log says more', { cause: error });
}

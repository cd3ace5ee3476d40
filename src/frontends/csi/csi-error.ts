import { ClientError, type ClientErrorCode } from '../../client/flocker-client.ts';
import { CodedError, errorCode, errorText } from '../../kit/coded-error.ts';
import { DeadlineExceeded } from '../../kit/deadline.ts';
import { VolumeError, type VolumeErrorCode } from '../../volumes/volume-error.ts';

/** Status codes of gRPC that our answers carry, with their numbers on the wire. */
export const STATUS = {
  CANCELLED: 1,
  INVALID_ARGUMENT: 3,
  DEADLINE_EXCEEDED: 4,
  NOT_FOUND: 5,
  ALREADY_EXISTS: 6,
  RESOURCE_EXHAUSTED: 8,
  FAILED_PRECONDITION: 9,
  ABORTED: 10,
  OUT_OF_RANGE: 11,
  UNIMPLEMENTED: 12,
  INTERNAL: 13,
  UNAVAILABLE: 14,
} as const;
export type StatusCode = keyof typeof STATUS;

/** A call that is refused or failed; the message goes to the caller: which volume, what is wrong, what to do. */
export class CsiError extends CodedError<StatusCode> {
  override readonly name = 'CsiError';
}

const OF_VOLUMES: Readonly<Record<VolumeErrorCode, StatusCode>> = {
  bad_name: 'INVALID_ARGUMENT',
  bad_size: 'OUT_OF_RANGE',
  bad_holder: 'INTERNAL',
  volume_not_found: 'NOT_FOUND',
  ambiguous_name: 'FAILED_PRECONDITION',
  no_such_profile: 'INVALID_ARGUMENT',
  no_space: 'RESOURCE_EXHAUSTED',
  needs_action: 'FAILED_PRECONDITION',
  leased_elsewhere: 'FAILED_PRECONDITION',
  in_use: 'FAILED_PRECONDITION',
  timed_out: 'DEADLINE_EXCEEDED',
  cancelled: 'UNAVAILABLE',
  released: 'ABORTED',
  unreachable: 'UNAVAILABLE',
  refused: 'FAILED_PRECONDITION',
  ledger_failed: 'INTERNAL',
  ledger_damaged: 'INTERNAL',
};

const OF_CLIENT: Readonly<Record<ClientErrorCode, StatusCode>> = {
  not_found: 'NOT_FOUND',
  deleted: 'NOT_FOUND',
  id_in_use: 'ALREADY_EXISTS',
  lease_held: 'FAILED_PRECONDITION',
  condition_failed: 'ABORTED',
  bad_request: 'INVALID_ARGUMENT',
  needs_action: 'FAILED_PRECONDITION',
  tls_refused: 'UNAVAILABLE',
  unreachable: 'UNAVAILABLE',
  server_failed: 'UNAVAILABLE',
  not_supported: 'FAILED_PRECONDITION',
  in_use: 'FAILED_PRECONDITION',
  unexpected_answer: 'INTERNAL',
};

/** Problems of a dataset, in a client error's cause, that CSI has a code for. */
const OF_PROBLEMS: ReadonlyMap<string, StatusCode> = new Map([
  ['no_space', 'RESOURCE_EXHAUSTED'],
  ['bad_size', 'OUT_OF_RANGE'],
  ['no_such_profile', 'INVALID_ARGUMENT'],
]);

/** What the caller is told of anything that was thrown. Never a stack; of what we did not foresee nothing at all. */
export function csiErrorOf(error: unknown): CsiError {
  if (error instanceof CsiError) return error;
  const told = errorText(error);
  if (error instanceof VolumeError) return new CsiError(OF_VOLUMES[error.code], told, { cause: error });
  if (error instanceof ClientError) {
    const problem = error.code === 'needs_action' ? OF_PROBLEMS.get(errorCode(error.cause) ?? '') : undefined;
    return new CsiError(problem ?? OF_CLIENT[error.code], told, { cause: error });
  }
  if (error instanceof DeadlineExceeded) return new CsiError('DEADLINE_EXCEEDED', told, { cause: error });
  return new CsiError('INTERNAL', 'the node agent failed; its log says more', { cause: error });
}

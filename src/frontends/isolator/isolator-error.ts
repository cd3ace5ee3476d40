import { CodedError } from '../../kit/coded-error.ts';
import { DeadlineExceeded } from '../../kit/deadline.ts';
import { VolumeError, type VolumeErrorCode } from '../../volumes/volume-error.ts';

/**
 * Errors of the isolator's API besides those of volumes.
 *
 * - `bad_variable`: a variable of the task, or a combination of them, that means no volume.
 * - `bad_path`: a container path where no volume may or can be mounted.
 * - `not_allowed`: a rule of the operator is against it.
 * - `bad_request`: the call does not fit the schema. `not_found`: there is no such call.
 * - `busy`: an earlier call is not done yet. `internal`: a fault in the agent; its log has more.
 */
export type IsolatorErrorCode =
  | VolumeErrorCode
  | 'bad_variable'
  | 'bad_path'
  | 'not_allowed'
  | 'bad_request'
  | 'not_found'
  | 'busy'
  | 'internal';

/** A call that the isolator refuses. */
export class IsolatorError extends CodedError<IsolatorErrorCode> {
  override readonly name = 'IsolatorError';
}

interface Rendering {
  readonly status: number;
  /** What a user can do, where the message itself does not say it. */
  readonly remedy?: string;
}

const RENDERINGS: Readonly<Record<IsolatorErrorCode, Rendering>> = {
  bad_variable: { status: 400 },
  bad_path: { status: 400 },
  not_allowed: { status: 403 },
  bad_request: { status: 400 },
  not_found: { status: 404 },
  busy: { status: 503 },
  bad_name: { status: 400 },
  bad_size: { status: 400 },
  bad_holder: { status: 400 },
  volume_not_found: { status: 404, remedy: 'Create it, or set FLOCKER_CREATE=auto' },
  ambiguous_name: { status: 409 },
  no_such_profile: { status: 422 },
  needs_action: { status: 422 },
  no_space: { status: 507, remedy: 'Free space in the storage of this node, or ask for less' },
  leased_elsewhere: {
    status: 409,
    remedy: 'Stop what uses it there. If that node is dead, its lease ends by itself; then try again',
  },
  timed_out: { status: 504, remedy: 'Try again; "flockerctl list" says what the volume waits for' },
  cancelled: { status: 503, remedy: 'Try again' },
  in_use: { status: 409 },
  released: { status: 409 },
  unreachable: { status: 503, remedy: 'Check the Flocker control service and the network to it' },
  refused: { status: 422 },
  ledger_failed: { status: 500 },
  ledger_damaged: { status: 500 },
  internal: { status: 500 },
};

/** Which node speaks, for messages that are read far away from it. */
export interface NodeName {
  readonly id: string;
  readonly hostname: string;
}

/** What a call is answered with when it failed: a message for who reads `TASK_FAILED`, and a status. */
export function renderError(error: unknown, node: NodeName): { status: number; code: string; message: string } {
  const known = knownError(error);
  const { status, remedy } = RENDERINGS[known.code];
  const reason = known.message.replace(/\.$/, '');
  const message = `Flocker on node ${node.hostname} (${node.id}): ${reason}.${remedy === undefined ? '' : ` ${remedy}.`}`;
  return { status, code: known.code, message };
}

function knownError(error: unknown): IsolatorError | VolumeError {
  if (error instanceof IsolatorError || error instanceof VolumeError) return error;
  if (error instanceof DeadlineExceeded) return new IsolatorError('timed_out', error.message, { cause: error });
  return new IsolatorError('internal', 'the node agent failed; its log says more', { cause: error });
}

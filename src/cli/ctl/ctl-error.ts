import { CodedError } from '../../kit/coded-error.ts';

/**
 * - `no_control_service`: nothing says where the control service is. `bad_file`: a file that should say it is missing or
 *   says something else.
 * - `no_match`, `ambiguous`: what was given names no, or more than one, node or dataset; nothing was changed.
 * - `name_taken`: there is a volume of that name.
 * - `not_confirmed`: it needs a yes; nothing was changed.
 * - `timed_out`: the change is saved, but it was not done within the time given.
 */
export type CtlErrorCode =
  | 'no_control_service'
  | 'bad_file'
  | 'no_match'
  | 'ambiguous'
  | 'name_taken'
  | 'not_confirmed'
  | 'timed_out'
  | 'unexpected_answer';

/** A command of `flockerctl` that did not do what it was asked. */
export class CtlError extends CodedError<CtlErrorCode> {
  override readonly name = 'CtlError';
}

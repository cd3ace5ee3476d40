import { CodedError } from '../kit/coded-error.ts';

/**
 * - `bad_name`, `bad_size`, `bad_holder`: the request itself is wrong; nothing was done.
 * - `volume_not_found`: there is none of this name and making one was not allowed.
 * - `ambiguous_name`: several volumes have this name.
 * - `no_such_profile`, `no_space`, `needs_action`: the volume cannot be had until a person acts.
 * - `leased_elsewhere`: another node held it until the deadline.
 * - `in_use`: it cannot be removed, as somebody on this node uses it.
 * - `timed_out`: the deadline passed; the message carries what was waited for.
 * - `cancelled`: the caller gave up, or this daemon is stopping. `released`: the holder was released meanwhile.
 * - `unreachable`: no answer from the control service.
 * - `refused`: it answered, and would not.
 * - `ledger_failed`: the disk refused the record of holders. `ledger_damaged`: the record is not whole.
 */
export type VolumeErrorCode =
  | 'bad_name'
  | 'bad_size'
  | 'bad_holder'
  | 'volume_not_found'
  | 'ambiguous_name'
  | 'no_such_profile'
  | 'no_space'
  | 'needs_action'
  | 'leased_elsewhere'
  | 'in_use'
  | 'timed_out'
  | 'cancelled'
  | 'released'
  | 'unreachable'
  | 'refused'
  | 'ledger_failed'
  | 'ledger_damaged';

/** A volume that could not be acquired or released. The message names the volume, the reason and the remedy. */
export class VolumeError extends CodedError<VolumeErrorCode> {
  override readonly name = 'VolumeError';
}

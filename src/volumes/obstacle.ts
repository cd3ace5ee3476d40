import { ClientError, type ClientErrorCode } from '../client/flocker-client.ts';
import { errorCode, errorText } from '../kit/coded-error.ts';
import { DeadlineExceeded } from '../kit/deadline.ts';
import { VolumeError, type VolumeErrorCode } from './volume-error.ts';

/** Something in the way of an acquire that may pass. */
export interface Obstacle {
  /** What the acquire fails with when its deadline comes first. */
  readonly code: 'timed_out' | 'leased_elsewhere' | 'unreachable';
  readonly message: string;
  /** Trying again makes sense without a pause. */
  readonly waited?: true;
}

type Meaning = VolumeErrorCode | 'changed' | 'held';

/** `changed`: the cluster is not as it was a moment ago, look again. `held`: wait for the lease. */
const MEANINGS: Readonly<Record<ClientErrorCode, Meaning>> = {
  not_found: 'changed',
  deleted: 'changed',
  id_in_use: 'changed',
  condition_failed: 'changed',
  lease_held: 'held',
  needs_action: 'needs_action',
  bad_request: 'refused',
  tls_refused: 'refused',
  not_supported: 'refused',
  in_use: 'refused',
  unexpected_answer: 'refused',
  unreachable: 'unreachable',
  server_failed: 'unreachable',
};

/** Problems that have a code of their own, where the client tells them apart in its error's cause. */
const PROBLEM_CODES: ReadonlyMap<string, VolumeErrorCode> = new Map([
  ['no_such_profile', 'no_such_profile'],
  ['bad_size', 'bad_size'],
  ['no_space', 'no_space'],
]);

/** The obstacle that an error stands for; throws the VolumeError when there is no use in trying again. */
export function obstacleOf(volume: string, error: unknown): Obstacle {
  if (error instanceof VolumeError) throw error;
  const message = errorText(error);
  if (error instanceof DeadlineExceeded) return { code: 'unreachable', message: `the control service: ${message}` };
  if (!(error instanceof ClientError)) throw error;
  const meaning = MEANINGS[error.code];
  if (meaning === 'changed') return { code: 'timed_out', message };
  if (meaning === 'held') return { code: 'leased_elsewhere', message };
  if (meaning === 'unreachable') return { code: 'unreachable', message };
  const problem = meaning === 'needs_action' ? PROBLEM_CODES.get(errorCode(error.cause) ?? '') : undefined;
  throw new VolumeError(problem ?? meaning, `volume ${volume}: ${message}`, { cause: error });
}

import { CodedError } from '../../kit/coded-error.ts';

/**
 * - `unreachable`: no connection, or it broke. `not_ready`: the agent does not know yet who it is (503).
 * - `not_allowed`: 401 or 403. `not_subscribed`: the agent has another stream, or none.
 * - `invalid_call`: it refused what we sent. `unexpected_answer`: anything else.
 */
export type MesosErrorCode =
  | 'unreachable'
  | 'not_ready'
  | 'not_allowed'
  | 'not_subscribed'
  | 'invalid_call'
  | 'unexpected_answer';

/** The agent of Mesos could not be asked, or did not do what it was asked for. */
export class MesosError extends CodedError<MesosErrorCode> {
  override readonly name = 'MesosError';
}

/** What an answer that is no success means. */
export function mesosErrorOf(what: string, status: number, text: string): MesosError {
  const said = text.trim().slice(0, 500);
  const told = `${what}: the agent answered ${status}${said === '' ? '' : `: ${said}`}`;
  if (status === 503) return new MesosError('not_ready', told);
  if (status === 401 || status === 403)
    return new MesosError(
      'not_allowed',
      `${told}. Give credentials that may do this with --credential or --token-file.`,
    );
  if (status === 400 && /not subscribed|stream/i.test(said)) return new MesosError('not_subscribed', told);
  if (status >= 400 && status < 500) return new MesosError('invalid_call', told);
  return new MesosError('unexpected_answer', told);
}

import { CodedError } from '../kit/coded-error.ts';

/**
 * - `unreachable`: no connection, or it broke. `not_ready`: an agent that does not know yet who it is, or a master without a leader (503).
 * - `not_allowed`: 401 or 403. `not_subscribed`: the agent has another stream, or none.
 * - `invalid_call`: it refused what we sent. `unexpected_answer`: anything else.
 * - `bad_credential`: the file with our credentials is none.
 */
export type MesosErrorCode =
  | 'unreachable'
  | 'not_ready'
  | 'not_allowed'
  | 'not_subscribed'
  | 'invalid_call'
  | 'unexpected_answer'
  | 'bad_credential';

/** An agent or a master of Mesos could not be asked, or did not do what it was asked for. */
export class MesosError extends CodedError<MesosErrorCode> {
  override readonly name = 'MesosError';
}

/** Whom we asked, and what to do when it does not know us. */
export interface MesosPeer {
  readonly name: 'agent' | 'master';
  readonly credentialAdvice: string;
}

/** What an answer that is no success means. */
export function mesosErrorOf(peer: MesosPeer, what: string, status: number, text: string): MesosError {
  const said = text.trim().slice(0, 500);
  const told = `${what}: the ${peer.name} answered ${status}${said === '' ? '' : `: ${said}`}`;
  if (status === 503) return new MesosError('not_ready', told);
  if (status === 401 || status === 403) return new MesosError('not_allowed', `${told}. ${peer.credentialAdvice}`);
  if (status === 400 && /not subscribed|stream/i.test(said)) return new MesosError('not_subscribed', told);
  if (status >= 400 && status < 500) return new MesosError('invalid_call', told);
  return new MesosError('unexpected_answer', told);
}

import { DESCRIPTIONS } from '../api/errors.ts';
import { ClientError, type ClientErrorCode } from './flocker-client.ts';
import { SHAPES, type Shape } from './shapes.ts';

/** An answer to `what`, for example `GET /v1/version`. */
export interface Answer {
  readonly url: string;
  readonly status: number;
  readonly text: string;
}

/** The body of a success. Throws the ClientError that any other status, or another body, means. */
export function bodyOf<T>(answer: Answer, successes: readonly number[], shape: Shape<T>, what: string): T {
  if (!successes.includes(answer.status)) throw failureOfStatus(answer, what);
  const body = parsed(answer.text);
  if (shape.Check(body)) return body;
  const first = shape.Errors(body)[0];
  const reason = first === undefined ? 'not JSON' : `${first.instancePath || 'the body'} ${first.message}`;
  throw new ClientError('unexpected_answer', `${where(answer, what)}: not the answer of a control service (${reason})`);
}

/** The ClientError for an answer that is no success (contract 1.2). */
export function failureOfStatus(answer: Answer, what: string): ClientError {
  const { status } = answer;
  const body = parsed(answer.text);
  const from = where(answer, what);
  if (status >= 500) {
    const incident = typeof body === 'string' ? `; look for ${body} in its log` : '';
    const said = SHAPES.error.Check(body) ? `: ${body.description}` : incident;
    return new ClientError('server_failed', `${from}: the control service failed (${status})${said}`);
  }
  if (status === 412) {
    const said = SHAPES.error.Check(body) ? body.description : 'the configuration changed';
    return new ClientError('condition_failed', `${from}: ${said}`);
  }
  // Without Flocker's body it is some other server's answer, or a route that this one does not have.
  if (!SHAPES.error.Check(body)) {
    return new ClientError('unexpected_answer', `${from}: status ${status} without a description; check the address`);
  }
  const code = codeOf(status, body.description);
  const details = body.errors === undefined || body.errors.length === 0 ? '' : ` (${body.errors.join('; ')})`;
  const unexpected = code === 'unexpected_answer' ? `status ${status}: ` : '';
  return new ClientError(code, `${from}: ${unexpected}${body.description}${details}`);
}

function codeOf(status: number, description: string): ClientErrorCode {
  if (status === 400) return 'bad_request';
  if (status === 404) return 'not_found';
  if (status === 405 && description === DESCRIPTIONS.datasetDeleted) return 'deleted';
  if (status === 409 && description === DESCRIPTIONS.datasetIdInUse) return 'id_in_use';
  if (status === 409 && description === DESCRIPTIONS.leaseHeld) return 'lease_held';
  if (status === 409 && description === DESCRIPTIONS.onlyGrows) return 'bad_request';
  if (status === 409 && description === DESCRIPTIONS.snapshotIdInUse) return 'id_in_use';
  if (status === 409 && description === DESCRIPTIONS.snapshotInUse) return 'in_use';
  if (status === 409 && description === DESCRIPTIONS.nodeConnected) return 'in_use';
  if (status === 409 && description === DESCRIPTIONS.nodeDeclaredDead) return 'in_use';
  if (status === 409 && description === DESCRIPTIONS.snapshotNotReady) return 'condition_failed';
  return 'unexpected_answer';
}

function where(answer: Answer, what: string): string {
  return `${what} at ${answer.url}`;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

import { errorCode, errorText } from '../kit/coded-error.ts';
import { ClientError } from './flocker-client.ts';
import type { HttpsRequest } from './https.ts';
import { tlsReason } from './tls-errors.ts';

/** A connection could not be made, so that nothing of a request was sent; `cause` says why. */
export class NotConnected extends Error {
  override readonly name = 'NotConnected';
  readonly code = 'NOT_CONNECTED';

  constructor(cause: unknown) {
    super(errorText(cause), { cause });
  }
}

const BROKEN: ReadonlySet<string> = new Set(['UND_ERR_SOCKET', 'ECONNRESET', 'EPIPE', 'ECONNABORTED', 'ETIMEDOUT']);
const CLOSED: ReadonlySet<string> = new Set(['UND_ERR_DESTROYED', 'UND_ERR_CLOSED']);

/** Whether nothing was sent, and another server may do better. */
export function notConnected(error: unknown): boolean {
  return error instanceof NotConnected;
}

/** Whether the connection broke after it had been made. */
export function retryable(error: unknown): boolean {
  return BROKEN.has(errorCode(error) ?? '');
}

/** What to add to the message of a request whose answer did not come. */
export function unansweredWrite(request: HttpsRequest): string {
  return request.method === 'GET' ? '' : ' It is unknown whether the request took effect.';
}

/** The ClientError for whatever undici, TLS or the network threw. */
export function failureOf(
  error: unknown,
  server: { readonly url: string; readonly identity: string },
  request: HttpsRequest,
): ClientError {
  if (error instanceof ClientError) return error;
  const options = { cause: error };
  const what = `${request.method} ${server.url}${request.path}`;
  if (error instanceof NotConnected) {
    const refused = tlsReason(error.cause, server.url, server.identity);
    if (refused !== undefined) return new ClientError('tls_refused', refused, options);
    return new ClientError('unreachable', `${server.url} cannot be reached: ${networkText(error.cause)}`, options);
  }
  const alert = tlsReason(error, server.url, server.identity);
  if (alert !== undefined) return new ClientError('tls_refused', alert, options);
  const code = errorCode(error) ?? '';
  if (CLOSED.has(code)) return new ClientError('unreachable', `${what}: this client was closed`, options);
  if (code === 'UND_ERR_INVALID_ARG') {
    return new ClientError('bad_request', `${what}: ${errorText(error)}; nothing was sent`, options);
  }
  if (BROKEN.has(code)) {
    const text = `${what}: the connection broke before the answer was complete (${errorText(error)}).`;
    return new ClientError('unreachable', `${text}${unansweredWrite(request)}`, options);
  }
  const text = `${what}: the answer is not what a control service sends (${errorText(error)}).`;
  return new ClientError('unexpected_answer', `${text}${unansweredWrite(request)}`, options);
}

const NETWORK_TEXTS: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'connection refused; check that the control service runs and the port is right',
  ENOTFOUND: 'no such host name',
  EAI_AGAIN: 'the name service does not answer',
  EHOSTUNREACH: 'no route to the host',
  ENETUNREACH: 'no route to the network',
  UND_ERR_CONNECT_TIMEOUT: 'connecting took too long; check the address and firewalls',
  ECONNRESET: 'the connection was closed during the TLS handshake',
};

function networkText(error: unknown): string {
  // Node tries all addresses of a name and then throws an AggregateError whose own message is empty.
  const first: unknown = error instanceof AggregateError ? error.errors[0] : error;
  const code = errorCode(error) ?? errorCode(first);
  return (code === undefined ? undefined : NETWORK_TEXTS[code]) ?? errorText(first);
}

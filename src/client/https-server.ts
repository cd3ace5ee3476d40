import { isIP } from 'node:net';
import { setImmediate } from 'node:timers/promises';
import { buildConnector, Pool } from 'undici';
import type { Clock } from '../kit/clock.ts';
import { ClientError } from './flocker-client.ts';
import type { HttpsAnswer, HttpsRequest, HttpsStream } from './https.ts';
import { NotConnected, retryable } from './https-failures.ts';
import { probeHandshake } from './probe.ts';
import { refusedReason, tlsReason } from './tls-errors.ts';
import type { LoadedIdentity } from './tls-identity.ts';

export type CheckName = 'control-service' | 'dialled';

/** Longest answer, in bytes: beyond 200,000 datasets. */
const LONGEST_ANSWER_BYTES = 64 * 2 ** 20;
/** Short requests at the same time; more wait for a connection. Streams have connections of their own, without a limit. */
const MOST_CONNECTIONS = 16;

interface ServerOptions {
  readonly url: string;
  readonly identity: LoadedIdentity;
  readonly checkName: CheckName;
  readonly connectTimeoutMs: number;
  readonly clock: Clock;
}

/** One control service: its connections, kept alive, and what a broken one means. */
export class HttpsServer {
  readonly url: string;
  readonly identity: string;
  readonly #options: ServerOptions;
  readonly #requests: Pool;
  readonly #streams: Pool;

  constructor(options: ServerOptions) {
    this.#options = options;
    this.url = originOf(options.url);
    this.identity = options.identity.description;
    // Deadlines are the caller's; undici's own time-outs would cut an idle event stream.
    const connections = { connect: this.#connector(), headersTimeout: 0, bodyTimeout: 0 };
    this.#requests = new Pool(this.url, {
      ...connections,
      connections: MOST_CONNECTIONS,
      maxResponseSize: LONGEST_ANSWER_BYTES,
    });
    this.#streams = new Pool(this.url, connections);
  }

  async request(request: HttpsRequest, signal: AbortSignal): Promise<HttpsAnswer> {
    const headers: Record<string, string> = { accept: 'application/json', ...request.headers };
    if (request.body !== undefined) headers['content-type'] = 'application/json';
    const {
      statusCode,
      headers: answered,
      body,
    } = await this.#requests.request({
      method: request.method,
      path: request.path,
      headers,
      body: request.body === undefined ? null : JSON.stringify(request.body),
      signal,
    });
    const text = await body.text();
    // undici hands a connection out again one turn of the event loop after its answer; a caller who asks on at once
    // would have a second one made, for every node of the cluster.
    await setImmediate();
    return { url: this.url, status: statusCode, headers: answered, text };
  }

  async stream({ method, path, headers = {}, body }: HttpsRequest, signal: AbortSignal): Promise<HttpsStream> {
    const typed = body === undefined ? headers : { ...headers, 'content-type': 'application/json' };
    const text = body === undefined ? null : JSON.stringify(body);
    const answer = await this.#streams.request({ method, path, headers: typed, body: text, signal });
    return { url: this.url, status: answer.statusCode, headers: answer.headers, body: answer.body };
  }

  /** Whether `error` looks the same as a server that does not take our certificate. */
  mayBeRefusal(error: unknown): boolean {
    return retryable(error instanceof NotConnected ? error.cause : error);
  }

  /** Says why the server refuses us, or undefined when it does not, or cannot be asked. */
  async refusal(signal: AbortSignal): Promise<string | undefined> {
    const { hostname, port } = new URL(this.url);
    const host = withoutBrackets(hostname);
    const probe = await probeHandshake(
      { ...this.#tls(), servername: this.#serverName(host), host, port: Number(port || 443) },
      this.#options.clock,
      signal,
    );
    if (probe.kind === 'closed') {
      return refusedReason(this.url, this.identity, 'it closes the connection after the handshake');
    }
    return probe.kind === 'failed' ? tlsReason(probe.error, this.url, this.identity) : undefined;
  }

  async close(): Promise<void> {
    await Promise.all([this.#requests.destroy(), this.#streams.destroy()]);
  }

  #connector(): buildConnector.connector {
    const dial = buildConnector({
      ...this.#tls(),
      ...(this.#options.checkName === 'control-service' ? { servername: 'control-service' } : {}),
      timeout: this.#options.connectTimeoutMs,
      // A resumed session skips the check of the server's name and date.
      maxCachedSessions: 0,
    });
    return (options, callback) => {
      dial(options, (...[error, socket]) => {
        if (error !== null) callback(new NotConnected(error), null);
        else if (socket !== null) callback(null, socket);
      });
    };
  }

  #tls(): { secureContext: LoadedIdentity['context']; rejectUnauthorized: true } {
    // Explicit, because NODE_TLS_REJECT_UNAUTHORIZED=0 changes the default.
    return { secureContext: this.#options.identity.context, rejectUnauthorized: true };
  }

  /** SNI must not be an address (RFC 6066 section 3); Node then checks the address that was dialled. */
  #serverName(host: string): string {
    if (this.#options.checkName === 'control-service') return 'control-service';
    return isIP(host) === 0 ? host : '';
  }
}

function originOf(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol !== 'https:') {
    throw new ClientError('bad_request', `"${text}" is no URL of a control service: write https://HOST:4523`);
  }
  return url.origin;
}

function withoutBrackets(hostname: string): string {
  return hostname.startsWith('[') ? hostname.slice(1, -1) : hostname;
}

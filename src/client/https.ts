import type { Readable } from 'node:stream';
import { type Clock, pause } from '../kit/clock.ts';
import { DeadlineExceeded, startDeadline } from '../kit/deadline.ts';
import type { Logger } from '../kit/logger.ts';
import { ClientError } from './flocker-client.ts';
import { failureOf, notConnected, retryable, unansweredWrite } from './https-failures.ts';
import { type CheckName, HttpsServer } from './https-server.ts';
import { loadIdentity, type TlsIdentity } from './tls-identity.ts';

/** One request; `path` starts with `/` and holds the query. */
export interface HttpsRequest {
  readonly method: 'GET' | 'POST' | 'DELETE';
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Sent as JSON. */
  readonly body?: unknown;
}

/** A complete answer, whatever its status. */
export interface HttpsAnswer {
  readonly url: string;
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly text: string;
}

/** An answer whose body is still to come. The reader has to destroy `body` or read it to its end. */
export interface HttpsStream {
  readonly url: string;
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: Readable;
}

/** Between two rounds through all servers while none of them leads. */
const NEXT_ROUND_MS = 200;

interface HttpsOptions {
  readonly urls: readonly string[];
  readonly tls: TlsIdentity;
  readonly checkName: CheckName;
  readonly requestTimeoutMs: number;
  /** With several servers: how long one that takes over is waited for when none can be reached; not at all unless given. */
  readonly takeoverTimeoutMs?: number | undefined;
  readonly clock: Clock;
  readonly logger: Logger;
}

/**
 * Requests to the control services of one cluster over mutual TLS. Fails with `unreachable`, `tls_refused` or
 * `unexpected_answer`, or with the signal's reason; every status is a success here.
 */
export class Https {
  readonly #options: HttpsOptions;
  /** The one that answered last comes first. */
  #servers: readonly HttpsServer[];
  #closed = false;

  constructor(options: HttpsOptions) {
    if (options.urls.length === 0) throw new ClientError('bad_request', 'No URL of a control service was given');
    const identity = loadIdentity(options.tls);
    this.#options = options;
    this.#servers = options.urls.map(
      (url) =>
        new HttpsServer({
          url,
          identity,
          checkName: options.checkName,
          // Half, so that a dead address leaves time to say so before the request's own deadline.
          connectTimeoutMs: Math.max(1, Math.floor(options.requestTimeoutMs / 2)),
          clock: options.clock,
        }),
    );
  }

  /** The whole answer to `request`. */
  request(request: HttpsRequest, signal: AbortSignal): Promise<HttpsAnswer> {
    return this.#inTurn(request, signal, async (server) => {
      const what = `${request.method} ${server.url}${request.path}`;
      const deadline = startDeadline(this.#options.clock, this.#options.requestTimeoutMs, what, signal);
      try {
        return await server.request(request, deadline.signal);
      } finally {
        deadline.clear();
      }
    });
  }

  /** The head of the answer to a GET of `path`; `signal` stays in force for its body. */
  open(path: string, signal: AbortSignal): Promise<HttpsStream> {
    return this.pass({ method: 'GET', path, headers: { accept: 'text/event-stream' } }, signal);
  }

  /** The head of the answer to any request; `signal` stays in force for its body, and is the only deadline. */
  pass(request: HttpsRequest, signal: AbortSignal): Promise<HttpsStream> {
    return this.#inTurn(request, signal, (server) => server.stream(request, signal));
  }

  /** Whether `close` was called: then there is nothing to wait for any more. */
  get closed(): boolean {
    return this.#closed;
  }

  /** Breaks what is under way and closes all connections. */
  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all(this.#servers.map((server) => server.close()));
  }

  /**
   * The next server is asked when nothing was sent to the one before. A GET is sent once more when its connection broke:
   * a kept-alive connection may be closed by the server at any time.
   */
  async #inTurn<Answer>(
    request: HttpsRequest,
    signal: AbortSignal,
    ask: (server: HttpsServer) => Promise<Answer>,
  ): Promise<Answer> {
    const queue = [...this.#servers];
    const untilMs = this.#options.clock.monotonicMs() + this.#takeoverMs;
    let again = request.method === 'GET';
    for (;;) {
      const server = queue.shift();
      if (server === undefined) throw new ClientError('unreachable', 'No control service could be reached');
      try {
        signal.throwIfAborted();
        const answer = await ask(server);
        this.#prefer(server);
        return answer;
      } catch (error) {
        if (signal.aborted) throw signal.reason;
        // It may be halted, or cut off: the next request begins with another.
        if (error instanceof DeadlineExceeded) this.#putLast(server);
        if (retryable(error) && again) {
          again = false;
          queue.unshift(server);
        } else if (!notConnected(error)) {
          throw await this.#explain(error, server, request, signal);
        } else if (queue.length === 0) {
          const failure = await this.#explain(error, server, request, signal);
          if (failure.code !== 'unreachable' || this.#options.clock.monotonicMs() >= untilMs) throw failure;
          await pause(this.#options.clock, NEXT_ROUND_MS, signal);
          queue.push(...this.#servers);
        } else {
          const reason = failureOf(error, server, request).message;
          this.#options.logger.warn({ url: server.url, reason }, 'control service not reached; trying the next');
        }
      }
    }
  }

  /** Of one server nobody takes over. */
  get #takeoverMs(): number {
    return this.#servers.length > 1 ? (this.#options.takeoverTimeoutMs ?? 0) : 0;
  }

  async #explain(
    error: unknown,
    server: HttpsServer,
    request: HttpsRequest,
    signal: AbortSignal,
  ): Promise<ClientError> {
    if (error instanceof DeadlineExceeded) {
      return new ClientError('unreachable', `${error.message}.${unansweredWrite(request)}`, { cause: error });
    }
    const failure = failureOf(error, server, request);
    if (failure.code !== 'unreachable' || !server.mayBeRefusal(error)) return failure;
    const refused = await server.refusal(signal);
    signal.throwIfAborted();
    return refused === undefined ? failure : new ClientError('tls_refused', refused, { cause: error });
  }

  #putLast(server: HttpsServer): void {
    this.#servers = [...this.#servers.filter((other) => other !== server), server];
  }

  #prefer(server: HttpsServer): void {
    if (this.#servers[0] === server) return;
    this.#servers = [server, ...this.#servers.filter((other) => other !== server)];
  }
}

import { type IncomingMessage, request } from 'node:http';
import { CodedError, errorCode, errorText } from '../../kit/coded-error.ts';

/**
 * - `agent_not_running`: nobody listens on the socket. `not_allowed`: this user may not open it.
 * - `connection_lost`: the agent went away before it answered. `unexpected_answer`: what answered is no node agent.
 * - `refused`: the agent said no; `reason` is its code.
 */
export type LocalClientErrorCode =
  | 'agent_not_running'
  | 'not_allowed'
  | 'connection_lost'
  | 'unexpected_answer'
  | 'refused';

/** A request to the node agent that did not succeed. */
export class LocalClientError extends CodedError<LocalClientErrorCode> {
  override readonly name = 'LocalClientError';
  /** With `refused`: the code of the agent's error, such as `leased_elsewhere`. */
  readonly reason: string | undefined;

  constructor(code: LocalClientErrorCode, message: string, options?: ErrorOptions & { readonly reason?: string }) {
    super(code, message, options);
    this.reason = options?.reason;
  }
}

export interface WantedVolume {
  readonly name: string;
  /** Bytes. */
  readonly size?: number;
  readonly profile?: string;
  readonly filesystem?: 'ext4' | 'xfs';
  readonly create: 'auto' | 'never';
  readonly mode: 'rw' | 'ro';
}

export interface MountedVolume {
  readonly path: string;
  readonly dataset_id: string;
  /** Bytes; null when not known. */
  readonly size: number | null;
  readonly created: boolean;
  readonly notes: readonly string[];
}

/** An open connection that says "I still live". `lost` resolves when the agent ended it or broke off. */
export interface OpenAttendance {
  readonly lost: Promise<void>;
  close(): void;
}

/**
 * The node agent's API from the same machine. Uses nothing but node's own modules, so that a command line starts fast.
 * Every method fails with a {@link LocalClientError} or with the signal's reason.
 */
export class LocalClient {
  readonly #socketPath: string;

  constructor(socketPath: string) {
    this.#socketPath = socketPath;
  }

  /** Resolves once the volume is mounted here; the agent gives up after `timeoutMs`. */
  async acquire(
    holder: { readonly id: string; readonly detail: string },
    volume: WantedVolume,
    timeoutMs: number,
    signal: AbortSignal,
  ): Promise<MountedVolume> {
    const answer = await this.#call('POST', '/v1/acquire', { holder, volume, timeout_ms: timeoutMs }, signal);
    const { path, dataset_id, size, created, notes } = answer;
    if (typeof path !== 'string' || typeof dataset_id !== 'string' || !Array.isArray(notes))
      throw unexpected('acquire');
    return {
      path,
      dataset_id,
      size: typeof size === 'number' ? size : null,
      created: created === true,
      notes: notes.map(String),
    };
  }

  /** Resolves with the processes that still use the holder's volumes: it ends when they do. None: it has ended. */
  async release(holderId: string, deleteIfCreated: boolean, signal: AbortSignal): Promise<number[]> {
    const body = { holder_id: holderId, delete_if_created: deleteIfCreated };
    const { processes } = await this.#call('POST', '/v1/release', body, signal);
    return Array.isArray(processes) ? processes.map(Number) : [];
  }

  /** Names the process that uses the volumes; makes the mount points and resolves with their real paths. */
  async register(
    holderId: string,
    pid: number,
    targets: readonly string[] | undefined,
    signal: AbortSignal,
  ): Promise<string[]> {
    const body = { pid, ...(targets === undefined ? {} : { targets }) };
    const answer = await this.#call('POST', `/v1/holders/${encodeURIComponent(holderId)}/process`, body, signal);
    if (!Array.isArray(answer['targets'])) throw unexpected('register');
    return answer['targets'].map(String);
  }

  /** Opens the connection whose end tells the agent that this client is gone. */
  async attend(holderId: string, signal: AbortSignal): Promise<OpenAttendance> {
    const path = `/v1/holders/${encodeURIComponent(holderId)}/attend`;
    const response = await this.#send('GET', path, undefined, signal);
    if (response.statusCode !== 200) throw refusal(response.statusCode, await bodyOf(response));
    const lost = new Promise<void>((resolve) => {
      response.once('close', resolve);
      response.once('error', () => resolve());
    });
    response.resume();
    return { lost, close: () => response.destroy() };
  }

  /** All volumes in use on this node, as the agent answers them. */
  volumes(signal: AbortSignal): Promise<Record<string, unknown>> {
    return this.#call('GET', '/v1/volumes', undefined, signal);
  }

  /** Counts of volumes, holders and lost leases, as the agent answers them. */
  status(signal: AbortSignal): Promise<Record<string, unknown>> {
    return this.#call('GET', '/v1/status', undefined, signal);
  }

  async #call(method: string, path: string, body: unknown, signal: AbortSignal): Promise<Record<string, unknown>> {
    const response = await this.#send(method, path, body, signal);
    const answer = await bodyOf(response).catch((error: unknown) => {
      signal.throwIfAborted();
      throw new LocalClientError('connection_lost', `the node agent went away: ${errorText(error)}`, { cause: error });
    });
    if (response.statusCode !== 200) throw refusal(response.statusCode, answer);
    if (answer === undefined) throw unexpected(path);
    return answer;
  }

  #send(method: string, path: string, body: unknown, signal: AbortSignal): Promise<IncomingMessage> {
    const text = body === undefined ? '' : JSON.stringify(body);
    const headers =
      text === '' ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) };
    return new Promise((resolve, reject) => {
      const sent = request({ socketPath: this.#socketPath, method, path, headers, agent: false, signal }, resolve);
      sent.on('error', (error) => reject(signal.aborted ? (signal.reason as Error) : this.#failure(error)));
      sent.end(text);
    });
  }

  #failure(error: Error): LocalClientError {
    const code = errorCode(error);
    if (code === 'ENOENT' || code === 'ECONNREFUSED') {
      const what = code === 'ENOENT' ? 'there is no socket' : 'nobody listens on the socket';
      const message = `${what} ${this.#socketPath}: is the node agent running? Start it with "flocker agent"`;
      return new LocalClientError('agent_not_running', message, { cause: error });
    }
    if (code === 'EACCES' || code === 'EPERM') {
      const message = `this user may not open ${this.#socketPath}; run as the user of the node agent`;
      return new LocalClientError('not_allowed', message, { cause: error });
    }
    return new LocalClientError('connection_lost', `the node agent went away: ${error.message}`, { cause: error });
  }
}

async function bodyOf(response: IncomingMessage): Promise<Record<string, unknown> | undefined> {
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  try {
    const value: unknown = JSON.parse(Buffer.concat(chunks).toString('utf8'));
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

function refusal(status: number | undefined, answer: Record<string, unknown> | undefined): LocalClientError {
  const code = answer?.['code'];
  const message = answer?.['message'];
  if (typeof code !== 'string' || typeof message !== 'string') return unexpected(`status ${status}`);
  return new LocalClientError('refused', message, { reason: code });
}

function unexpected(what: string): LocalClientError {
  return new LocalClientError('unexpected_answer', `what listens on the socket is no node agent (${what})`);
}

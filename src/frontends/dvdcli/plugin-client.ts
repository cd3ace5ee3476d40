import { readFile } from 'node:fs/promises';
import { type IncomingMessage, request as plainRequest, type RequestOptions } from 'node:http';
import { request as tlsRequest } from 'node:https';
import type { Clock } from '../../kit/clock.ts';
import type { DriverAddress } from './find-driver.ts';

/** From the first try of a call to the last, milliseconds: Docker's own rule. */
const RETRY_MS = 30_000;
const MOST_ANSWER_BYTES = 8 * 2 ** 20;
/** Errors from before anything was sent. */
const NOT_CONNECTED: ReadonlySet<unknown> = new Set([
  'ENOENT',
  'ECONNREFUSED',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ETIMEDOUT',
]);

type Answer = Readonly<Record<string, unknown>>;

/** Docker's volume plugin protocol from Docker's side. Every method fails with an error whose message is for the user. */
export class PluginClient {
  readonly #driver: DriverAddress;
  readonly #clock: Clock;
  readonly #signal: AbortSignal;

  /** All calls together end when the signal aborts. */
  constructor(driver: DriverAddress, clock: Clock, signal: AbortSignal) {
    this.#driver = driver;
    this.#clock = clock;
    this.#signal = signal;
  }

  /** Fails unless the plugin is one for volumes. */
  async activate(): Promise<void> {
    const { Implements } = await this.call('/Plugin.Activate', undefined);
    if (!Array.isArray(Implements) || !Implements.includes('VolumeDriver'))
      throw new Error(`plugin ${this.#driver.name} is no volume driver`);
  }

  /** The answer's body. Only what could not connect is tried again, after 1, 2, 4… s, so that nothing is done twice. */
  async call(path: string, body: object | undefined): Promise<Answer> {
    const startedMs = this.#clock.monotonicMs();
    for (let attempt = 0; ; attempt += 1) {
      try {
        const answer = await this.#once(path, body);
        const { Err } = answer;
        if (typeof Err === 'string' && Err !== '') throw new Error(`${this.#driver.name}: ${Err}`);
        return answer;
      } catch (error) {
        this.#signal.throwIfAborted();
        const delayMs = Math.min(2 ** attempt * 1000, RETRY_MS);
        const elapsedMs = this.#clock.monotonicMs() - startedMs;
        if (!NOT_CONNECTED.has(codeOf(error)) || elapsedMs + delayMs >= RETRY_MS) throw error;
        await new Promise<void>((resolve) => {
          this.#clock.timer(delayMs, resolve);
        });
      }
    }
  }

  async #once(path: string, body: object | undefined): Promise<Answer> {
    const { name, target, tls } = this.#driver;
    const text = body === undefined ? '' : JSON.stringify(body);
    const options: RequestOptions = {
      ...target,
      path,
      method: 'POST',
      agent: false,
      signal: this.#signal,
      headers: { accept: 'application/vnd.docker.plugins.v1.2+json', 'content-length': Buffer.byteLength(text) },
    };
    const read = (file: string | undefined): Promise<string | undefined> =>
      file === undefined ? Promise.resolve(undefined) : readFile(file, 'utf8');
    const files = await Promise.all([read(tls?.caFile), read(tls?.certFile), read(tls?.keyFile)]);
    const [ca, cert, key] = files;
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      const sent =
        tls === undefined
          ? plainRequest(options, resolve)
          : tlsRequest({ ...options, ca, cert, key, rejectUnauthorized: !tls.insecure }, resolve);
      sent.on('error', (error) => {
        const reason = this.#signal.aborted ? (this.#signal.reason as Error) : error;
        reject(new Error(`volume driver ${name}, ${path}: ${reason.message}`, { cause: reason }));
      });
      sent.end(text);
    });
    return parse(`volume driver ${name}, ${path}`, response.statusCode, await textOf(response));
  }
}

async function textOf(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > MOST_ANSWER_BYTES) throw new Error('the answer of a volume driver is too long');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function parse(what: string, status: number | undefined, text: string): Answer {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    value = undefined;
  }
  const answer = typeof value === 'object' && value !== null ? (value as Answer) : undefined;
  if (status === 200 && answer !== undefined) return answer;
  const said = typeof answer?.['Err'] === 'string' ? answer['Err'] : text.trim().slice(0, 500);
  throw new Error(status === 200 ? `${what}: the answer is no JSON` : `${what}: status ${status}: ${said}`);
}

function codeOf(error: unknown): unknown {
  const cause = error instanceof Error ? error.cause : undefined;
  return cause instanceof Error && 'code' in cause ? cause.code : undefined;
}

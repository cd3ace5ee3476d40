import { Agent as HttpAgent, request as httpRequest, type IncomingMessage } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import { errorText } from '../kit/coded-error.ts';
import { MesosError } from './mesos-error.ts';

/** How we show ourselves to a daemon of Mesos, and whom we trust. */
export interface MesosAccess {
  /** Value of `Authorization`. */
  readonly authorization?: string;
  /** Certificates to trust, PEM; the system's unless given. */
  readonly ca?: string;
}

/** Daemons of Mesos compare content types as text (contract 1.2). */
const JSON_TYPE = 'application/json';
/** Longer than an agent's list of resource providers. */
const LONGEST_ANSWER_BYTES = 16 * 2 ** 20;
const KEEP_ALIVE_MS = 15_000;

/** Sends one call, POST with a body and GET without. Resolves with the head of the answer. */
export function send(
  access: MesosAccess,
  url: URL,
  agent: HttpAgent,
  body?: object,
  headers: Readonly<Record<string, string>> = {},
): Promise<IncomingMessage> {
  const text = body === undefined ? undefined : JSON.stringify(body);
  const request = url.protocol === 'https:' ? httpsRequest : httpRequest;
  return new Promise((resolve, reject) => {
    const sent = request(
      url,
      {
        method: text === undefined ? 'GET' : 'POST',
        agent,
        headers: {
          accept: JSON_TYPE,
          ...(text === undefined ? {} : { 'content-type': JSON_TYPE, 'content-length': Buffer.byteLength(text) }),
          ...(access.authorization === undefined ? {} : { authorization: access.authorization }),
          ...headers,
        },
      },
      resolve,
    );
    sent.on('error', reject);
    sent.end(text);
  });
}

/** One connection at most, so that calls arrive in the order they were sent. */
export function oneConnection(url: URL, { ca }: MesosAccess): HttpAgent {
  const keeping = { keepAlive: true, maxSockets: 1 };
  if (url.protocol !== 'https:') return new HttpAgent(keeping);
  return new HttpsAgent({ ...keeping, ...(ca === undefined ? {} : { ca }) });
}

/** Keeps a stream's connection through silence, and notices a peer that is off. */
export function keepAlive(response: IncomingMessage): void {
  response.socket.setKeepAlive(true, KEEP_ALIVE_MS);
}

/** The whole body, up to a bound. */
export async function textOf(response: IncomingMessage, longestBytes = LONGEST_ANSWER_BYTES): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of response) {
    chunks.push(chunk as Buffer);
    bytes += (chunk as Buffer).length;
    if (bytes > longestBytes)
      throw new MesosError('unexpected_answer', `the answer is longer than ${longestBytes} bytes`);
  }
  return Buffer.concat(chunks).toString('utf8');
}

/** What went wrong, as a {@link MesosError}; the signal's own reason when it was given up. */
export function asMesosError(what: string, error: unknown, signal?: AbortSignal): unknown {
  if (signal?.aborted === true) return signal.reason;
  if (error instanceof MesosError) return error;
  return new MesosError('unreachable', `${what}: ${errorText(error)}`, { cause: error });
}

/** What stands at a path of a JSON value that others made; undefined where it leads nowhere. */
export function at(value: unknown, ...path: readonly string[]): unknown {
  let found = value;
  for (const key of path) {
    if (typeof found !== 'object' || found === null) return undefined;
    found = (found as Readonly<Record<string, unknown>>)[key];
  }
  return found;
}

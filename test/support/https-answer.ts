import { request } from 'node:https';
import type { Credentials } from '../../src/tls/credentials.ts';

/** What a server answered, as it was on the wire. */
export interface HttpsAnswer {
  readonly status: number;
  /** Values of a header, by its name in lower case, one for each time it was sent. */
  readonly headers: Readonly<Record<string, readonly string[]>>;
  readonly body: Buffer;
}

export interface HttpsQuestion {
  readonly method: string;
  readonly path: string;
  /** Pairs, so that a header can be sent twice. */
  readonly headers?: readonly (readonly [string, string])[];
  readonly body?: string | Buffer;
  /** Sends the body in chunks, without a length. */
  readonly chunked?: boolean;
}

const DEADLINE_MS = 10_000;

/** Sends one request on a connection of its own. Rejects when no HTTP answer comes. */
export function httpsAnswer(
  { port, tls }: { readonly port: number; readonly tls: Partial<Credentials> },
  question: HttpsQuestion,
): Promise<HttpsAnswer> {
  const { method, path, headers = [], body, chunked = false } = question;
  const length: [string, string][] =
    body === undefined || chunked ? [] : [['content-length', String(Buffer.byteLength(body))]];
  const transfer: [string, string][] = chunked ? [['transfer-encoding', 'chunked']] : [];
  const sent = [['host', `127.0.0.1:${port}`] as const, ...length, ...transfer, ...headers].flat();
  return new Promise((resolve, reject) => {
    const outgoing = request({
      ...tls,
      host: '127.0.0.1',
      port,
      method,
      path,
      headers: sent,
      servername: 'control-service',
      agent: false,
      signal: AbortSignal.timeout(DEADLINE_MS),
    });
    outgoing.on('error', reject);
    outgoing.on('response', (incoming) => {
      const parts: Buffer[] = [];
      incoming.on('data', (part: Buffer) => parts.push(part));
      incoming.on('error', reject);
      incoming.on('end', () => {
        const distinct = Object.entries(incoming.headersDistinct).map(([name, values]) => [name, values ?? []]);
        resolve({
          status: incoming.statusCode ?? 0,
          headers: Object.fromEntries(distinct) as Record<string, readonly string[]>,
          body: Buffer.concat(parts),
        });
      });
    });
    outgoing.end(body);
  });
}

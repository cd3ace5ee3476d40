import { randomBytes, timingSafeEqual } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { pipeline } from 'node:stream/promises';
import type { Passage } from '../../client/connect-passage.ts';
import type { HttpsRequest } from '../../client/https.ts';
import { errorText } from '../../kit/coded-error.ts';

const COOKIE = 'flocker_dashboard';
const LONGEST_BODY_BYTES = 2 ** 20;
const METHODS = ['GET', 'POST', 'DELETE'] as const;
/** What a browser sends that means something to the control service, and what of its answer does to the browser. */
const REQUEST_HEADERS = ['accept', 'last-event-id', 'x-flocker-if-name-unused', 'x-if-configuration-matches'];
const ANSWER_HEADERS = [
  'content-type',
  'cache-control',
  'content-security-policy',
  'x-content-type-options',
  'referrer-policy',
  'cross-origin-opener-policy',
  'x-configuration-tag',
];

/** The dashboard for a browser on this machine. */
export interface DashboardProxy {
  /** With the secret that lets a browser in. */
  readonly url: string;
  close(): Promise<void>;
}

/**
 * Serves the dashboard and the REST API on a loopback address, with the certificate that `passage` has. Whoever opens `url` gets a
 * cookie; everybody else, also other users of the machine and pages of other sites, is refused.
 */
export async function serveDashboard(passage: Passage, port: number): Promise<DashboardProxy> {
  const secret = randomBytes(24).toString('base64url');
  const gone = new AbortController();
  let origin = '';
  const server = createServer((request, response) => {
    const refusal = refusalOf(request, origin);
    if (refusal !== undefined) refuse(response, 403, refusal);
    else if (isLogin(request, secret)) welcome(response, secret);
    else if (!hasCookie(request, secret)) refuse(response, 401, 'Open the address that "flockerctl dashboard" prints.');
    else
      void forward(passage, request, response, gone.signal).catch((error: unknown) => {
        if (response.headersSent) response.destroy();
        else refuse(response, 502, errorText(error));
      });
  });
  await listening(server, port);
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    url: `${origin}/?secret=${secret}`,
    close: async () => {
      gone.abort();
      const closed = new Promise<void>((resolve) => {
        server.close(() => resolve());
      });
      server.closeAllConnections();
      await closed;
    },
  };
}

function listening(server: Server, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', resolve);
  });
}

/** Another name for this address is a page that had its name point here; another origin is a page that is open elsewhere. */
function refusalOf({ headers, method }: IncomingMessage, origin: string): string | undefined {
  if (headers.host !== new URL(origin).host) return `This is ${origin}, under no other name.`;
  if (headers.origin !== undefined && headers.origin !== origin) return 'A page of another site must not ask here.';
  if (!METHODS.some((one) => one === method)) return 'GET, POST and DELETE are all there is.';
  return undefined;
}

function isLogin({ url = '' }: IncomingMessage, secret: string): boolean {
  const { pathname, searchParams } = new URL(url, 'http://dashboard');
  return pathname === '/' && same(searchParams.get('secret') ?? '', secret);
}

/** The secret leaves the address bar at once. */
function welcome(response: ServerResponse, secret: string): void {
  const cookie = `${COOKIE}=${secret}; HttpOnly; SameSite=Strict; Path=/`;
  response.writeHead(303, { location: '/dashboard/', 'set-cookie': cookie, 'cache-control': 'no-store' }).end();
}

function hasCookie({ headers }: IncomingMessage, secret: string): boolean {
  const cookies = (headers.cookie ?? '').split(';').map((cookie) => cookie.trim());
  return cookies.some((cookie) => cookie.startsWith(`${COOKIE}=`) && same(cookie.slice(COOKIE.length + 1), secret));
}

function same(given: string, secret: string): boolean {
  const [a, b] = [Buffer.from(given), Buffer.from(secret)];
  return a.length === b.length && timingSafeEqual(a, b);
}

async function forward(
  passage: Passage,
  request: IncomingMessage,
  response: ServerResponse,
  gone: AbortSignal,
): Promise<void> {
  const left = new AbortController();
  response.on('close', () => left.abort());
  const signal = AbortSignal.any([left.signal, gone]);
  const body = request.method === 'POST' ? await bodyOf(request) : undefined;
  const headers: Record<string, string> = {};
  for (const name of REQUEST_HEADERS) {
    const value = request.headers[name];
    if (typeof value === 'string') headers[name] = value;
  }
  const passed: HttpsRequest = {
    method: request.method as HttpsRequest['method'],
    path: request.url ?? '/',
    headers,
    ...(body === undefined ? {} : { body }),
  };
  const answer = await passage.pass(passed, signal);
  const known = ANSWER_HEADERS.flatMap((name) => {
    const value = answer.headers[name];
    return value === undefined ? [] : [[name, value] as const];
  });
  response.writeHead(answer.status, Object.fromEntries(known));
  response.flushHeaders();
  await pipeline(answer.body, response).catch((error: unknown) => {
    // The browser went away, or we do.
    if (!signal.aborted) throw error;
  });
}

async function bodyOf(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request) {
    bytes += (chunk as Buffer).length;
    if (bytes > LONGEST_BODY_BYTES) throw new Error('The body is longer than 1 MiB.');
    chunks.push(chunk as Buffer);
  }
  return JSON.parse(Buffer.concat(chunks).toString('utf8')) as unknown;
}

function refuse(response: ServerResponse, status: number, description: string): void {
  response.writeHead(status, { 'content-type': 'application/json', 'cache-control': 'no-store' });
  response.end(JSON.stringify({ description }));
}

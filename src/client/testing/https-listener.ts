import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { systemClock } from '../../kit/clock.ts';
import { silentLogger } from '../../kit/logger.ts';
import { connectFlocker, type FlockerConnection } from '../connect-flocker.ts';
import type { TlsIdentity } from '../tls-identity.ts';
import { type TestAuthority, testAuthority } from './certificates.ts';

/** Answers requests by `METHOD /path`; `*` answers the others. */
export type Routes = Readonly<Record<string, (request: IncomingMessage, response: ServerResponse) => unknown>>;

/** An HTTPS server on loopback that admits only user certificates, as a control service does. */
export interface TestListener {
  readonly url: string;
  /** Requests so far, as `METHOD /path?query`. */
  readonly requests: readonly string[];
  /** Connections so far. */
  readonly connections: () => number;
  /** Closes all connections that are open now. */
  breakConnections(): void;
  close(): Promise<void>;
}

/** A cluster's authority with the certificates of a control service and of a user. */
export interface TestCluster {
  readonly authority: TestAuthority;
  readonly control: TlsIdentity;
  readonly user: TlsIdentity;
}

export async function testCluster(): Promise<TestCluster> {
  const authority = await testAuthority('cluster');
  const control = await authority.issue('control-service', { names: ['control-service'], addresses: ['127.0.0.1'] });
  return { authority, control, user: await authority.issue('user-bob') };
}

/** Starts a server on a free port. */
export async function listen(
  control: TlsIdentity,
  routes: Routes,
  options: { readonly maxVersion?: 'TLSv1.2' | 'TLSv1.3'; readonly port?: number } = {},
): Promise<TestListener> {
  const requests: string[] = [];
  const sockets = new Set<TLSSocket>();
  let connections = 0;
  const { maxVersion = 'TLSv1.3', port = 0 } = options;
  const server = createServer({ ...control, requestCert: true, rejectUnauthorized: true, maxVersion });
  server.prependListener('secureConnection', (socket: TLSSocket) => {
    connections += 1;
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    if (!/(^|\n)CN=user-/.test(socket.getPeerX509Certificate()?.subject ?? '')) socket.destroy();
  });
  server.on('tlsClientError', () => undefined);
  server.on('request', (request, response) => {
    const { method = '', url = '' } = request;
    requests.push(`${method} ${url}`);
    const route = routes[`${method} ${url.split('?')[0]}`] ?? routes['*'];
    if (route === undefined) html404(response);
    else route(request, response);
  });
  await new Promise<void>((resolve) => {
    server.listen(port, '127.0.0.1', resolve);
  });
  const breakConnections = (): void => {
    for (const socket of sockets) socket.destroy();
  };
  return {
    url: `https://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    connections: () => connections,
    breakConnections,
    close: async () => {
      const closed = new Promise((resolve) => {
        server.close(resolve);
      });
      breakConnections();
      await closed;
    },
  };
}

/** Flocker's answer to an unknown path. */
export function html404(response: ServerResponse): void {
  response.writeHead(404, { 'content-type': 'text/html' }).end('<!DOCTYPE html><title>404 Not Found</title>');
}

export function sendJson(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}

/** A client with short pauses. */
export function testClient(
  urls: readonly string[],
  tls: TlsIdentity,
  options: Partial<FlockerConnection> = {},
): ReturnType<typeof connectFlocker> {
  return connectFlocker({
    urls,
    tls,
    clock: systemClock,
    random: () => 0,
    logger: silentLogger,
    pollMs: 20,
    requestTimeoutMs: 5_000,
    ...options,
  });
}

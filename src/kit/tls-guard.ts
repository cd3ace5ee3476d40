import type { Socket } from 'node:net';
import type { PeerCertificate, Server, TLSSocket } from 'node:tls';
import type { Logger } from './logger.ts';

/** A peer has this long for its handshake, milliseconds. */
const HANDSHAKE_TIMEOUT_MS = 10_000;
/** And this long, from the handshake on, for the head of its first request. */
const HEADERS_TIMEOUT_MS = 10_000;
const REQUEST_TIMEOUT_MS = 30_000;
/** How often connections are looked through for those that are late. */
const LATE_LOOK_MS = 5_000;

/** Certificate authority, own certificate and own key, PEM text. */
export interface TlsMaterial {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

/** Options of a listener that takes only peers with a certificate of this cluster (contract 2.2). */
export function mutualTls(material: TlsMaterial): {
  ca: string;
  cert: string;
  key: string;
  requestCert: true;
  rejectUnauthorized: true;
  minVersion: 'TLSv1.2';
  handshakeTimeout: number;
  headersTimeout: number;
  requestTimeout: number;
  connectionsCheckingInterval: number;
} {
  return {
    ...material,
    requestCert: true,
    rejectUnauthorized: true,
    minVersion: 'TLSv1.2',
    handshakeTimeout: HANDSHAKE_TIMEOUT_MS,
    headersTimeout: HEADERS_TIMEOUT_MS,
    requestTimeout: REQUEST_TIMEOUT_MS,
    connectionsCheckingInterval: LATE_LOOK_MS,
  };
}

/**
 * Refuses peers whose certificate has another role: `rejectUnauthorized` alone admits every certificate of the cluster
 * (contract 2.3). Comes before the listener's own handler, so that no request of theirs is read.
 */
export function admitOnly(server: Server, prefix: 'user-' | 'node-', logger: Logger): void {
  server.prependListener('secureConnection', (socket: TLSSocket) => {
    const commonName = peerName(socket);
    if (commonName?.startsWith(prefix) === true) return;
    logger.warn({ peer: socket.remoteAddress, commonName }, `refused a certificate that is not ${prefix}*`);
    socket.destroy();
  });
  server.on('tlsClientError', (error: Error & { code?: string }, socket: TLSSocket) => {
    logger.warn({ peer: socket.remoteAddress, code: error.code, reason: error.message }, 'TLS handshake failed');
  });
}

/**
 * Takes no more than so many connections at once, authenticated or not: without a bound they would take every descriptor that this
 * process may have, and the store could not open its files.
 */
export function limitConnections(server: Server, most: number, logger: Logger): void {
  server.maxConnections = most;
  server.on('drop', (peer?: { readonly remoteAddress?: string }) => {
    logger.warn({ peer: peer?.remoteAddress, most }, 'a connection was refused: there are too many');
  });
}

/**
 * Returns what breaks all connections, also those that are not further than their handshake: else one that becomes a WebSocket after the
 * server was closed keeps it from ending.
 */
export function connectionBreaker(server: Server): () => void {
  const open = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    open.add(socket);
    socket.once('close', () => open.delete(socket));
  });
  return () => {
    for (const socket of open) socket.destroy();
  };
}

/** The common name in the peer's certificate. */
export function peerName(socket: TLSSocket): string | undefined {
  // Null, against its type, once the peer has closed.
  const certificate = socket.getPeerCertificate() as PeerCertificate | null;
  const subject: unknown = certificate?.subject;
  if (typeof subject !== 'object' || subject === null || !('CN' in subject)) return undefined;
  return typeof subject.CN === 'string' ? subject.CN : undefined;
}

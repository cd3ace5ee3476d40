import type { PeerCertificate, Server, TLSSocket } from 'node:tls';
import type { Logger } from './logger.ts';

/** A peer has this long for its handshake, milliseconds. */
const HANDSHAKE_TIMEOUT_MS = 10_000;

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
} {
  return {
    ...material,
    requestCert: true,
    rejectUnauthorized: true,
    minVersion: 'TLSv1.2',
    handshakeTimeout: HANDSHAKE_TIMEOUT_MS,
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

/** The common name in the peer's certificate. */
export function peerName(socket: TLSSocket): string | undefined {
  // Null, against its type, once the peer has closed.
  const certificate = socket.getPeerCertificate() as PeerCertificate | null;
  const subject: unknown = certificate?.subject;
  if (typeof subject !== 'object' || subject === null || !('CN' in subject)) return undefined;
  return typeof subject.CN === 'string' ? subject.CN : undefined;
}

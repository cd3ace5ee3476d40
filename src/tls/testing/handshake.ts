import { once } from 'node:events';
import { connect, createServer, type TLSSocket } from 'node:tls';
import { CONTROL_SERVICE_NAME, type Credentials } from '../credentials.ts';

/** Both ends' view of one mutual TLS handshake as a control service and its client do it. */
export interface Handshake {
  /** The client's common name as the server saw it. */
  readonly clientName: string | readonly string[] | undefined;
  readonly protocol: string;
}

const DEADLINE_MS = 10_000;

/** Shakes hands over loopback; rejects with the first TLS error of either end. */
export async function shakeHands(
  server: Credentials,
  client: Partial<Credentials> & { readonly ca: string },
  options: { readonly servername?: string; readonly maxVersion?: 'TLSv1.2' | 'TLSv1.3' } = {},
): Promise<Handshake> {
  const listener = createServer({ ...server, requestCert: true, rejectUnauthorized: true });
  listener.listen(0, '127.0.0.1');
  await once(listener, 'listening');
  const address = listener.address();
  if (typeof address !== 'object' || address === null) throw new Error('no port');
  const { servername = CONTROL_SERVICE_NAME, maxVersion = 'TLSv1.3' } = options;
  const dialled = connect({ ...client, host: '127.0.0.1', port: address.port, servername, maxVersion });
  try {
    return await new Promise((resolve, reject) => {
      setTimeout(() => reject(new Error('no handshake in time')), DEADLINE_MS).unref();
      // With TLS 1.3 the client is done before the server has checked its certificate, so success is the server's word.
      listener.on('secureConnection', (socket: TLSSocket) => {
        socket.on('error', reject);
        resolve({ clientName: socket.getPeerCertificate().subject.CN, protocol: socket.getProtocol() ?? '' });
      });
      // Node refuses a client after OpenSSL's handshake, by closing; why is noted on the socket only.
      listener.on('tlsClientError', (error, socket) => {
        const refusal = socket.authorizationError as Error | string | null | undefined;
        reject(typeof refusal === 'string' ? new Error(refusal) : (refusal ?? error));
      });
      dialled.on('error', reject);
    });
  } finally {
    dialled.destroy();
    listener.close();
  }
}

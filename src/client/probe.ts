import type { ConnectionOptions } from 'node:tls';
import { connect } from 'node:tls';
import type { Clock } from '../kit/clock.ts';

/** What a handshake without a request came to. */
export type Probe =
  | { readonly kind: 'accepted' }
  /** The server spoke TLS and then closed by itself, although nothing was asked of it. */
  | { readonly kind: 'closed' }
  | { readonly kind: 'failed'; readonly error: unknown };

/** A server that refuses a certificate closes at once; the others wait for a request for many seconds. */
const REFUSAL_WITHIN_MS = 1_000;

/**
 * Connects without asking anything, to tell a refused certificate from a broken connection. Under TLS 1.3 the client's
 * handshake is over before the server has looked at its certificate, so that a refusal looks like a connection that broke
 * in the middle of a request.
 */
export function probeHandshake(options: ConnectionOptions, clock: Clock, signal: AbortSignal): Promise<Probe> {
  return new Promise((resolve) => {
    const socket = connect(options);
    const finish = (probe: Probe): void => {
      cancel();
      signal.removeEventListener('abort', onAbort);
      socket.destroy();
      resolve(probe);
    };
    const cancel = clock.timer(REFUSAL_WITHIN_MS, () => finish({ kind: 'accepted' }));
    const onAbort = (): void => finish({ kind: 'failed', error: signal.reason });
    signal.addEventListener('abort', onAbort, { once: true });
    if (signal.aborted) onAbort();
    let failure: Error | undefined;
    // Emitted once the server has answered the handshake; the socket's own count of bytes stays 0 until data comes.
    let spokeTls = false;
    socket.on('keylog', () => {
      spokeTls = true;
    });
    socket.on('error', (error) => {
      failure ??= error;
    });
    socket.on('close', () => {
      const onlyClosed = failure === undefined || ('code' in failure && failure.code === 'ECONNRESET');
      if (onlyClosed && spokeTls) finish({ kind: 'closed' });
      else finish({ kind: 'failed', error: failure ?? new Error('the server closed the connection') });
    });
    socket.resume();
  });
}

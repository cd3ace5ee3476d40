import type { FlockerConnection } from './connect-flocker.ts';
import { Https, type HttpsRequest, type HttpsStream } from './https.ts';

/** A way for the requests of somebody else, such as a browser, to the control service. */
export interface Passage {
  /** Whatever the control service answers, headers first. Fails as `FlockerClient` does when it cannot be reached. */
  pass(request: HttpsRequest, signal: AbortSignal): Promise<HttpsStream>;
  close(): Promise<void>;
}

/** Opens a {@link Passage} with the certificate of the connection. Throws as `connectFlocker` does. */
export function connectPassage(connection: Omit<FlockerConnection, 'pollMs' | 'random'>): Passage {
  const { urls, tls, checkName = 'control-service', requestTimeoutMs = 10_000, clock, logger } = connection;
  return new Https({ urls, tls, checkName, requestTimeoutMs, clock, logger });
}

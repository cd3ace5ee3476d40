import { PATHS } from '../api/paths.ts';
import type { FlockerConnection } from './connect-flocker.ts';
import { Https } from './https.ts';

/** The clock of the control service, milliseconds since 1970, exact to a second; undefined when it does not say. */
export async function serverDate(connection: FlockerConnection, signal: AbortSignal): Promise<number | undefined> {
  const { urls, tls, clock, logger, requestTimeoutMs = 10_000 } = connection;
  const https = new Https({ urls, tls, checkName: 'control-service', requestTimeoutMs, clock, logger });
  try {
    const { headers } = await https.request({ method: 'GET', path: PATHS.version }, signal);
    const dateMs = Date.parse(String(headers['date']));
    return Number.isNaN(dateMs) ? undefined : dateMs;
  } finally {
    await https.close();
  }
}

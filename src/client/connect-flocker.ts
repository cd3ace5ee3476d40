import type { Clock } from '../kit/clock.ts';
import type { Logger } from '../kit/logger.ts';
import { EventWatch } from './event-watch.ts';
import type { FlockerClient } from './flocker-client.ts';
import { Https } from './https.ts';
import { RestClient } from './rest-client.ts';
import { restStorage } from './rest-storage.ts';
import { StatePolling } from './state-polling.ts';
import type { StorageClient } from './storage-client.ts';
import type { TlsIdentity } from './tls-identity.ts';

/** How to reach a Flocker control service, and as whom. */
export interface FlockerConnection {
  /** One `https://host:4523` per control service of the cluster; tried in turn when one cannot be reached. */
  readonly urls: readonly string[];
  readonly tls: TlsIdentity;
  /**
   * The name that the server's certificate has to be for: `control-service`, as Flocker's own clients do, or the host of
   * the URL, as third-party clients do.
   */
  readonly checkName?: 'control-service' | 'dialled';
  /** Longest time for one request, connecting included, in milliseconds; 10,000 unless given. Waits have no such limit. */
  readonly requestTimeoutMs?: number;
  /**
   * With several URLs: how long to wait for a control service that takes over when none can be reached, in milliseconds; not at all
   * unless given.
   */
  readonly takeoverTimeoutMs?: number;
  /** Time between two looks at a server that has no events, in milliseconds; 1,000 unless given. */
  readonly pollMs?: number;
  readonly clock: Clock;
  /** In [0, 1); spreads reconnections. */
  readonly random: () => number;
  readonly logger: Logger;
}

/**
 * A client of Flocker's REST API over mutual TLS. Connects with the first request. Throws a ClientError when a URL, the
 * certificates or the key cannot be used.
 */
export function connectFlocker(connection: FlockerConnection): FlockerClient & StorageClient {
  const { clock, random, logger } = connection;
  const requestTimeoutMs = connection.requestTimeoutMs ?? 10_000;
  const https = new Https({
    urls: connection.urls,
    tls: connection.tls,
    checkName: connection.checkName ?? 'control-service',
    requestTimeoutMs,
    takeoverTimeoutMs: connection.takeoverTimeoutMs,
    clock,
    logger,
  });
  const watch = new EventWatch({ https, clock, random, openTimeoutMs: requestTimeoutMs });
  const polling = new StatePolling({ https, clock, pollMs: connection.pollMs ?? 1_000 });
  const client = new RestClient({ https, watch, polling });
  return Object.assign(client, restStorage({ https, watch, hasAdditions: (signal) => client.hasAdditions(signal) }));
}

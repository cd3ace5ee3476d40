import { chmod } from 'node:fs/promises';
import { createServer } from 'node:http';
import { prepareSocketPath } from '../../kit/socket-file.ts';
import type { ProviderCounts } from './provider.ts';

/** The socket of a provider: health and metrics; and nobody else can run with the same state. */
export interface MetricsServer {
  close(): Promise<void>;
}

const HELP: Readonly<Record<keyof ProviderCounts, readonly [name: string, type: string, help: string]>> = {
  subscribed: ['flocker_provider_subscribed', 'gauge', '1 while the Mesos agent has our resources.'],
  disks: ['flocker_provider_disks', 'gauge', 'MOUNT disks.'],
  pending: ['flocker_provider_operations_pending', 'gauge', 'Operations that have not ended.'],
  unacknowledged: [
    'flocker_provider_operations_unacknowledged',
    'gauge',
    'Operations whose end nobody has acknowledged.',
  ],
  published: ['flocker_provider_publishes_total', 'counter', 'PUBLISH_RESOURCES that were answered OK.'],
  publishFailures: [
    'flocker_provider_publish_failures_total',
    'counter',
    'PUBLISH_RESOURCES that were answered FAILED.',
  ],
};

/** Serves `GET /health` (200 while subscribed, else 503) and `GET /metrics` (Prometheus). Fails when another process does. */
export async function serveMetrics(socketPath: string, counts: () => ProviderCounts): Promise<MetricsServer> {
  await prepareSocketPath(socketPath);
  const server = createServer((request, response) => {
    request.resume();
    const now = counts();
    if (request.method === 'GET' && request.url === '/metrics') {
      response.writeHead(200, { 'content-type': 'text/plain; version=0.0.4' }).end(exposition(now));
    } else if (request.method === 'GET' && request.url === '/health') {
      response.writeHead(now.subscribed ? 200 : 503, { 'content-type': 'application/json' }).end(JSON.stringify(now));
    } else {
      response.writeHead(404).end();
    }
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(socketPath, resolve);
  });
  await chmod(socketPath, 0o600);
  return {
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/** The page of metrics, in Prometheus text format. */
export function exposition(counts: ProviderCounts): string {
  return (Object.keys(HELP) as (keyof ProviderCounts)[])
    .map((key) => {
      const [name, type, help] = HELP[key];
      return `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n${name} ${Number(counts[key])}\n`;
    })
    .join('');
}

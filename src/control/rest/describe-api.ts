import { randomUUID } from 'node:crypto';
import { systemClock } from '../../kit/clock.ts';
import { silentLogger } from '../../kit/logger.ts';
import { ControlService } from '../control-service.ts';
import { memoryStore } from '../store/memory-store.ts';
import { controlMetrics } from './metrics.ts';
import { buildRestApp } from './rest-server.ts';

/** What a control service says of itself, for documentation: nothing listens. */
export interface ApiDescription {
  /** OpenAPI 3.1. */
  readonly openApi: object;
  /** The page of metrics of an empty service, in Prometheus text format. */
  readonly metrics: string;
}

/** Describes the API and the metrics of this build. */
export async function describeApi(): Promise<ApiDescription> {
  const store = memoryStore(randomUUID());
  const [clock, logger] = [systemClock, silentLogger];
  const options = { store, entries: store.entries(), clock, newUuid: randomUUID, logger, onFatal: () => undefined };
  const service = new ControlService(options);
  const tls = { ca: '', cert: '', key: '' };
  const app = await buildRestApp({ service, tls, host: '127.0.0.1', port: 0, clock, logger });
  try {
    await app.ready();
    return { openApi: app.swagger(), metrics: await controlMetrics(service).page() };
  } finally {
    await app.close();
    await service.close();
  }
}

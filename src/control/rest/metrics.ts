import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import { processUsage } from '../../kit/process-usage.ts';
import type { ControlService } from '../control-service.ts';
import { fenceMetrics } from './fence-metrics.ts';
import { storageMetrics } from './storage-metrics.ts';
import { volumeMetrics } from './volume-metrics.ts';

/** Figures of one control service for Prometheus. */
export interface ControlMetrics {
  /** The page, in Prometheus text format. */
  page(): Promise<string>;
  readonly contentType: string;
  observeRequest(method: string, route: string, status: number, seconds: number): void;
}

/** Builds the metrics of a service; the gauges are read when the page is asked for. */
export function controlMetrics(service: ControlService): ControlMetrics {
  const registry = new Registry();
  const requests = new Histogram({
    name: 'flocker_control_request_duration_seconds',
    help: 'Time from a request to its answer',
    labelNames: ['method', 'route', 'status'],
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5],
    registers: [registry],
  });
  const gauge = (name: string, help: string, read: () => number): void => {
    const metric = new Gauge({
      name,
      help,
      registers: [],
      collect() {
        this.set(read());
      },
    });
    registry.registerMetric(metric);
  };
  gauge('process_resident_memory_bytes', 'Resident memory', () => processUsage().residentBytes);
  // prom-client's own process metrics would wake an idle service a hundred times a second.
  registry.registerMetric(
    new Counter({
      name: 'process_cpu_seconds_total',
      help: 'CPU time used',
      registers: [],
      collect() {
        this.reset();
        this.inc(processUsage().cpuSeconds);
      },
    }),
  );
  const count = (values: Iterable<unknown>): number => [...values].length;
  gauge('flocker_control_datasets', 'Datasets in the configuration, without deleted ones', () =>
    count([...service.deployment.datasets()].filter(({ deleted }) => !deleted)),
  );
  gauge('flocker_control_leases', 'Leases held', () => count(service.deployment.leases()));
  gauge('flocker_control_nodes_connected', 'Nodes with a connection', () =>
    count([...service.cluster.nodes()].filter(({ connected }) => connected)),
  );
  gauge('flocker_control_event_streams', 'Event streams open', () => service.events.subscribers);
  fenceMetrics(registry, service);
  const readStorage = storageMetrics(registry, service);
  return {
    page: async () => {
      readStorage();
      return `${await registry.metrics()}${await volumeMetrics(service)}`;
    },
    contentType: registry.contentType,
    observeRequest: (method, route, status, seconds) => requests.observe({ method, route, status }, seconds),
  };
}

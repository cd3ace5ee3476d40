import { Counter, Gauge, type Registry } from 'prom-client';
import type { ControlService } from '../control-service.ts';

/** Figures of what declares nodes dead; read when the page is asked for. */
export function fenceMetrics(registry: Registry, service: ControlService): void {
  registry.registerMetric(
    new Counter({
      name: 'flocker_control_nodes_declared_dead_total',
      help: 'Nodes declared dead since the start, by whose word: an operator, silence, or the Mesos master',
      labelNames: ['by'],
      registers: [],
      collect() {
        this.reset();
        for (const [by, count] of Object.entries(service.declarations)) this.inc({ by }, count);
      },
    }),
  );
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
  gauge('flocker_control_mesos_agents', 'Mesos agents that masters told of, also those that are away by now', () =>
    service.mesos === undefined ? 0 : service.mesos.counts.agents,
  );
  gauge(
    'flocker_control_mesos_unsubscribed_seconds',
    'For how long there was no subscription to a Mesos master; 0 while there is one, and where none is to be',
    () => service.mesos?.counts.unsubscribedSeconds ?? 0,
  );
}

import { Gauge, type Registry } from 'prom-client';
import type { PoolView, StorageFigures } from '../../api/storage.ts';
import type { ControlService } from '../control-service.ts';
import { storageView } from '../storage-view.ts';

const POOL_FIGURES = {
  size: ['total', 'Size of the pool'],
  available: ['available', 'What can still be written to the pool'],
  used: ['used', 'What is taken in the pool'],
  provisioned: ['provisioned', 'What was promised to datasets in the pool'],
  logical: ['logical', 'What users wrote, before compression and sharing'],
  physical: ['physical', 'What that takes in the pool'],
  saved_by_compression: ['saved_by_compression', 'What compression saves'],
  saved_by_sharing: ['saved_by_sharing', 'What snapshots, clones and deduplication save'],
} as const satisfies Record<string, readonly [keyof StorageFigures, string]>;

/** Adds the figures of pools and profiles to a page of metrics; the returned function reads them. What is unknown is not there. */
export function storageMetrics(registry: Registry, service: ControlService): () => void {
  const gauge = <Label extends string>(name: string, help: string, labelNames: readonly Label[]): Gauge<Label> =>
    new Gauge({ name, help, labelNames, registers: [registry] });
  const ofPool = Object.entries(POOL_FIGURES).map(([name, [figure, help]]) => {
    return { figure, metric: gauge(`flocker_pool_${name}_bytes`, help, ['pool', 'backend']) };
  });
  const provisioned = gauge('flocker_profile_provisioned_bytes', 'What was promised to datasets of the profile', [
    'pool',
    'profile',
  ]);
  const datasets = gauge('flocker_profile_datasets', 'Datasets of the profile', ['pool', 'profile']);

  const setPool = ({ pool, backend, figures, profiles }: PoolView): void => {
    for (const { figure, metric } of ofPool) setIfKnown(metric, { pool, backend }, figures[figure]);
    for (const profile of profiles) {
      provisioned.set({ pool, profile: profile.name }, profile.provisioned);
      datasets.set({ pool, profile: profile.name }, profile.datasets);
    }
  };
  return () => {
    for (const { metric } of ofPool) metric.reset();
    for (const metric of [provisioned, datasets]) metric.reset();
    for (const pool of storageView(service.deployment, service.cluster).pools) setPool(pool);
  };
}

function setIfKnown<Label extends string>(
  metric: Gauge<Label>,
  labels: Readonly<Record<Label, string>>,
  value: number | null,
): void {
  if (value !== null) metric.set(labels, value);
}

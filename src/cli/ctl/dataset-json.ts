import type { DatasetConfiguration } from '../../api/datasets.ts';
import { nameOf } from '../../model/dataset.ts';
import type { DatasetView } from './dataset-view.ts';

/** A dataset's configuration for `--json`: what is not set is null, not absent. */
export function configurationJson(configuration: DatasetConfiguration): Readonly<Record<string, unknown>> {
  return {
    dataset_id: configuration.dataset_id,
    name: nameOf(configuration.metadata) ?? null,
    primary: configuration.primary,
    maximum_size: configuration.maximum_size ?? null,
    metadata: configuration.metadata,
    deleted: configuration.deleted,
  };
}

/** A row of `list --json`. Times are ISO 8601 in UTC. `holder`, `lease` and `problem` need our additions. */
export function viewJson(view: DatasetView, wallMs: number): Readonly<Record<string, unknown>> {
  const { configuration, status, server, state, inspection } = view;
  return {
    ...configurationJson(configuration),
    status,
    server: server ?? null,
    mounted: state?.primary === undefined ? null : { node_uuid: state.primary, path: state.path ?? null },
    real_size: state?.maximum_size ?? null,
    ...(inspection === undefined
      ? {}
      : { holder: inspection.holder, lease: leaseJson(inspection.lease, wallMs), problem: inspection.problem }),
  };
}

type InspectedLease = NonNullable<DatasetView['inspection']>['lease'];

function leaseJson(lease: InspectedLease, wallMs: number): Readonly<Record<string, unknown>> | null {
  if (lease === null) return null;
  const expiresAt = lease.expires === null ? null : new Date(wallMs + lease.expires * 1000).toISOString();
  return { node_uuid: lease.node_uuid, expires_at: expiresAt };
}

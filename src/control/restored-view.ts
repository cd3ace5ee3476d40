import type { RestoredView } from '../api/restored.ts';
import type { ClusterView } from './cluster.ts';
import type { DeploymentView } from './deployment.ts';

/** What is in doubt since the records were replaced by an old copy, and what nodes have that these lack. */
export function restoredView(deployment: DeploymentView, cluster: ClusterView): RestoredView {
  const { restored } = deployment;
  return {
    restored: restored === undefined ? null : new Date(restored.atMs).toISOString(),
    unconfirmed: deployment.unconfirmed().map(({ id }) => id),
    unknown: [...cluster.had()]
      .filter(([id]) => deployment.dataset(id) === undefined)
      .flatMap(([id, nodes]) => [...nodes].map((node) => ({ dataset_id: id, node_uuid: node }))),
  };
}

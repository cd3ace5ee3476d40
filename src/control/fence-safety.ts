import type { NodeId } from '../kit/ids.ts';
import type { Storage } from '../model/dataset.ts';
import type { ClusterView } from './cluster.ts';
import type { DeploymentView } from './deployment.ts';

/** A node that holds no volume: nothing would be gained by declaring it dead. */
export const HOLDS_NOTHING = 'holds nothing';

/**
 * Why a node that is not connected may not be declared dead without a person; undefined when that is safe whatever it does: it holds volumes,
 * all of them in pools that cut off whoever loses a volume there, and that another connected node reaches. When most nodes are silent it is
 * this control service that is cut off.
 */
export function whyNotDead(id: NodeId, deployment: DeploymentView, cluster: ClusterView): string | undefined {
  const pools = new Set<string | null>();
  for (const { storage } of deployment.concerning(id)) if (isHeldBy(storage, id)) pools.add(storage.pool);
  if (pools.size === 0) return HOLDS_NOTHING;
  const connected = [...cluster.nodes()].filter((node) => node.connected);
  for (const pool of pools) {
    const reach = connected.filter((node) => node.pool === pool);
    if (reach.length === 0) return `no other node reaches pool ${pool ?? 'of its volumes'}`;
    if (!reach.every(({ fences }) => fences)) return `pool ${pool} cannot cut a node off`;
  }
  const known = new Set([...cluster.nodes(), ...cluster.silent()].map((node) => node.id)).add(id);
  const alive = [...known].filter((node) => deployment.death(node) === undefined);
  if (connected.length * 2 < alive.length) return 'most nodes are silent: this control service may be cut off';
  return undefined;
}

/** Whether a node holds any volume. */
export function holdsVolumes(id: NodeId, deployment: DeploymentView): boolean {
  return deployment.concerning(id).some(({ storage }) => isHeldBy(storage, id));
}

function isHeldBy(storage: Storage, id: NodeId): storage is Extract<Storage, { kind: 'held' }> {
  return storage.kind === 'held' && storage.node === id;
}

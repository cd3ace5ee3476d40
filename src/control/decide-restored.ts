import type { RestoredConfirmation } from '../api/restored.ts';
import type { Dataset, KnownStorage } from '../model/dataset.ts';
import type { Change, Decision } from './changes.ts';
import type { ClusterView } from './cluster.ts';
import { forgetCopies } from './decide-copies.ts';
import type { DeploymentView } from './deployment.ts';
import { leftOf, settle } from './settle.ts';

/**
 * What a control service does first with records that are an old copy: it doubts where every volume is, as all of it may have
 * moved since. Nothing is left to do when they were doubted before. The revision jumps, so that no tag that was given out after the
 * copy was made fits a configuration again.
 */
export function decideDoubt(deployment: DeploymentView, wallMs: number): readonly Change[] {
  const { restored } = deployment;
  if (restored === undefined || restored.doubted) return [];
  const doubted = [...deployment.datasets()].flatMap((dataset): Change[] => {
    const { storage } = dataset;
    if (storage.kind === 'gone') return [];
    const was = storage.kind === 'unconfirmed' ? storage.was : storage;
    return [{ kind: 'dataset', dataset: { ...dataset, storage: { kind: 'unconfirmed', was } } }];
  });
  return [
    ...doubted,
    ...forgetCopies(deployment.copies.all()),
    { kind: 'restored', restored: { ...restored, doubted: true } },
    { kind: 'revision', revision: Math.max(deployment.revision + 1, Math.floor(wallMs)) },
  ];
}

/**
 * An operator says that every node that could have a volume is connected, or off: what none of them reported, nobody has. It is again
 * as the old records say, except that nothing is ever made anew: they cannot tell that a volume was not made since. Datasets
 * about which a node is busy wait; they are confirmed when this is repeated.
 */
export function decideConfirmRestored(
  deployment: DeploymentView,
  cluster: ClusterView,
): Decision<RestoredConfirmation> {
  const confirmed: Dataset[] = [];
  const waiting: string[] = [];
  for (const dataset of deployment.unconfirmed()) {
    if (dataset.storage.kind !== 'unconfirmed') continue;
    if (isBusyAbout(dataset, cluster)) waiting.push(dataset.id);
    else
      confirmed.push(
        settle({ ...dataset, storage: confirmedStorage(dataset, dataset.storage.was, deployment) }, cluster),
      );
  }
  const changes: Change[] = confirmed.map((dataset) => ({ kind: 'dataset', dataset }));
  if (waiting.length === 0 && deployment.restored !== undefined)
    changes.push({ kind: 'restored', restored: undefined });
  return { reply: { confirmed: confirmed.map(({ id }) => id), waiting }, changes };
}

function isBusyAbout({ id }: Dataset, cluster: ClusterView): boolean {
  for (const node of cluster.nodes()) if (node.connected && cluster.sighting(node.id, id)?.busy === true) return true;
  return false;
}

function confirmedStorage({ primary }: Dataset, known: KnownStorage, deployment: DeploymentView): KnownStorage {
  const was = withDead(known, deployment);
  if (was.kind === 'free' || (was.kind === 'held' && was.made)) return was;
  const node = was.kind === 'held' ? was.node : primary;
  return { kind: 'held', node, made: true, pool: null, sizeBytes: null, ...leftOf(was) };
}

/** A node that was dead and has come back since may have the volume in its own right: nobody takes it over from there. */
function withDead(storage: KnownStorage, deployment: DeploymentView): KnownStorage {
  const { leftBy, ...rest } = storage;
  const dead = (leftBy ?? []).filter((node) => deployment.death(node) !== undefined);
  return dead.length === 0 ? rest : { ...rest, leftBy: dead };
}

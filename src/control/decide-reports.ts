import type { Report } from '../api/agent-channel.ts';
import type { DatasetId } from '../kit/ids.ts';
import type { Dataset, Storage } from '../model/dataset.ts';
import type { VolumeState } from '../model/volume-state.ts';
import type { Change, Decision } from './changes.ts';
import type { ClusterView, LiveNode } from './cluster.ts';
import { leftSnapshots } from './decide-death.ts';
import { settlePending } from './decide-snapshots.ts';
import type { DeploymentView } from './deployment.ts';
import { leftOf, settle } from './settle.ts';

/** The order a report was made under, if it is the present one for that dataset. */
export type PresentWant = 'mounted' | 'released' | 'destroyed' | undefined;

/** A report with its dataset looked up. */
export interface ReportOn {
  readonly dataset: Dataset;
  readonly report: Report;
  /** Undefined when the report was made under an older order: then it confirms nothing. */
  readonly want: PresentWant;
}

/**
 * What a node's reports change durably: that a volume was made, that it was let go, that it was destroyed, or that a node
 * turns out to have a volume which the records say nobody has. Also hands freed datasets on. The reply names the datasets
 * that the node let go: the orders to do so are fulfilled.
 */
export function decideReports(
  node: LiveNode,
  reports: readonly ReportOn[],
  cluster: ClusterView,
): Decision<readonly DatasetId[]> {
  const letGo: DatasetId[] = [];
  const changed = new Map<DatasetId, Dataset>();
  for (const { dataset: before, report, want } of reports) {
    // One message may speak of a dataset twice: what it said first counts before what it said last.
    const dataset = changed.get(before.id) ?? before;
    const storage = afterReport(node, dataset.storage, report, want);
    if (dataset.storage.kind === 'held' && storage.kind !== 'held') letGo.push(dataset.id);
    if (storage === dataset.storage) continue;
    // Which node has it is newer than which node an old copy of the records wanted to have it.
    const primary = dataset.storage.kind === 'unconfirmed' && !dataset.deleted ? node.id : dataset.primary;
    changed.set(dataset.id, settle({ ...dataset, primary, storage }, cluster));
  }
  return { reply: letGo, changes: [...changed.values()].map((dataset) => ({ kind: 'dataset', dataset })) };
}

/** What becomes possible when a node connects: datasets that waited for it, or for any node of its pool, are handed to it. */
export function decideJoin(deployment: DeploymentView, cluster: ClusterView, node: LiveNode): Decision<undefined> {
  const waiting = new Map<string, Dataset>();
  for (const dataset of deployment.concerning(node.id)) waiting.set(dataset.id, dataset);
  for (const dataset of deployment.doomedIn(node.pool)) waiting.set(dataset.id, dataset);
  const changes: Change[] = [];
  for (const dataset of waiting.values()) {
    const settled = settle(dataset, cluster);
    if (settled !== dataset) changes.push({ kind: 'dataset', dataset: settled });
    // Those of datasets that change are settled with them.
    else changes.push(...settlePending(deployment, cluster, [dataset.id]));
  }
  for (const { node: dead } of deployment.deaths())
    if (dead !== node.id) changes.push(...leftSnapshots(deployment, dead, [node]));
  return { reply: undefined, changes };
}

function afterReport(node: LiveNode, storage: Storage, report: Report, want: PresentWant): Storage {
  if (storage.kind === 'held' && storage.node === node.id) {
    const seen = noteSeen(storage, node, report.state);
    return report.busy ? seen : afterConfirmation(seen, node, report.state, want);
  }
  if (storage.kind !== 'held' && storage.kind !== 'gone') return adopt(node, storage, report.state);
  return storage;
}

type Held = Extract<Storage, { kind: 'held' }>;

function noteSeen(storage: Held, node: LiveNode, state: VolumeState): Held {
  if (state.kind === 'absent') return storage;
  // `elsewhere` tells no size, but that the volume exists: it must never be made anew.
  const sizeBytes = 'sizeBytes' in state ? state.sizeBytes : storage.sizeBytes;
  if (storage.leftBy !== undefined && state.kind !== 'elsewhere') {
    // It is this node's now, or nobody's.
    const { leftBy: _, ...rest } = storage;
    return { ...rest, made: true, pool: node.pool, sizeBytes };
  }
  if (storage.made && storage.pool === node.pool && storage.sizeBytes === sizeBytes) return storage;
  return { ...storage, made: true, pool: node.pool, sizeBytes };
}

function afterConfirmation(storage: Held, node: LiveNode, state: VolumeState, want: PresentWant): Storage {
  if (state.kind === 'attached' || state.kind === 'mounted') return storage;
  switch (want) {
    case undefined:
    case 'mounted':
      return storage;
    case 'destroyed':
      return state.kind === 'absent' ? { kind: 'gone' } : storage;
    case 'released':
      // Said to exist and never seen, as after restoring an old copy of the records: it is not in this node's pool.
      if (storage.made && storage.pool === null && state.kind === 'absent')
        return { kind: 'unconfirmed', was: { kind: 'unmade', ...leftOf(storage) } };
      return storage.made
        ? { kind: 'free', pool: storage.pool ?? node.pool, sizeBytes: storage.sizeBytes, ...leftOf(storage) }
        : { kind: 'unmade', ...leftOf(storage), ...leftIn(storage) };
  }
}

/** Where a node that died before it was seen to make it may have made it: it was to be this one's pool. */
function leftIn({ leftBy, pool }: Held): { readonly leftIn?: string } {
  return leftBy === undefined || pool === null ? {} : { leftIn: pool };
}

/** A node has what the records say nobody has, as after restoring an old backup: the node is right. */
function adopt(node: LiveNode, storage: Storage, state: VolumeState): Storage {
  if (state.kind !== 'attached' && state.kind !== 'mounted') return storage;
  return { kind: 'held', node: node.id, made: true, pool: node.pool, sizeBytes: state.sizeBytes };
}

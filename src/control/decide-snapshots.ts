import type { SnapshotReport } from '../api/agent-channel.ts';
import { DESCRIPTIONS } from '../api/errors.ts';
import type { CreateSnapshotBody, SnapshotView } from '../api/snapshots.ts';
import { type DatasetId, type NewUuid, parseDatasetId, parseSnapshotId, type SnapshotId } from '../kit/ids.ts';
import type { Dataset } from '../model/dataset.ts';
import type { Snapshot, SnapshotStorage } from '../model/snapshot.ts';
import type { Change, Decision } from './changes.ts';
import type { ClusterView, LiveNode } from './cluster.ts';
import type { Reply } from './decide-datasets.ts';
import type { DeploymentView } from './deployment.ts';
import type { SnapshotWish } from './orders.ts';
import { snapshotView } from './snapshot-views.ts';

export function decideCreateSnapshot(
  deployment: DeploymentView,
  cluster: ClusterView,
  body: CreateSnapshotBody,
  newUuid: NewUuid,
): Decision<Reply<SnapshotView>> {
  const datasetId = parseDatasetId(body.dataset_id);
  const id = parseSnapshotId(body.snapshot_id ?? newUuid());
  if (datasetId === undefined || id === undefined) return reject(400, DESCRIPTIONS.schema);
  const present = deployment.snapshots.get(id);
  if (present !== undefined) {
    // An id is used once, as that of a dataset; but whoever lost the answer may ask again.
    if (present.datasetId !== datasetId || present.deleted) return reject(409, DESCRIPTIONS.snapshotIdInUse);
    return { reply: { status: 200, body: snapshotView(present, deployment, cluster) }, changes: [] };
  }
  const dataset = deployment.dataset(datasetId);
  if (dataset === undefined) return reject(404, DESCRIPTIONS.datasetNotFound);
  if (dataset.deleted) return reject(405, DESCRIPTIONS.datasetDeleted);
  const asked: Snapshot = {
    ...{ id, datasetId, metadata: body.metadata ?? {} },
    ...{ deleted: false, storage: { kind: 'unmade' } },
  };
  return accept(201, settleSnapshot(asked, dataset, cluster), deployment, cluster);
}

export function decideDeleteSnapshot(
  deployment: DeploymentView,
  cluster: ClusterView,
  id: string,
): Decision<Reply<SnapshotView>> {
  const parsed = parseSnapshotId(id);
  const snapshot = parsed === undefined ? undefined : deployment.snapshots.get(parsed);
  if (snapshot === undefined) return reject(404, DESCRIPTIONS.snapshotNotFound);
  if (snapshot.deleted) {
    return { reply: { status: 200, body: snapshotView(snapshot, deployment, cluster) }, changes: [] };
  }
  if (deployment.snapshots.isAwaited(snapshot.id)) return reject(409, DESCRIPTIONS.snapshotInUse);
  const dataset = deployment.dataset(snapshot.datasetId);
  return accept(200, settleSnapshot({ ...snapshot, deleted: true }, dataset, cluster), deployment, cluster);
}

/**
 * Hands a snapshot that no node has to take to the node that holds its dataset. Only from `unmade`: while it is `ordered`,
 * what its node did is not known, and a second node could take it twice.
 */
export function settleSnapshot(snapshot: Snapshot, dataset: Dataset | undefined, cluster: ClusterView): Snapshot {
  const { deleted, storage } = snapshot;
  if (storage.kind === 'failed') return deleted ? { ...snapshot, storage: { kind: 'gone' } } : snapshot;
  if (storage.kind !== 'unmade') return snapshot;
  if (deleted) return { ...snapshot, storage: { kind: 'gone' } };
  if (dataset === undefined || dataset.storage.kind === 'gone') {
    const message =
      `Dataset ${snapshot.datasetId} was destroyed before snapshot ${snapshot.id} of it was taken. ` +
      'It will never be; delete the snapshot.';
    return { ...snapshot, storage: { kind: 'failed', problem: { code: 'volume_lost', message } } };
  }
  const holder = dataset.storage.kind === 'held' ? cluster.node(dataset.storage.node) : undefined;
  if (holder?.connected !== true) return snapshot;
  return { ...snapshot, storage: { kind: 'ordered', node: holder.id, pool: holder.pool } };
}

/** What becomes of the snapshots that wait for these datasets. */
export function settlePending(
  deployment: DeploymentView,
  cluster: ClusterView,
  datasets: readonly DatasetId[],
): Change[] {
  const changes: Change[] = [];
  for (const id of new Set(datasets)) {
    for (const snapshot of deployment.snapshots.pendingOf(id)) {
      const settled = settleSnapshot(snapshot, deployment.dataset(id), cluster);
      if (settled !== snapshot) changes.push({ kind: 'snapshot', snapshot: settled });
    }
  }
  return changes;
}

/** A report with its snapshot looked up. */
export interface SnapshotReportOn {
  readonly snapshot: Snapshot;
  readonly report: SnapshotReport;
  /** Undefined when the report was made under an older order: then it confirms nothing. */
  readonly want: SnapshotWish['want'] | undefined;
}

/** What a node's reports change durably. The reply names the snapshots whose orders are fulfilled by that. */
export function decideSnapshotReports(
  node: LiveNode,
  reports: readonly SnapshotReportOn[],
  deployment: DeploymentView,
  cluster: ClusterView,
): Decision<readonly SnapshotId[]> {
  const changed = new Map<SnapshotId, Snapshot>();
  for (const { snapshot: before, report, want } of reports) {
    const snapshot = changed.get(before.id) ?? before;
    const dataset = deployment.dataset(snapshot.datasetId);
    const storage = afterReport(node, snapshot, dataset, report, want);
    if (storage !== snapshot.storage)
      changed.set(snapshot.id, settleSnapshot({ ...snapshot, storage }, dataset, cluster));
  }
  const changes: Change[] = [...changed.values()].map((snapshot) => ({ kind: 'snapshot', snapshot }));
  return { reply: [...changed.keys()], changes };
}

function afterReport(
  node: LiveNode,
  { deleted, storage }: Snapshot,
  dataset: Dataset | undefined,
  { busy, state }: SnapshotReport,
  want: SnapshotReportOn['want'],
): SnapshotStorage {
  if (busy || want === undefined) return storage;
  switch (storage.kind) {
    case 'ordered': {
      if (storage.node !== node.id || storage.pool !== node.pool) return storage;
      if (state.kind === 'present') {
        if (want !== 'taken') return storage;
        return { kind: 'taken', pool: node.pool, sizeBytes: state.sizeBytes, takenAtMs: state.takenAtMs };
      }
      if (want === 'destroyed') return { kind: 'gone' };
      const stillHolds = dataset?.storage.kind === 'held' && dataset.storage.node === node.id;
      return stillHolds ? storage : { kind: 'unmade' };
    }
    case 'taken': {
      const isGone = deleted && want === 'destroyed' && storage.pool === node.pool && state.kind === 'absent';
      return isGone ? { kind: 'gone' } : storage;
    }
    case 'unmade':
    case 'failed':
    case 'gone':
      return storage;
  }
}

function accept(
  status: number,
  snapshot: Snapshot,
  deployment: DeploymentView,
  cluster: ClusterView,
): Decision<Reply<SnapshotView>> {
  const reply = { status, body: snapshotView(snapshot, deployment, cluster) };
  return { reply, changes: [{ kind: 'snapshot', snapshot }] };
}

function reject(status: number, description: string): Decision<Reply<never>> {
  return { reply: { status, body: { description } }, changes: [] };
}

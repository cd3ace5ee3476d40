import type { CopyReport } from '../api/copy-channel.ts';
import type { NodeId } from '../kit/ids.ts';
import type { Dataset } from '../model/dataset.ts';
import type { DatasetCopies } from '../model/volume-copy.ts';
import type { Change, Decision } from './changes.ts';
import type { ClusterView, LiveNode } from './cluster.ts';
import type { CopyWish } from './copy-orders.ts';
import { settle } from './settle.ts';

/** A report with what it is about looked up. */
export interface CopyReportOn {
  readonly dataset: Dataset;
  readonly copies: DatasetCopies;
  readonly report: CopyReport;
  /** Undefined when the report was made under an older order: then it confirms nothing. */
  readonly want: CopyWish['want'] | undefined;
}

/**
 * What a node's reports on copies change durably. A copy that is whole becomes the volume, and what it was made from remains to be
 * destroyed: both in one commit, so that at every moment exactly one of the two is the volume.
 */
export function decideCopyReports(
  node: LiveNode,
  reports: readonly CopyReportOn[],
  cluster: ClusterView,
): Decision<undefined> {
  const changes = reports.flatMap((report): Change[] => {
    if (report.report.busy) return [];
    if (report.want === 'fetched') return afterCopy(node, report, cluster);
    return report.want === 'cleared' ? afterClearing(node, report) : [];
  });
  return { reply: undefined, changes };
}

function afterCopy(node: LiveNode, { dataset, copies, report }: CopyReportOn, cluster: ClusterView): Change[] {
  const { underWay, remains } = copies;
  const { storage } = dataset;
  if (report.state.kind !== 'whole' || underWay === null || report.copy !== underWay.id) return [];
  if (underWay.to !== node.id || underWay.pool !== node.pool) return [];
  if (storage.kind !== 'free' || storage.pool !== underWay.fromPool || dataset.deleted) return [];
  const moved = { kind: 'free', pool: underWay.pool, sizeBytes: report.state.sizeBytes } as const;
  const old = { pool: underWay.fromPool, node: null };
  return [
    { kind: 'dataset', dataset: settle({ ...dataset, storage: moved }, cluster) },
    { kind: 'copies', copies: { datasetId: dataset.id, underWay: null, remains: [...remains, old] } },
  ];
}

function afterClearing(node: LiveNode, { copies, report }: CopyReportOn): Change[] {
  if (report.state.kind !== 'absent') return [];
  const remains = copies.remains.filter(({ pool }) => pool !== node.pool);
  return remains.length === copies.remains.length ? [] : [{ kind: 'copies', copies: { ...copies, remains } }];
}

/** Records of copies are dropped with old records: what lies where is then not known, and nothing is destroyed on their word. */
export function forgetCopies(all: Iterable<DatasetCopies>): Change[] {
  return [...all].map(({ datasetId }) => ({ kind: 'copies', copies: { datasetId, underWay: null, remains: [] } }));
}

/** Whether `node` is the one to tell that something that remains in its pool is gone. */
export function mayClear(
  node: LiveNode,
  remains: DatasetCopies['remains'],
  isDead: (node: NodeId) => boolean,
): boolean {
  return remains.some(
    (each) => each.pool === node.pool && (each.node === null || each.node === node.id || isDead(each.node)),
  );
}

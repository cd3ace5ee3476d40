import { describe, expect, it } from 'vitest';
import type { SnapshotReport } from '../api/agent-channel.ts';
import type { SnapshotId } from '../kit/ids.ts';
import type { Dataset } from '../model/dataset.ts';
import type { Snapshot, SnapshotStorage } from '../model/snapshot.ts';
import { decideCreate, decideResize } from './decide-datasets.ts';
import {
  decideCreateSnapshot,
  decideDeleteSnapshot,
  decideSnapshotReports,
  type SnapshotReportOn,
  settleSnapshot,
} from './decide-snapshots.ts';
import { Deployment } from './deployment.ts';
import { A, B, clusterOf, DATASET, dataset, held, node, sampleDatasetId } from './testing/samples.ts';

const ID = '00000000-0000-4000-a000-000000000001' as SnapshotId;
const always = { tags: undefined, nameUnused: undefined };
const both = clusterOf([node(A), node(B)]);
const newUuid = (): string => ID;
const TAKEN = { kind: 'taken', pool: 'pool-a', sizeBytes: 2 ** 27, takenAtMs: 5 } as const;
const ORDERED = { kind: 'ordered', node: A, pool: 'pool-a' } as const;
const snapshot = (storage: SnapshotStorage, deleted = false): Snapshot => ({
  ...{ id: ID, datasetId: DATASET, metadata: {}, deleted, storage },
});

function deploymentOf(datasets: readonly Dataset[], ...snapshots: readonly Snapshot[]): Deployment {
  const deployment = new Deployment('cluster');
  for (const each of datasets) deployment.apply({ kind: 'dataset', dataset: each });
  for (const each of snapshots) deployment.apply({ kind: 'snapshot', snapshot: each });
  return deployment;
}

describe('settling a snapshot', () => {
  it('hands it to the node that holds its dataset, only while no node has it', () => {
    const here = dataset({ storage: held(A) });
    expect(settleSnapshot(snapshot({ kind: 'unmade' }), here, both).storage).toEqual(ORDERED);
    const away = clusterOf([node(A, { connected: false })]);
    for (const waiting of [dataset(), dataset({ storage: { kind: 'free', pool: 'pool-a', sizeBytes: 1 } })]) {
      expect(settleSnapshot(snapshot({ kind: 'unmade' }), waiting, both).storage).toEqual({ kind: 'unmade' });
    }
    expect(settleSnapshot(snapshot({ kind: 'unmade' }), here, away).storage).toEqual({ kind: 'unmade' });
    for (const storage of [ORDERED, TAKEN, { kind: 'gone' } as const]) {
      for (const deleted of [false, true]) {
        expect(settleSnapshot(snapshot(storage, deleted), dataset({ storage: held(B) }), both).storage).toBe(storage);
      }
    }
  });

  it('gives it up when its dataset is gone, and forgets it when that is asked for', () => {
    const gone = dataset({ deleted: true, storage: { kind: 'gone' } });
    const failed = settleSnapshot(snapshot({ kind: 'unmade' }), gone, both);
    expect(failed.storage).toMatchObject({ kind: 'failed', problem: { code: 'volume_lost' } });
    expect(settleSnapshot({ ...failed, deleted: true }, gone, both).storage).toEqual({ kind: 'gone' });
    expect(settleSnapshot(snapshot({ kind: 'unmade' }, true), gone, both).storage).toEqual({ kind: 'gone' });
  });
});

describe('requests about snapshots', () => {
  it('repeated or refused change nothing', () => {
    const present = deploymentOf([dataset({ storage: held(A) })], snapshot(TAKEN));
    const deleted = deploymentOf([dataset({ deleted: true, storage: held(A) })], snapshot(TAKEN, true));
    const again = { dataset_id: DATASET, snapshot_id: ID };
    const decisions = [
      decideCreateSnapshot(present, both, again, newUuid),
      decideCreateSnapshot(deleted, both, again, newUuid),
      decideCreateSnapshot(deploymentOf([]), both, again, newUuid),
      decideCreateSnapshot(deploymentOf([dataset({ deleted: true })]), both, again, newUuid),
      decideDeleteSnapshot(deploymentOf([]), both, ID),
      decideDeleteSnapshot(deleted, both, ID),
    ];
    expect(decisions.map(({ reply }) => reply.status)).toEqual([200, 409, 404, 405, 404, 200]);
    for (const { changes } of decisions) expect(changes).toEqual([]);
  });

  it('do not delete what a dataset that is not made yet begins with', () => {
    const source = { snapshotId: ID, pool: 'pool-a' };
    const unmade = [dataset({ source }), dataset({ source, storage: held(A, { made: false }) })];
    for (const each of unmade) {
      expect(decideDeleteSnapshot(deploymentOf([each], snapshot(TAKEN)), both, ID).reply.status).toBe(409);
    }
    for (const each of [dataset({ source, storage: held(A) }), dataset({ source, deleted: true })]) {
      const { reply, changes } = decideDeleteSnapshot(deploymentOf([each], snapshot(TAKEN)), both, ID);
      expect(reply.status).toBe(200);
      expect(changes).toEqual([{ kind: 'snapshot', snapshot: snapshot(TAKEN, true) }]);
    }
  });

  it('make datasets that only nodes of its pool are given', () => {
    const far = clusterOf([node(A), node(B, { pool: 'pool-b' })]);
    const deployment = deploymentOf([], snapshot(TAKEN));
    const body = { source_snapshot: ID, dataset_id: sampleDatasetId(2) };
    const [near] = decideCreate(deployment, far, { primary: A, ...body }, always, newUuid).changes;
    const source = { snapshotId: ID, pool: 'pool-a' };
    expect(near).toMatchObject({ dataset: { source, maximumSizeBytes: 2 ** 27, storage: { kind: 'held', node: A } } });
    const [waiting] = decideCreate(deployment, far, { primary: B, ...body }, always, newUuid).changes;
    expect(waiting).toMatchObject({ dataset: { source, storage: { kind: 'unmade' } } });
  });
});

describe('reports on snapshots', () => {
  const report = (state: SnapshotReport['state'], busy = false): SnapshotReport => ({
    ...{ snapshotId: ID, order: 1, busy, state, problem: null },
  });
  const PRESENT = { kind: 'present', sizeBytes: 7, takenAtMs: 5 } as const;
  const ABSENT = { kind: 'absent' } as const;
  const after = (
    storage: SnapshotStorage,
    told: SnapshotReport,
    want: SnapshotReportOn['want'],
    { from = node(A), deleted = want === 'destroyed', of = dataset({ storage: held(A) }) } = {},
  ): SnapshotStorage => {
    const on = { snapshot: snapshot(storage, deleted), report: told, want };
    const { changes } = decideSnapshotReports(from, [on], deploymentOf([of]), both);
    const [change] = changes;
    return change?.kind === 'snapshot' ? change.snapshot.storage : storage;
  };

  it('say that it was taken, under the order in force and at rest', () => {
    expect(after(ORDERED, report(PRESENT), 'taken')).toEqual({ ...TAKEN, sizeBytes: 7 });
    expect(after(ORDERED, report(PRESENT, true), 'taken')).toBe(ORDERED);
    expect(after(ORDERED, report(PRESENT), undefined)).toBe(ORDERED);
    expect(after(ORDERED, report(PRESENT), 'taken', { from: node(B) })).toBe(ORDERED);
    expect(after(ORDERED, report(PRESENT), 'taken', { from: node(A, { pool: 'pool-b' }) })).toBe(ORDERED);
  });

  it('free it for another node only when its node has neither it nor its dataset', () => {
    expect(after(ORDERED, report(ABSENT), 'taken')).toBe(ORDERED);
    const moved = dataset({ primary: B, storage: held(B) });
    expect(after(ORDERED, report(ABSENT), 'taken', { of: moved })).toEqual({ ...ORDERED, node: B });
    expect(after(ORDERED, report(ABSENT, true), 'taken', { of: moved })).toBe(ORDERED);
    const gone = dataset({ deleted: true, storage: { kind: 'gone' } });
    expect(after(ORDERED, report(ABSENT), 'taken', { of: gone })).toMatchObject({ kind: 'failed' });
  });

  it('say that it is gone only when it was deleted', () => {
    for (const storage of [ORDERED, TAKEN]) {
      expect(after(storage, report(ABSENT), 'destroyed')).toEqual({ kind: 'gone' });
      expect(after(storage, report(PRESENT), 'destroyed')).toBe(storage);
      expect(after(storage, report(ABSENT, true), 'destroyed')).toBe(storage);
      expect(after(storage, report(ABSENT), undefined, { deleted: true })).toBe(storage);
    }
    expect(after(TAKEN, report(ABSENT), 'destroyed', { deleted: false })).toBe(TAKEN);
    expect(after(TAKEN, report(ABSENT), 'destroyed', { from: node(A, { pool: 'pool-b' }) })).toBe(TAKEN);
  });
});

describe('growth', () => {
  const resize = (fields: Partial<Dataset>, maximum_size: number): ReturnType<typeof decideResize> =>
    decideResize(deploymentOf([dataset(fields)]), DATASET, { maximum_size }, always);

  it('changes the size and the revision, and nothing for the same size', () => {
    const { reply, changes } = resize({ maximumSizeBytes: 2 ** 27 }, 2 ** 28);
    expect(reply.status).toBe(200);
    expect(changes).toEqual([
      { kind: 'dataset', dataset: dataset({ maximumSizeBytes: 2 ** 28 }) },
      { kind: 'revision', revision: 1 },
    ]);
    expect(resize({ maximumSizeBytes: 2 ** 27 }, 2 ** 27)).toMatchObject({ reply: { status: 200 }, changes: [] });
  });

  it('is never below what was asked for or made', () => {
    const rounded = { maximumSizeBytes: 2 ** 27, storage: held(A, { sizeBytes: 2 ** 28 }) };
    expect(resize(rounded, 2 ** 27)).toMatchObject({ reply: { status: 200 }, changes: [] });
    for (const size of [2 ** 26, 2 ** 27 + 1024]) {
      expect(resize(rounded, size)).toMatchObject({ reply: { status: 409 }, changes: [] });
    }
    expect(resize({ maximumSizeBytes: null, storage: held(A, { sizeBytes: 2 ** 28 }) }, 2 ** 28).changes).toHaveLength(
      2,
    );
  });
});

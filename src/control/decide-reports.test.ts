import { describe, expect, it } from 'vitest';
import type { Report } from '../api/agent-channel.ts';
import type { Dataset } from '../model/dataset.ts';
import { decideReports, type PresentWant } from './decide-reports.ts';
import { A, B, clusterOf, DATASET, dataset, held, node } from './testing/samples.ts';

const both = clusterOf([node(A), node(B)]);
const size = { sizeBytes: 1024 };
const reportOf = (state: Report['state'], busy = false): Report => ({
  datasetId: DATASET,
  order: 1,
  busy,
  state,
  problem: null,
});

function after(subject: Dataset, want: PresentWant, ...reports: Report[]): Dataset | undefined {
  const on = reports.map((report) => ({ dataset: subject, report, want }));
  const { changes } = decideReports(node(A), on, both);
  expect(changes.length).toBeLessThanOrEqual(1);
  const [change] = changes;
  return change?.kind === 'dataset' ? change.dataset : undefined;
}

describe('decideReports', () => {
  const leaving = dataset({ primary: B, storage: held(A) });

  it('hands a released dataset on, and says that the order is fulfilled', () => {
    const on = [{ dataset: leaving, report: reportOf({ kind: 'detached', ...size }), want: 'released' as const }];
    const { reply, changes } = decideReports(node(A), on, both);
    expect(reply).toEqual([DATASET]);
    expect(changes).toEqual([{ kind: 'dataset', dataset: { ...leaving, storage: held(B) } }]);
  });

  it.each([undefined, 'mounted', 'destroyed'] as const)('takes no release under %s', (want) => {
    expect(after(leaving, want, reportOf({ kind: 'detached', ...size }))).toBeUndefined();
  });

  it('takes no release from a busy node, nor from one that has it', () => {
    expect(after(leaving, 'released', reportOf({ kind: 'detached', ...size }, true))).toBeUndefined();
    expect(after(leaving, 'released', reportOf({ kind: 'attached', ...size }))).toBeUndefined();
    expect(after(leaving, 'released', reportOf({ kind: 'mounted', ...size, path: '/x' }))).toBeUndefined();
  });

  it('takes only absence for destruction', () => {
    const doomed = dataset({ deleted: true, storage: held(A) });
    expect(after(doomed, 'destroyed', reportOf({ kind: 'absent' }))?.storage).toEqual({ kind: 'gone' });
    for (const state of [
      { kind: 'detached', ...size },
      { kind: 'elsewhere', instance: 'x' },
    ] as const) {
      expect(after(doomed, 'destroyed', reportOf(state))).toBeUndefined();
    }
    expect(after(doomed, 'destroyed', reportOf({ kind: 'absent' }, true))).toBeUndefined();
    expect(after(doomed, 'mounted', reportOf({ kind: 'absent' }))).toBeUndefined();
  });

  it('notes that a volume was made, whatever shows it', () => {
    const unmade = dataset({ storage: held(A, { made: false, sizeBytes: null }) });
    for (const kind of ['detached', 'attached'] as const) {
      expect(after(unmade, undefined, reportOf({ kind, ...size }, true))?.storage).toEqual(held(A));
    }
    const elsewhere = after(unmade, undefined, reportOf({ kind: 'elsewhere', instance: 'x' }));
    expect(elsewhere?.storage).toEqual(held(A, { sizeBytes: null }));
    expect(after(unmade, undefined, reportOf({ kind: 'absent' }))).toBeUndefined();
  });

  it('lets a volume that was never made be made elsewhere', () => {
    const unmade = dataset({ primary: B, storage: held(A, { made: false, sizeBytes: null }) });
    const next = held(B, { made: false, sizeBytes: null });
    expect(after(unmade, 'released', reportOf({ kind: 'absent' }))?.storage).toEqual(next);
  });

  it('believes a node that has what nobody is said to have', () => {
    for (const storage of [{ kind: 'unmade' }, { kind: 'free', pool: 'pool-b', sizeBytes: 1 }] as const) {
      const before = dataset({ primary: B, storage });
      expect(after(before, undefined, reportOf({ kind: 'attached', ...size }))?.storage).toEqual(held(A));
      expect(after(before, undefined, reportOf({ kind: 'detached', ...size }))).toBeUndefined();
    }
  });

  it('takes nothing from a node that does not hold it', () => {
    const others = dataset({ storage: held(B) });
    for (const state of [{ kind: 'absent' }, { kind: 'attached', ...size }] as const) {
      expect(after(others, 'released', reportOf(state))).toBeUndefined();
    }
  });

  it('takes what one message says of one dataset in its order', () => {
    const detached = reportOf({ kind: 'detached', ...size });
    const grown = reportOf({ kind: 'attached', sizeBytes: 2048 });
    expect(after(leaving, 'released', detached, grown)?.storage).toEqual(held(B));
    expect(after(leaving, 'released', grown, detached)?.storage).toEqual(held(B));
  });
});

import { describe, expect, it } from 'vitest';
import type { Lease } from '../model/lease.ts';
import { explain } from './explain.ts';
import { A, B, clusterOf, DATASET, dataset, held, mounted, node } from './testing/samples.ts';

const free = { kind: 'free', pool: 'pool-a', sizeBytes: 1 } as const;
const lease: Lease = { datasetId: DATASET, nodeId: A, expiresAtMs: null };
const both = [node(A), node(B)];
const codeOf = (...args: Parameters<typeof explain>): unknown => {
  const explanation = explain(...args);
  return explanation === undefined ? undefined : [explanation.code, explanation.node];
};

describe('explain', () => {
  it('has nothing to say of a dataset that is as configured', () => {
    expect(explain(dataset({ storage: held(A) }), undefined, clusterOf(both, [[A, mounted]]))).toBeUndefined();
    expect(explain(dataset({ deleted: true, storage: { kind: 'gone' } }), lease, clusterOf([]))).toBeUndefined();
  });

  it.each([
    ['unmade, primary never heard', dataset(), [node(B)], ['node_unknown', A]],
    ['unmade, primary away', dataset(), [node(A, { connected: false })], ['node_away', A]],
    ['unmade, primary there', dataset(), both, ['in_progress', A]],
    ['held, not mounted yet', dataset({ storage: held(A) }), both, ['in_progress', A]],
    ['held by a primary never heard', dataset({ storage: held(A) }), [], ['node_unknown', A]],
    ['free, primary away', dataset({ storage: free }), [node(A, { connected: false })], ['node_away', A]],
    ['free, out of reach', dataset({ storage: free }), [node(A, { pool: 'pool-b' })], ['pool_unreachable', A]],
    ['moving', dataset({ primary: B, storage: held(A) }), both, ['waiting_for_release', A]],
    [
      'moving, holder away',
      dataset({ primary: B, storage: held(A) }),
      [node(A, { connected: false }), node(B)],
      ['node_away', A],
    ],
    ['moving, holder never heard', dataset({ primary: B, storage: held(A) }), [node(B)], ['node_unknown', A]],
    ['deleted, being destroyed', dataset({ deleted: true, storage: held(A) }), both, ['waiting_for_release', A]],
    ['deleted and free, primary never heard', dataset({ deleted: true, storage: free }), [], ['node_unknown', A]],
    [
      'deleted and free, primary of another pool',
      dataset({ deleted: true, storage: free }),
      [node(A, { pool: 'x' })],
      ['node_away', A],
    ],
  ])('%s', (_, subject, nodes, expected) => {
    expect(codeOf(subject, undefined, clusterOf(nodes))).toEqual(expected);
    expect(explain(subject, undefined, clusterOf(nodes))?.message).toContain(DATASET);
  });

  it('says that a mount was there when its node was last heard', () => {
    const cluster = clusterOf([node(A)], [[A, mounted]]);
    cluster.disconnected(A);
    expect(codeOf(dataset({ storage: held(A) }), undefined, cluster)).toEqual(['node_away', A]);
  });

  it('names a lease only while it keeps something', () => {
    const leaving = dataset({ primary: B, storage: held(A) });
    expect(codeOf(leaving, lease, clusterOf(both, [[A, mounted]]))).toEqual(['waiting_for_lease', A]);
    expect(codeOf(leaving, lease, clusterOf(both))).toEqual(['waiting_for_release', A]);
    expect(codeOf(leaving, { ...lease, nodeId: B }, clusterOf(both, [[A, mounted]]))).toEqual([
      'waiting_for_release',
      A,
    ]);
  });

  it('passes on what the node says', () => {
    const cluster = clusterOf(both);
    const problem = { code: 'volume_in_use', message: 'process 7 has it open' } as const;
    cluster.see(A, DATASET, { datasetId: DATASET, order: 1, busy: false, state: mounted, problem });
    expect(explain(dataset({ primary: B, storage: held(A) }), undefined, cluster)).toEqual({ ...problem, node: A });
    expect(explain(dataset({ storage: held(A) }), undefined, cluster)).toEqual({ ...problem, node: A });
  });

  it('puts a conflict first, by the name people use', () => {
    const cluster = clusterOf(both, [
      [A, mounted],
      [B, mounted],
    ]);
    const subject = dataset({ storage: held(A), metadata: { name: 'photos' } });
    expect(codeOf(subject, lease, cluster)).toEqual(['conflict', B]);
    expect(explain(subject, lease, cluster)?.message).toContain('photos');
    const gone = dataset({ deleted: true, storage: { kind: 'gone' } });
    expect(codeOf(gone, undefined, clusterOf(both, [[B, mounted]]))).toEqual(['conflict', B]);
  });
});

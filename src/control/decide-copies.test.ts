import { describe, expect, it } from 'vitest';
import type { CopyReport } from '../api/copy-channel.ts';
import type { Dataset } from '../model/dataset.ts';
import type { DatasetCopies } from '../model/volume-copy.ts';
import type { Change } from './changes.ts';
import { toStoreChange } from './changes.ts';
import type { LiveNode } from './cluster.ts';
import type { CopyWish } from './copy-orders.ts';
import { copyWishes } from './copy-orders.ts';
import { decideCopyReports, forgetCopies } from './decide-copies.ts';
import { Deployment } from './deployment.ts';
import { readDeployment } from './stored-deployment.ts';
import { A, B, clusterOf, DATASET, dataset, held, node, sampleNodeId } from './testing/samples.ts';

const C = sampleNodeId(3);
const COPY = '00000000-0000-4000-8000-0000000000c1';
const OTHER = '00000000-0000-4000-8000-0000000000c2';
const source = node(A, { copyPort: 4525 });
const target = node(B, { copyPort: 4526, pool: 'pool-b' });
const cluster = clusterOf([source, target]);
const moving = dataset({ primary: B, storage: { kind: 'free', pool: 'pool-a', sizeBytes: 1024 } });
const copies: DatasetCopies = {
  datasetId: DATASET,
  underWay: { id: COPY, from: A, fromPool: 'pool-a', to: B, pool: 'pool-b' },
  remains: [],
};
const whole: CopyReport = {
  ...{ datasetId: DATASET, order: 1, copy: COPY, busy: false, problem: null },
  state: { kind: 'whole', sizeBytes: 2048 },
};
const absent: CopyReport = { datasetId: DATASET, order: 1, busy: false, state: { kind: 'absent' }, problem: null };

function after(
  report: CopyReport,
  want: CopyWish['want'] | undefined,
  fields: { reporter?: LiveNode; subject?: Dataset; before?: DatasetCopies } = {},
): readonly Change[] {
  const { reporter = target, subject = moving, before = copies } = fields;
  return decideCopyReports(reporter, [{ dataset: subject, copies: before, report, want }], cluster).changes;
}

describe('a copy that is whole', () => {
  it('is the volume at once, and the old one is to be destroyed', () => {
    expect(after(whole, 'fetched')).toEqual([
      { kind: 'dataset', dataset: { ...moving, storage: held(B, { pool: 'pool-b', sizeBytes: 2048 }) } },
      { kind: 'copies', copies: { datasetId: DATASET, underWay: null, remains: [{ pool: 'pool-a', node: null }] } },
    ]);
  });

  it.each<[string, CopyReport, CopyWish['want'] | undefined, Parameters<typeof after>[2]]>([
    ['under an older order', whole, undefined, {}],
    ['while something runs', { ...whole, busy: true }, 'fetched', {}],
    ['of another copy', { ...whole, copy: OTHER }, 'fetched', {}],
    ['by another node', whole, 'fetched', { reporter: node(C, { pool: 'pool-b' }) }],
    ['of a node that now has another pool', whole, 'fetched', { reporter: { ...target, pool: 'pool-c' } }],
    ['of a dataset that somebody has', whole, 'fetched', { subject: { ...moving, storage: held(A) } }],
    ['of a dataset that was deleted', whole, 'fetched', { subject: { ...moving, deleted: true } }],
    ['when none is under way', whole, 'fetched', { before: { ...copies, underWay: null } }],
    ['in part only', { ...whole, state: { kind: 'part', bytes: 1, totalBytes: 1 } }, 'fetched', {}],
    ['by a node that was told to clear', whole, 'cleared', {}],
  ])('counts for nothing when reported %s', (_, report, want, fields) => {
    expect(after(report, want, fields)).toEqual([]);
  });
});

describe('what remains', () => {
  const before: DatasetCopies = {
    ...{ datasetId: DATASET, underWay: null },
    remains: [
      { pool: 'pool-b', node: B },
      { pool: 'pool-c', node: null },
    ],
  };

  it('is forgotten pool by pool when it is gone', () => {
    expect(after(absent, 'cleared', { before })).toEqual([
      { kind: 'copies', copies: { ...before, remains: [{ pool: 'pool-c', node: null }] } },
    ]);
    expect(after({ ...absent, busy: true }, 'cleared', { before })).toEqual([]);
    expect(after(absent, undefined, { before })).toEqual([]);
    expect(after(absent, 'fetched', { before })).toEqual([]);
  });

  it('is destroyed by the node that may be making it, or by any when that is dead or nobody is', () => {
    const wants = (nodes: readonly LiveNode[], remains: DatasetCopies['remains'], dead = false): unknown => {
      const deployment = new Deployment('cluster');
      deployment.apply({ kind: 'copies', copies: { datasetId: DATASET, underWay: null, remains } });
      if (dead) deployment.apply({ kind: 'nodeDead', death: { node: B, declaration: COPY, declaredAtMs: 0 } });
      return [...copyWishes(moving, deployment, clusterOf(nodes))].map(([id, { want }]) => [id, want]);
    };
    const other = node(C, { copyPort: 1, pool: 'pool-b' });
    expect(wants([other, target], [{ pool: 'pool-b', node: B }])).toEqual([[B, 'cleared']]);
    expect(wants([other], [{ pool: 'pool-b', node: B }])).toEqual([]);
    expect(wants([other], [{ pool: 'pool-b', node: B }], true)).toEqual([[C, 'cleared']]);
    expect(wants([other, target], [{ pool: 'pool-b', node: null }])).toEqual([[C, 'cleared']]);
    expect(wants([{ ...other, copyPort: null }], [{ pool: 'pool-b', node: null }])).toEqual([]);
  });

  it('is forgotten with old records', () => {
    expect(forgetCopies([before])).toEqual([
      { kind: 'copies', copies: { datasetId: DATASET, underWay: null, remains: [] } },
    ]);
  });

  it('is read from the store as it was written, and nothing else is', () => {
    const written = toStoreChange({ kind: 'copies', copies: { ...before, underWay: copies.underWay } });
    if (written.kind !== 'put') throw new Error('not written');
    expect(readDeployment(new Map([[written.key, written.value]]))).toEqual([
      { kind: 'copies', copies: { ...before, underWay: copies.underWay } },
    ]);
    expect(toStoreChange({ kind: 'copies', copies: { ...before, remains: [] } })).toEqual({
      kind: 'remove',
      key: written.key,
    });
    expect(() => readDeployment(new Map([[written.key, { underWay: null }]]))).toThrow('cannot read');
  });
});

describe('the orders of a copy', () => {
  it('name both nodes to each other, and wait for the one that reads', () => {
    const deployment = new Deployment('cluster');
    deployment.apply({ kind: 'copies', copies });
    expect([...copyWishes(moving, deployment, cluster)]).toEqual([
      [A, { want: 'given', datasetId: DATASET, copy: COPY, to: B, leftBy: [] }],
      [B, { want: 'fetched', datasetId: DATASET, copy: COPY, from: { node: A, host: `host-of-${A}`, port: 4525 } }],
    ]);
    expect([...copyWishes(moving, deployment, clusterOf([{ ...source, connected: false }, target]))]).toEqual([]);
  });
});

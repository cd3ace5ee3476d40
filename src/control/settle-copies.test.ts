import { describe, expect, it } from 'vitest';
import type { Dataset } from '../model/dataset.ts';
import type { DatasetCopies, VolumeCopy } from '../model/volume-copy.ts';
import type { LiveNode } from './cluster.ts';
import { Deployment } from './deployment.ts';
import { settleCopies } from './settle-copies.ts';
import { A, B, clusterOf, DATASET, dataset, held, node, sampleNodeId } from './testing/samples.ts';

const C = sampleNodeId(3);
const COPY = '00000000-0000-4000-8000-0000000000c1';
const free = { kind: 'free', pool: 'pool-a', sizeBytes: 1024 } as const;
const source = node(A, { copyPort: 4525 });
const target = node(B, { copyPort: 4525, pool: 'pool-b' });
const stranded = dataset({ primary: B, storage: free });
const underWay: VolumeCopy = { id: COPY, from: A, fromPool: 'pool-a', to: B, pool: 'pool-b' };

function after(
  subject: Dataset,
  nodes: readonly LiveNode[],
  before: Partial<DatasetCopies> = {},
): DatasetCopies | undefined {
  const deployment = new Deployment('cluster');
  deployment.apply({ kind: 'dataset', dataset: subject });
  deployment.apply({ kind: 'copies', copies: { datasetId: DATASET, underWay: null, remains: [], ...before } });
  const changes = settleCopies(deployment, clusterOf(nodes), [DATASET, DATASET], () => COPY);
  expect(changes.length).toBeLessThanOrEqual(1);
  const [change] = changes;
  return change?.kind === 'copies' ? change.copies : undefined;
}

describe('settleCopies', () => {
  it('begins a copy of a volume that its primary cannot reach', () => {
    expect(after(stranded, [source, target])).toEqual({ datasetId: DATASET, underWay, remains: [] });
  });

  it.each<[string, Dataset, LiveNode[]]>([
    ['that somebody has', { ...stranded, storage: held(A) }, [source, target]],
    ['that is deleted', { ...stranded, deleted: true }, [source, target]],
    [
      'of which it is in doubt where it is',
      { ...stranded, storage: { kind: 'unconfirmed', was: free } },
      [source, target],
    ],
    ['that its primary reaches', { ...stranded, primary: A }, [source, target]],
    ['while its primary is away', stranded, [source, { ...target, connected: false }]],
    ['while nobody reaches it', stranded, [{ ...source, connected: false }, target]],
    ['for a node that cannot copy', stranded, [source, { ...target, copyPort: null }]],
    ['from a node that cannot copy', stranded, [{ ...source, copyPort: null }, target]],
    ['into another engine', stranded, [source, { ...target, backend: 'btrfs' }]],
  ])('begins none of a volume %s', (_, subject, nodes) => {
    expect(after(subject, nodes)).toBeUndefined();
  });

  it('begins none into a pool where an old one may lie', () => {
    expect(after(stranded, [source, target], { remains: [{ pool: 'pool-b', node: null }] })).toBeUndefined();
    expect(after(stranded, [source, target], { remains: [{ pool: 'pool-c', node: null }] })?.underWay).toEqual(
      underWay,
    );
  });

  it('lets one that is under way go on while either node is away', () => {
    expect(after(stranded, [{ ...source, connected: false }, target], { underWay })).toBeUndefined();
    expect(after(stranded, [source, { ...target, connected: false }], { underWay })).toBeUndefined();
    expect(after(stranded, [], { underWay })).toBeUndefined();
  });

  it('has another node of the pool read it when the one that did is gone', () => {
    const other = node(C, { copyPort: 1 });
    const nodes = [{ ...source, connected: false }, other, target];
    expect(after(stranded, nodes, { underWay })?.underWay).toEqual({ ...underWay, from: C });
    expect(after(stranded, [other, source, target], { underWay })).toBeUndefined();
  });

  it.each<[string, Dataset, LiveNode]>([
    ['was moved elsewhere', { ...stranded, primary: A }, target],
    ['was deleted', { ...stranded, deleted: true }, target],
    ['is had by somebody', { ...stranded, storage: held(A) }, target],
    ['is to go to a node that now has another pool', stranded, { ...target, pool: 'pool-c', copyPort: null }],
  ])('ends one whose dataset %s, and has what came of it destroyed', (_, subject, to) => {
    const stopped = { datasetId: DATASET, underWay: null, remains: [{ pool: 'pool-b', node: B }] };
    expect(after(subject, [source, to], { underWay })).toEqual(stopped);
  });
});

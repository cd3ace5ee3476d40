import { describe, expect, it } from 'vitest';
import type { Dataset } from '../model/dataset.ts';
import { Deployment } from './deployment.ts';
import { A, B, DATASET, dataset, held, sampleDatasetId } from './testing/samples.ts';

function deploymentOf(...datasets: Dataset[]): Deployment {
  const deployment = new Deployment('cluster');
  for (const each of datasets) deployment.apply({ kind: 'dataset', dataset: each });
  return deployment;
}

describe('Deployment', () => {
  it('finds datasets by name until they are deleted, by either key', () => {
    const [one, two] = [
      dataset({ metadata: { name: 'x' } }),
      dataset({ id: sampleDatasetId(2), metadata: { FLOCKER_ID: 'x' } }),
    ];
    const deployment = deploymentOf(one, two);
    expect(deployment.named('x')).toEqual([one, two]);
    deployment.apply({ kind: 'dataset', dataset: { ...one, deleted: true } });
    expect(deployment.named('x')).toEqual([two]);
    expect(deployment.named('y')).toEqual([]);
  });

  it('knows what concerns a node as holder or as primary, and follows changes', () => {
    const moving = dataset({ primary: B, storage: held(A) });
    const deployment = deploymentOf(moving);
    expect([deployment.concerning(A), deployment.concerning(B)]).toEqual([[moving], [moving]]);
    const arrived = { ...moving, storage: held(B) };
    deployment.apply({ kind: 'dataset', dataset: arrived });
    expect([deployment.concerning(A), deployment.concerning(B)]).toEqual([[], [arrived]]);
    deployment.apply({ kind: 'dataset', dataset: { ...arrived, deleted: true, storage: { kind: 'gone' } } });
    expect(deployment.concerning(B)).toEqual([]);
  });

  it('knows the deleted datasets of a pool that nobody has', () => {
    const free = dataset({ storage: { kind: 'free', pool: 'pool-a', sizeBytes: 1 } });
    const deployment = deploymentOf(free);
    expect(deployment.doomedIn('pool-a')).toEqual([]);
    const doomed = { ...free, deleted: true };
    deployment.apply({ kind: 'dataset', dataset: doomed });
    expect([deployment.doomedIn('pool-a'), deployment.doomedIn('pool-b')]).toEqual([[doomed], []]);
    deployment.apply({ kind: 'dataset', dataset: { ...doomed, storage: held(A) } });
    expect(deployment.doomedIn('pool-a')).toEqual([]);
  });

  it('keeps one lease for each dataset', () => {
    const deployment = new Deployment('cluster');
    const lease = { datasetId: DATASET, nodeId: A, expiresAtMs: null };
    deployment.apply({ kind: 'lease', lease });
    deployment.apply({ kind: 'lease', lease: { ...lease, nodeId: B } });
    expect([...deployment.leases()]).toEqual([{ ...lease, nodeId: B }]);
    deployment.apply({ kind: 'leaseEnded', datasetId: DATASET });
    expect(deployment.lease(DATASET)).toBeUndefined();
  });

  it('has a tag of its cluster and revision', () => {
    const tags = ['one', 'two'].flatMap((cluster) =>
      [1, 2].map((revision) => {
        const deployment = new Deployment(cluster);
        deployment.apply({ kind: 'revision', revision });
        return deployment.tag;
      }),
    );
    expect(new Set(tags).size).toBe(4);
    for (const tag of tags) expect(tag).toMatch(/^[0-9a-f]{32}$/);
  });
});

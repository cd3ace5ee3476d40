import { Compile } from 'typebox/compile';
import { describe, expect, it } from 'vitest';
import { StorageView } from '../api/storage.ts';
import type { DatasetId } from '../kit/ids.ts';
import { type Dataset, PROFILE_KEY } from '../model/dataset.ts';
import type { PoolFigures, PoolReport, ProfileTraits } from '../model/storage-state.ts';
import { Deployment } from './deployment.ts';
import { poolView, storageView } from './storage-view.ts';
import { A, B, clusterOf, dataset, held, node, sampleDatasetId, sampleNodeId } from './testing/samples.ts';

const C = sampleNodeId(3);
const shape = Compile(StorageView);

function figures(fields: Partial<PoolFigures> = {}): PoolFigures {
  return {
    totalBytes: null,
    availableBytes: null,
    usedBytes: null,
    logicalBytes: null,
    physicalBytes: null,
    compressionSavedBytes: null,
    sharedSavedBytes: null,
    ...fields,
  };
}

function traits(name: string, fields: Partial<ProfileTraits> = {}): ProfileTraits {
  return { name, media: null, compression: null, dedup: null, replication: null, encryption: null, ...fields };
}

function report(fields: Partial<PoolFigures>, profiles: readonly ProfileTraits[] = []): PoolReport {
  return { profiles, figures: figures(fields) };
}

function deploymentOf(...datasets: readonly Partial<Dataset>[]): Deployment {
  const deployment = new Deployment('cluster');
  for (const [index, fields] of datasets.entries()) {
    const id: DatasetId = sampleDatasetId(index + 1);
    deployment.apply({ kind: 'dataset', dataset: dataset({ id, ...fields }) });
  }
  return deployment;
}

describe('a pool', () => {
  it('that several nodes reach is there once, with what was measured last', () => {
    const cluster = clusterOf([node(A), node(B, { connected: false }), node(C, { pool: 'pool-c' })]);
    cluster.measurePool(A, report({ totalBytes: 100, availableBytes: 60, usedBytes: 40 }), 5_000);
    // The wall clock was set back; it is the newer one all the same.
    cluster.measurePool(B, report({ totalBytes: 100, availableBytes: 50, usedBytes: 50 }), 1_000);
    cluster.measurePool(C, report({ totalBytes: 7, availableBytes: 3, usedBytes: 4 }), 1_000);
    const view = storageView(deploymentOf(), cluster);
    expect(shape.Check(view)).toBe(true);
    expect(view.pools).toMatchObject([
      { pool: 'pool-a', nodes: [A], measured: '1970-01-01T00:00:01.000Z', figures: { available: 50, used: 50 } },
      { pool: 'pool-c', nodes: [C], figures: { total: 7 } },
    ]);
    expect(view.total).toMatchObject({ total: 107, available: 53, used: 54 });
    expect(view.nodes).toEqual([
      { uuid: A, host: `host-of-${A}`, connected: true, pool: 'pool-a' },
      { uuid: B, host: `host-of-${B}`, connected: false, pool: 'pool-a' },
      { uuid: C, host: `host-of-${C}`, connected: true, pool: 'pool-c' },
    ]);
    expect(poolView('pool-c', deploymentOf(), cluster)).toEqual(view.pools[1]);
    expect(poolView('pool-x', deploymentOf(), cluster)).toBeUndefined();
  });

  it('has its profiles before anything was measured, and then what is known of them', () => {
    const cluster = clusterOf([node(A, { profiles: ['gold'] }), node(B, { profiles: ['gold', 'silver'] })]);
    const profiles = (): unknown => storageView(deploymentOf(), cluster).pools[0]?.profiles;
    const nothing = { datasets: 0, provisioned: 0 };
    expect(profiles()).toEqual([
      { ...traits('gold'), ...nothing },
      { ...traits('silver'), ...nothing },
    ]);
    cluster.measurePool(A, report({}, [traits('gold', { media: 'ssd', replication: 2 })]), 0);
    expect(profiles()).toEqual([
      { ...traits('gold', { media: 'ssd', replication: 2 }), ...nothing },
      { ...traits('silver'), ...nothing },
    ]);
  });

  it('counts what was promised, also to volumes that its nodes are yet to make', () => {
    const cluster = clusterOf([node(A, { profiles: ['gold'] })]);
    const deployment = deploymentOf(
      { storage: held(A), metadata: { [PROFILE_KEY]: 'gold' } },
      { primary: A, maximumSizeBytes: 2048, metadata: { [PROFILE_KEY]: 'gold' } },
      { primary: A, maximumSizeBytes: 4096 },
      { storage: { kind: 'free', pool: 'pool-away', sizeBytes: 8192 } },
    );
    const { pools, total } = storageView(deployment, cluster);
    expect(pools).toHaveLength(1);
    expect(pools[0]).toMatchObject({
      figures: { provisioned: 1024 + 2048 + 4096 },
      profiles: [{ name: 'gold', datasets: 2, provisioned: 1024 + 2048 }],
    });
    expect(total.provisioned).toBe(1024 + 2048 + 4096 + 8192);
  });

  it('is unknown as long as no node has measured it, and again when its nodes are forgotten', () => {
    const cluster = clusterOf([node(A)]);
    expect(storageView(deploymentOf(), cluster).pools[0]).toMatchObject({ measured: null, figures: { total: null } });
    cluster.measurePool(A, report({ totalBytes: 1 }), 0);
    cluster.expire(A);
    expect(storageView(deploymentOf(), cluster).pools).toEqual([]);
    cluster.join(node(A));
    expect(cluster.poolMeasure(A)).toBeUndefined();
  });

  it('is not described by what its node measured of another pool', () => {
    const cluster = clusterOf([node(A)]);
    cluster.measurePool(A, report({ totalBytes: 1 }), 0);
    cluster.join(node(A));
    expect(cluster.poolMeasure(A)).toBeDefined();
    cluster.join(node(A, { pool: 'pool-b' }));
    expect(cluster.poolMeasure(A)).toBeUndefined();
  });
});

describe('sums and shares', () => {
  it('are unknown where a summand is', () => {
    const cluster = clusterOf([node(A), node(B, { pool: 'pool-b' })]);
    cluster.measurePool(A, report({ totalBytes: 10, logicalBytes: 8, compressionSavedBytes: 2 }), 0);
    cluster.measurePool(B, report({ totalBytes: 20, logicalBytes: null, compressionSavedBytes: 1 }), 0);
    const { pools, total } = storageView(deploymentOf(), cluster);
    expect(total).toMatchObject({ total: 30, logical: null, saved_by_compression: 3, compression_share: null });
    expect(pools.map((pool) => pool.figures.compression_share)).toEqual([0.25, null]);
  });

  it('are unknown of nothing', () => {
    expect(storageView(deploymentOf(), clusterOf([])).total).toMatchObject({ total: null, provisioned: 0 });
    const cluster = clusterOf([node(A)]);
    cluster.measurePool(A, report({ logicalBytes: 0, compressionSavedBytes: 0 }), 0);
    expect(storageView(deploymentOf(), cluster).total.compression_share).toBeNull();
  });
});

import { randomUUID } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import type { Dataset } from '../model/dataset.ts';
import type { Change } from './changes.ts';
import { decideCreate } from './decide-datasets.ts';
import { decideReports } from './decide-reports.ts';
import { decideConfirmRestored, decideDoubt } from './decide-restored.ts';
import { Deployment } from './deployment.ts';
import { explain } from './explain.ts';
import { wishFor } from './orders.ts';
import { settle } from './settle.ts';
import { A, B, clusterOf, DATASET, dataset, held, node } from './testing/samples.ts';

const WALL_MS = 1_800_000_000_000;

function restoredWith(one: Dataset, ...more: readonly Change[]): Deployment {
  const deployment = new Deployment('cluster');
  deployment.apply({ kind: 'dataset', dataset: one });
  deployment.apply({ kind: 'restored', restored: { atMs: WALL_MS, doubted: false } });
  for (const change of more) deployment.apply(change);
  for (const change of decideDoubt(deployment, WALL_MS)) deployment.apply(change);
  return deployment;
}

function only(deployment: Deployment): Dataset {
  const [one] = deployment.datasets();
  if (one === undefined) throw new Error('no dataset');
  return one;
}

const free = { kind: 'free', pool: 'pool-a', sizeBytes: null } as const;
const death = { node: B, declaration: '00000000-0000-4000-8000-00000000dead', declaredAtMs: 1 };

describe('records that are an old copy', () => {
  it('are doubted once, under a tag that no earlier configuration had', () => {
    const deployment = restoredWith(dataset({ storage: free }));
    expect(only(deployment).storage).toEqual({ kind: 'unconfirmed', was: free });
    expect(deployment.revision).toBeGreaterThanOrEqual(WALL_MS);
    expect(decideDoubt(deployment, WALL_MS + 1)).toEqual([]);
  });

  it('keep it that a dataset is gone', () => {
    expect(only(restoredWith(dataset({ storage: { kind: 'gone' } }))).storage).toEqual({ kind: 'gone' });
  });

  it('give nobody anything and order nothing, and say why', () => {
    const cluster = clusterOf([node(A), node(B)]);
    for (const storage of [free, held(A), { kind: 'unmade' } as const]) {
      const doubted = only(restoredWith(dataset({ primary: A, storage })));
      expect(settle(doubted, cluster)).toBe(doubted);
      expect(wishFor(A, doubted, undefined, cluster)).toBeUndefined();
      expect(explain(doubted, undefined, cluster)).toMatchObject({ code: 'unconfirmed' });
    }
  });

  it('believe a node that has a volume, and make it its primary', () => {
    const doubted = only(restoredWith(dataset({ primary: A, storage: held(A) })));
    const report = {
      ...{ datasetId: doubted.id, order: 0, busy: false, problem: null },
      state: { kind: 'attached', sizeBytes: 1000 },
    } as const;
    const { changes } = decideReports(node(B), [{ dataset: doubted, report, want: undefined }], clusterOf([]));
    expect(changes).toMatchObject([{ dataset: { primary: B, storage: { kind: 'held', node: B, made: true } } }]);
  });

  it('believe no node that has not', () => {
    const doubted = only(restoredWith(dataset({ primary: A, storage: held(A) })));
    for (const state of [{ kind: 'detached', sizeBytes: 1 }, { kind: 'absent' }] as const) {
      const report = { datasetId: doubted.id, order: 0, busy: false, state, problem: null };
      const { changes } = decideReports(node(A), [{ dataset: doubted, report, want: undefined }], clusterOf([]));
      expect(changes).toEqual([]);
    }
  });
});

describe('confirming them', () => {
  const cluster = clusterOf([node(A)]);

  it('gives what nobody reported to whom the records say', () => {
    const { reply, changes } = decideConfirmRestored(restoredWith(dataset({ primary: A, storage: free })), cluster);
    expect(reply).toMatchObject({ confirmed: [expect.any(String)], waiting: [] });
    expect(changes).toMatchObject([
      { dataset: { storage: { kind: 'held', node: A, made: true, pool: 'pool-a' } } },
      { kind: 'restored', restored: undefined },
    ]);
  });

  it('never lets a volume be made: it may have been since', () => {
    const unmade = { kind: 'unmade' } as const;
    for (const storage of [unmade, held(A, { made: false, pool: null, sizeBytes: null })]) {
      const deployment = restoredWith(dataset({ primary: A, storage }));
      for (const change of decideConfirmRestored(deployment, cluster).changes) deployment.apply(change);
      expect(wishFor(A, only(deployment), undefined, cluster)).toMatchObject({ want: 'mounted', mayCreate: false });
    }
  });

  it('leaves with a node that is away what it had', () => {
    const { changes } = decideConfirmRestored(restoredWith(dataset({ primary: A, storage: held(B) })), cluster);
    expect(changes[0]).toMatchObject({ dataset: { storage: { kind: 'held', node: B } } });
  });

  it('lets only from a node that still is declared dead be taken over', () => {
    const left = { ...free, leftBy: [B] };
    const since = decideConfirmRestored(restoredWith(dataset({ primary: A, storage: left })), cluster);
    expect(since.changes[0]).not.toMatchObject({ dataset: { storage: { leftBy: [B] } } });
    const still = restoredWith(dataset({ primary: A, storage: left }), { kind: 'nodeDead', death });
    expect(decideConfirmRestored(still, cluster).changes[0]).toMatchObject({ dataset: { storage: { leftBy: [B] } } });
  });

  it('waits for a node that is busy with a volume', () => {
    const deployment = restoredWith(dataset({ primary: A, storage: free }));
    const busy = clusterOf([node(B)]);
    const state = { kind: 'detached', sizeBytes: 1 } as const;
    busy.see(B, DATASET, { datasetId: DATASET, order: 0, busy: true, state, problem: null });
    expect(decideConfirmRestored(deployment, busy)).toMatchObject({ reply: { confirmed: [] }, changes: [] });
  });
});

describe('a new volume', () => {
  it('is not made until all is confirmed: one of its name may exist', () => {
    const deployment = restoredWith(dataset({ storage: { kind: 'gone' } }));
    const conditions = { tags: undefined, nameUnused: undefined };
    const { reply, changes } = decideCreate(deployment, clusterOf([node(A)]), { primary: A }, conditions, randomUUID);
    expect(reply).toMatchObject({ status: 409, body: { description: expect.stringContaining('restored') as string } });
    expect(changes).toEqual([]);
  });
});

describe('a volume that a node has and the records lack', () => {
  it('is taken in with its data when a dataset is made with its id', () => {
    const one = dataset({});
    const cluster = clusterOf([node(B)], [[B, { kind: 'attached', sizeBytes: 1 }]]);
    const body = { primary: A, dataset_id: one.id };
    const conditions = { tags: undefined, nameUnused: undefined };
    const { changes } = decideCreate(new Deployment('cluster'), cluster, body, conditions, () => 'unused');
    expect(changes[0]).toMatchObject({ dataset: { primary: A, storage: { kind: 'held', node: B, made: true } } });
  });
});

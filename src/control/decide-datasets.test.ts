import { describe, expect, it } from 'vitest';
import { decideCreate, decideDelete, decideMove, unmetCondition } from './decide-datasets.ts';
import { Deployment } from './deployment.ts';
import { A, B, clusterOf, DATASET, dataset, held, node, sampleDatasetId } from './testing/samples.ts';

const always = { tags: undefined, nameUnused: undefined };
const both = clusterOf([node(A), node(B)]);
const newUuid = (): string => sampleDatasetId(7);

function deploymentWith(fields: Parameters<typeof dataset>[0]): Deployment {
  const deployment = new Deployment('cluster');
  deployment.apply({ kind: 'dataset', dataset: dataset(fields) });
  deployment.apply({ kind: 'revision', revision: 4 });
  return deployment;
}

describe('decisions on datasets', () => {
  it('create hands the dataset to its node and counts the revision, in one change', () => {
    const deployment = new Deployment('cluster');
    const { reply, changes } = decideCreate(deployment, both, { primary: A }, always, newUuid);
    expect(reply.status).toBe(201);
    const storage = held(A, { made: false, sizeBytes: null });
    const made = dataset({ id: sampleDatasetId(7), storage });
    expect(changes).toEqual([
      { kind: 'dataset', dataset: made },
      { kind: 'revision', revision: 1 },
    ]);
    expect([...deployment.datasets()]).toEqual([]);
  });

  it('refusals and repetitions change nothing', () => {
    const deleted = deploymentWith({ deleted: true, storage: { kind: 'gone' } });
    const present = deploymentWith({ storage: held(A) });
    const stale = { tags: ['stale'], nameUnused: undefined };
    const decisions = [
      decideCreate(deleted, both, { primary: A, dataset_id: DATASET.toUpperCase() }, always, newUuid),
      decideMove(deleted, both, DATASET, { primary: B }, always),
      decideMove(present, both, DATASET, { primary: A }, always),
      decideMove(present, both, DATASET, {}, always),
      decideMove(present, both, sampleDatasetId(2), {}, always),
      decideDelete(deleted, both, DATASET, always),
      decideDelete(present, both, sampleDatasetId(2), always),
      decideDelete(present, both, DATASET, stale),
      decideMove(present, both, DATASET, { primary: B }, stale),
      decideCreate(present, both, { primary: A }, stale, newUuid),
    ];
    expect(decisions.map(({ reply }) => reply.status)).toEqual([409, 405, 200, 200, 404, 200, 404, 412, 412, 412]);
    expect(decisions.flatMap(({ changes }) => changes)).toEqual([]);
  });

  it('move and delete leave the holder as it is', () => {
    const present = deploymentWith({ storage: held(A) });
    const moved = decideMove(present, both, DATASET, { primary: B }, always).changes;
    expect(moved[0]).toEqual({ kind: 'dataset', dataset: dataset({ primary: B, storage: held(A) }) });
    const deleted = decideDelete(present, both, DATASET, always).changes;
    expect(deleted).toEqual([
      { kind: 'dataset', dataset: dataset({ deleted: true, storage: held(A) }) },
      { kind: 'revision', revision: 5 },
    ]);
  });

  it('conditions hold with any tag that is right, and with a name that is unused', () => {
    const deployment = deploymentWith({ metadata: { name: 'x' } });
    const met = [always, { ...always, tags: ['a', deployment.tag] }, { ...always, nameUnused: 'y' }];
    for (const conditions of met) expect(unmetCondition(conditions, deployment)).toBeUndefined();
    const unmet = [
      { ...always, tags: [] },
      { ...always, tags: ['a'] },
      { ...always, nameUnused: 'x' },
    ];
    for (const conditions of unmet) expect(unmetCondition(conditions, deployment)?.status).toBe(412);
  });
});

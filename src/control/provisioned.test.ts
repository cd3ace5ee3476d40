import fc from 'fast-check';
import { expect, it } from 'vitest';
import { type Dataset, DEFAULT_SIZE_BYTES, PROFILE_KEY, type Storage } from '../model/dataset.ts';
import { Deployment } from './deployment.ts';
import { Provisioned } from './provisioned.ts';
import { A, B, dataset, held, sampleDatasetId } from './testing/samples.ts';

const gold = { [PROFILE_KEY]: 'gold' };
const of = (...datasets: readonly Dataset[]): Provisioned => {
  const provisioned = new Provisioned();
  for (const each of datasets) provisioned.add(each);
  return provisioned;
};

it('counts a made volume in its pool with its real size, and what is not made yet with its node', () => {
  const provisioned = of(
    dataset({ storage: { kind: 'free', pool: 'pool-a', sizeBytes: 4096 }, metadata: gold, maximumSizeBytes: 1024 }),
    dataset({ storage: held(B, { sizeBytes: null }), maximumSizeBytes: 1024 }),
    dataset({ storage: held(B, { made: false, pool: null, sizeBytes: null }), metadata: gold, maximumSizeBytes: 2048 }),
    dataset({ primary: A }),
  );
  expect([...provisioned.inPool('pool-a')]).toEqual([
    ['gold', { datasets: 1, bytes: 4096 }],
    [null, { datasets: 1, bytes: 1024 }],
  ]);
  expect([...provisioned.onNode(B)]).toEqual([['gold', { datasets: 1, bytes: 2048 }]]);
  expect([...provisioned.onNode(A)]).toEqual([[null, { datasets: 1, bytes: DEFAULT_SIZE_BYTES }]]);
  expect(provisioned.total).toEqual({ datasets: 4, bytes: 4096 + 1024 + 2048 + DEFAULT_SIZE_BYTES });
});

it('counts a volume that is to grow with what it was promised', () => {
  const growing = dataset({ storage: held(A, { sizeBytes: 4096 }), maximumSizeBytes: 8192 });
  expect(of(growing).total).toEqual({ datasets: 1, bytes: 8192 });
});

it('counts what is deleted until it is gone, and never what will not be made', () => {
  const doomed = dataset({ deleted: true, storage: held(A) });
  expect(of(doomed).total.datasets).toBe(1);
  expect(of({ ...doomed, storage: { kind: 'gone' } }, dataset({ deleted: true })).total.datasets).toBe(0);
});

it('is after any changes what it would be counted anew', () => {
  const storage: fc.Arbitrary<Storage> = fc.oneof(
    fc.constant<Storage>({ kind: 'unmade' }),
    fc.constant<Storage>({ kind: 'gone' }),
    fc.record({ kind: fc.constant('free' as const), pool: fc.constantFrom('p', 'q'), sizeBytes: sizeOrNull() }),
    fc.record({
      kind: fc.constant('held' as const),
      node: fc.constantFrom(A, B),
      made: fc.boolean(),
      pool: fc.constantFrom(null, 'p', 'q'),
      sizeBytes: sizeOrNull(),
    }),
  );
  const datasets = fc.record({
    id: fc.nat(4).map(sampleDatasetId),
    primary: fc.constantFrom(A, B),
    deleted: fc.boolean(),
    metadata: fc.constantFrom({}, gold),
    maximumSizeBytes: sizeOrNull(),
    storage,
    source: fc.constant(null),
  });
  fc.assert(
    fc.property(fc.array(datasets, { maxLength: 30 }), (changes) => {
      const deployment = new Deployment('cluster');
      for (const change of changes) deployment.apply({ kind: 'dataset', dataset: change });
      const anew = of(...deployment.datasets());
      expect(deployment.provisioned.total).toEqual(anew.total);
      for (const pool of ['p', 'q']) expect(deployment.provisioned.inPool(pool)).toEqual(anew.inPool(pool));
      for (const node of [A, B]) expect(deployment.provisioned.onNode(node)).toEqual(anew.onNode(node));
    }),
  );
});

function sizeOrNull(): fc.Arbitrary<number | null> {
  return fc.option(fc.nat(2 ** 20));
}

import { describe, expect, it } from 'vitest';
import { parseSnapshotId, type SnapshotId } from '../kit/ids.ts';
import type { Snapshot, SnapshotStorage } from '../model/snapshot.ts';
import { type Change, toStoreChange } from './changes.ts';
import type { Json } from './store/store.ts';
import { readDeployment } from './stored-deployment.ts';
import { A, DATASET, dataset } from './testing/samples.ts';

const ID = '00000000-0000-4000-a000-000000000001' as SnapshotId;
const KEY = `snapshot/${ID}`;
const snapshot = (storage: SnapshotStorage): Snapshot => ({
  ...{ id: ID, datasetId: DATASET, metadata: { name: 'x' }, deleted: false, storage },
});
const STORAGES: readonly SnapshotStorage[] = [
  { kind: 'unmade' },
  { kind: 'ordered', node: A, pool: 'pool-a' },
  { kind: 'taken', pool: 'pool-a', sizeBytes: 1024, takenAtMs: 1_700_000_000_000 },
  { kind: 'failed', problem: { code: 'volume_lost', message: 'gone' } },
  { kind: 'gone' },
];

function stored(change: Change): readonly [string, Json] {
  const written = toStoreChange(change);
  if (written.kind !== 'put') throw new Error('it is written');
  return [written.key, JSON.parse(JSON.stringify(written.value)) as Json];
}

describe('snapshots in the store', () => {
  it('are read as they were written', () => {
    expect(parseSnapshotId(ID)).toBe(ID);
    for (const storage of STORAGES) {
      const change: Change = { kind: 'snapshot', snapshot: snapshot(storage) };
      expect(readDeployment(new Map([stored(change)]))).toEqual([change]);
    }
  });

  it('are never passed over when they cannot be read', () => {
    const [, sound] = stored({ kind: 'snapshot', snapshot: snapshot({ kind: 'unmade' }) });
    const damaged: (readonly [string, Json])[] = [
      ['snapshot/x', sound],
      [KEY, null],
      [KEY, { ...(sound as object), datasetId: 'x' }],
      [KEY, { ...(sound as object), deleted: 'no' }],
      [KEY, { ...(sound as object), storage: { kind: 'lost' } }],
      [KEY, { ...(sound as object), storage: { kind: 'taken', pool: 'pool-a', sizeBytes: -1, takenAtMs: 0 } }],
      [KEY, { ...(sound as object), storage: { kind: 'ordered', node: 'x', pool: 'pool-a' } }],
      [KEY, { ...(sound as object), storage: { kind: 'failed', problem: { code: 'new', message: '' } } }],
    ];
    for (const entry of damaged) expect(() => readDeployment(new Map([entry]))).toThrow(KEY.slice(0, 9));
  });
});

describe('the source of a dataset in the store', () => {
  it('is read as it was written, and is none in entries from before there were snapshots', () => {
    for (const source of [null, { snapshotId: ID, pool: 'pool-a' }]) {
      const change: Change = { kind: 'dataset', dataset: dataset({ source }) };
      const [key, value] = stored(change);
      expect(Object.keys(value as object).includes('source')).toBe(source !== null);
      expect(readDeployment(new Map([[key, value]]))).toEqual([change]);
    }
  });

  it('makes an entry unreadable when it is damaged', () => {
    const [key, value] = stored({ kind: 'dataset', dataset: dataset() });
    for (const source of ['x', { snapshotId: 'x', pool: 'pool-a' }, { snapshotId: ID }]) {
      const entries = new Map([[key, { ...(value as object), source }]]);
      expect(() => readDeployment(entries)).toThrow(key);
    }
  });
});

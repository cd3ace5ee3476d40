import { type Static, Type } from 'typebox';
import { Compile } from 'typebox/compile';
import { UuidField } from '../api/fields.ts';
import { parseDatasetId, parseLeasedId, parseNodeId, parseSnapshotId } from '../kit/ids.ts';
import type { Dataset, DatasetSource, KnownStorage, Storage } from '../model/dataset.ts';
import type { DatasetCopies, VolumeCopy, VolumeRemains } from '../model/volume-copy.ts';
import {
  type Change,
  COPIES_PREFIX,
  DATASET_PREFIX,
  LEASE_PREFIX,
  NODE_DEATH_PREFIX,
  REVISION_KEY,
  SNAPSHOT_PREFIX,
} from './changes.ts';
import { type Json, RESTORED_KEY, StoreError } from './store/store.ts';
import { readSnapshot } from './stored-snapshot.ts';

const Size = Type.Union([Type.Integer({ minimum: 0 }), Type.Null()]);
const LeftBy = Type.Optional(Type.Array(UuidField));
const StoredKnown = [
  Type.Object({ kind: Type.Literal('unmade'), leftBy: LeftBy, leftIn: Type.Optional(Type.String()) }),
  Type.Object({
    kind: Type.Literal('held'),
    node: UuidField,
    made: Type.Boolean(),
    pool: Type.Union([Type.String(), Type.Null()]),
    sizeBytes: Size,
    leftBy: LeftBy,
  }),
  Type.Object({
    kind: Type.Literal('free'),
    pool: Type.String(),
    sizeBytes: Size,
    leftBy: LeftBy,
  }),
] as const;
const StoredStorage = Type.Union([
  ...StoredKnown,
  Type.Object({ kind: Type.Literal('unconfirmed'), was: Type.Union([...StoredKnown]) }),
  Type.Object({ kind: Type.Literal('gone') }),
]);
const StoredSource = Type.Object({ snapshotId: UuidField, pool: Type.String() });
const StoredDataset = Compile(
  Type.Object({
    primary: UuidField,
    deleted: Type.Boolean(),
    metadata: Type.Record(Type.String(), Type.String()),
    maximumSizeBytes: Size,
    source: Type.Optional(StoredSource),
    storage: StoredStorage,
  }),
);
const StoredCopies = Compile(
  Type.Object({
    underWay: Type.Union([
      Type.Null(),
      Type.Object({ id: UuidField, from: UuidField, fromPool: Type.String(), to: UuidField, pool: Type.String() }),
    ]),
    remains: Type.Array(Type.Object({ pool: Type.String(), node: Type.Union([UuidField, Type.Null()]) })),
  }),
);
const StoredRestored = Compile(Type.Object({ atMs: Type.Number(), doubted: Type.Boolean() }));
const StoredDeath = Compile(Type.Object({ declaration: UuidField, declaredAtMs: Type.Number() }));
const StoredLease = Compile(Type.Object({ nodeId: UuidField, expiresAtMs: Type.Union([Type.Number(), Type.Null()]) }));

/**
 * The deployment in a store, as the changes that build it. Throws `store_damaged` for an entry it cannot read: an entry
 * that is passed over would look like a volume that does not exist.
 */
export function readDeployment(entries: ReadonlyMap<string, Json>): Change[] {
  return [...entries].map(([key, value]) => readEntry(key, value));
}

function readEntry(key: string, value: Json): Change {
  if (key === REVISION_KEY && typeof value === 'number') return { kind: 'revision', revision: value };
  if (key.startsWith(DATASET_PREFIX)) {
    const id = parseDatasetId(key.slice(DATASET_PREFIX.length));
    if (id !== undefined && StoredDataset.Check(value)) {
      const primary = parseNodeId(value.primary);
      const storage = readStorage(value.storage);
      const source = readSource(value.source);
      if (primary !== undefined && storage !== undefined && source !== undefined) {
        const dataset: Dataset = {
          id,
          primary,
          deleted: value.deleted,
          metadata: value.metadata,
          maximumSizeBytes: value.maximumSizeBytes,
          source,
          storage,
        };
        return { kind: 'dataset', dataset };
      }
    }
  }
  if (key.startsWith(LEASE_PREFIX)) {
    const datasetId = parseLeasedId(key.slice(LEASE_PREFIX.length));
    if (datasetId !== undefined && StoredLease.Check(value)) {
      const nodeId = parseNodeId(value.nodeId);
      if (nodeId !== undefined) return { kind: 'lease', lease: { datasetId, nodeId, expiresAtMs: value.expiresAtMs } };
    }
  }
  if (key.startsWith(SNAPSHOT_PREFIX)) {
    const snapshot = readSnapshot(key.slice(SNAPSHOT_PREFIX.length), value);
    if (snapshot !== undefined) return { kind: 'snapshot', snapshot };
  }
  if (key.startsWith(COPIES_PREFIX)) {
    const copies = readCopies(key.slice(COPIES_PREFIX.length), value);
    if (copies !== undefined) return { kind: 'copies', copies };
  }
  if (key.startsWith(NODE_DEATH_PREFIX)) {
    const node = parseNodeId(key.slice(NODE_DEATH_PREFIX.length));
    if (node !== undefined && StoredDeath.Check(value)) return { kind: 'nodeDead', death: { node, ...value } };
  }
  if (key === RESTORED_KEY && StoredRestored.Check(value)) return { kind: 'restored', restored: value };
  throw new StoreError(
    'store_damaged',
    `The store has an entry that this version cannot read: ${key}. Nothing was changed. Start the version that wrote it, ` +
      'or restore a backup with the control service stopped.',
  );
}

function readStorage(stored: Static<typeof StoredStorage>): Storage | undefined {
  if (stored.kind === 'gone') return stored;
  if (stored.kind !== 'unconfirmed') return readKnown(stored);
  const was = readKnown(stored.was);
  return was === undefined ? undefined : { kind: 'unconfirmed', was };
}

type StoredKnownStorage = Exclude<Static<typeof StoredStorage>, { kind: 'gone' | 'unconfirmed' }>;

function readKnown(stored: StoredKnownStorage): KnownStorage | undefined {
  const { leftBy: storedLeftBy, ...rest } = stored;
  const leftBy = storedLeftBy?.flatMap((id) => parseNodeId(id) ?? []);
  if (leftBy?.length !== storedLeftBy?.length) return undefined;
  const left = leftBy === undefined ? {} : { leftBy };
  if (rest.kind !== 'held') return { ...rest, ...left };
  const node = parseNodeId(rest.node);
  return node === undefined ? undefined : { ...rest, node, ...left };
}

function readSource(stored: Static<typeof StoredSource> | undefined): DatasetSource | null | undefined {
  if (stored === undefined) return null;
  const snapshotId = parseSnapshotId(stored.snapshotId);
  return snapshotId === undefined ? undefined : { snapshotId, pool: stored.pool };
}

function readCopies(text: string, value: Json): DatasetCopies | undefined {
  const datasetId = parseDatasetId(text);
  if (datasetId === undefined || !StoredCopies.Check(value)) return undefined;
  const remains = value.remains.flatMap(({ pool, node }): VolumeRemains[] => {
    const id = node === null ? null : parseNodeId(node);
    return id === undefined ? [] : [{ pool, node: id }];
  });
  if (remains.length < value.remains.length) return undefined;
  if (value.underWay === null) return { datasetId, underWay: null, remains };
  const [from, to] = [parseNodeId(value.underWay.from), parseNodeId(value.underWay.to)];
  if (from === undefined || to === undefined) return undefined;
  const underWay: VolumeCopy = { ...value.underWay, from, to };
  return { datasetId, underWay, remains };
}

import { type Static, Type } from 'typebox';
import { Compile } from 'typebox/compile';
import { UuidField } from '../api/fields.ts';
import { parseDatasetId, parseNodeId, parseSnapshotId } from '../kit/ids.ts';
import type { Snapshot, SnapshotStorage } from '../model/snapshot.ts';
import { PROBLEM_CODES } from '../model/volume-state.ts';
import type { Json } from './store/store.ts';

const StoredStorage = Type.Union([
  Type.Object({ kind: Type.Literal('unmade') }),
  Type.Object({ kind: Type.Literal('ordered'), node: UuidField, pool: Type.String() }),
  Type.Object({
    kind: Type.Literal('taken'),
    pool: Type.String(),
    sizeBytes: Type.Integer({ minimum: 0 }),
    takenAtMs: Type.Number(),
  }),
  Type.Object({
    kind: Type.Literal('failed'),
    problem: Type.Object({ code: Type.Enum([...PROBLEM_CODES]), message: Type.String() }),
  }),
  Type.Object({ kind: Type.Literal('gone') }),
]);
const StoredSnapshot = Compile(
  Type.Object({
    datasetId: UuidField,
    deleted: Type.Boolean(),
    metadata: Type.Record(Type.String(), Type.String()),
    storage: StoredStorage,
  }),
);

/** A snapshot as it is stored under its id; undefined when it cannot be read. */
export function readSnapshot(key: string, value: Json): Snapshot | undefined {
  const id = parseSnapshotId(key);
  if (id === undefined || !StoredSnapshot.Check(value)) return undefined;
  const datasetId = parseDatasetId(value.datasetId);
  const storage = readStorage(value.storage);
  if (datasetId === undefined || storage === undefined) return undefined;
  return { id, datasetId, metadata: value.metadata, deleted: value.deleted, storage };
}

function readStorage(stored: Static<typeof StoredStorage>): SnapshotStorage | undefined {
  if (stored.kind !== 'ordered') return stored;
  const node = parseNodeId(stored.node);
  return node === undefined ? undefined : { ...stored, node };
}

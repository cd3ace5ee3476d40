import { type Static, Type } from 'typebox';
import { MetadataField, UuidField } from './fields.ts';
import { ProblemView } from './inspection.ts';

/** Body of `POST /v1/configuration/snapshots` (an addition): a snapshot of a dataset as it is when it is taken. */
export const CreateSnapshotBody = Type.Object(
  {
    dataset_id: UuidField,
    snapshot_id: Type.Optional(UuidField),
    metadata: Type.Optional(MetadataField),
  },
  { additionalProperties: false },
);
export type CreateSnapshotBody = Static<typeof CreateSnapshotBody>;

/** Where a snapshot stands, in one word. */
export const SnapshotStatus = Type.Union(
  [
    Type.Literal('pending'),
    Type.Literal('ready'),
    Type.Literal('failed'),
    Type.Literal('deleting'),
    Type.Literal('deleted'),
  ],
  {
    description:
      'pending: not taken yet. ready: taken; datasets can be made from it. failed: it will never be taken. ' +
      'deleting: deleted, still in the pool. deleted: gone from the pool.',
  },
);
export type SnapshotStatus = Static<typeof SnapshotStatus>;

/** An addition: a snapshot. Answer of create, delete and list, and payload of `snapshot` events. */
export const SnapshotView = Type.Object({
  snapshot_id: Type.String(),
  dataset_id: Type.String({ description: 'What it was taken of; that dataset may be deleted since' }),
  metadata: Type.Record(Type.String(), Type.String()),
  status: SnapshotStatus,
  pool: Type.Union([Type.String(), Type.Null()], { description: 'Where it is; null until it is taken' }),
  size: Type.Union([Type.Integer(), Type.Null()], {
    description: 'Bytes that a dataset made from it has at least; null until it is taken',
  }),
  taken: Type.Union([Type.String(), Type.Null()], { description: 'ISO 8601 in UTC; null until it is taken' }),
  problem: Type.Union([ProblemView, Type.Null()], { description: 'Never null while status is pending or failed' }),
});
export type SnapshotView = Static<typeof SnapshotView>;

/** Query of `GET /v1/configuration/snapshots`. Deleted snapshots are listed only when asked for by id. */
export const SnapshotsQuery = Type.Object(
  {
    dataset_id: Type.Optional(Type.String({ description: 'Only snapshots of this dataset' })),
    snapshot_id: Type.Optional(Type.String({ description: 'Only this snapshot' })),
    name: Type.Optional(Type.String({ description: 'Only snapshots with this name in their metadata' })),
  },
  { additionalProperties: false },
);
export type SnapshotsQuery = Static<typeof SnapshotsQuery>;

/** Body of `POST /v1/configuration/datasets/<id>/size` (an addition): a dataset only grows; 409 for less than it has. */
export const ResizeDatasetBody = Type.Object(
  { maximum_size: Type.Integer({ minimum: 64 * 2 ** 20, multipleOf: 1024, description: 'Bytes' }) },
  { additionalProperties: false },
);
export type ResizeDatasetBody = Static<typeof ResizeDatasetBody>;

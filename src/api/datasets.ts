import { type Static, Type } from 'typebox';
import { MaximumSizeField, MetadataField, UuidField } from './fields.ts';

/** Body of `POST /v1/configuration/datasets` (contract 1.4.2). `source_snapshot` (an addition): its data to begin with. */
export const CreateDatasetBody = Type.Object(
  {
    primary: UuidField,
    dataset_id: Type.Optional(UuidField),
    maximum_size: Type.Optional(MaximumSizeField),
    metadata: Type.Optional(MetadataField),
    source_snapshot: Type.Optional(UuidField),
  },
  { additionalProperties: false },
);
export type CreateDatasetBody = Static<typeof CreateDatasetBody>;

/** Body of `POST /v1/configuration/datasets/<id>` (contract 1.4.4). */
export const MoveDatasetBody = Type.Object({ primary: Type.Optional(UuidField) }, { additionalProperties: false });
export type MoveDatasetBody = Static<typeof MoveDatasetBody>;

/** A dataset's configuration. `maximum_size` (bytes) is absent when none was asked for. */
export const DatasetConfiguration = Type.Object({
  dataset_id: Type.String(),
  primary: Type.String(),
  deleted: Type.Boolean(),
  metadata: Type.Record(Type.String(), Type.String()),
  maximum_size: Type.Optional(Type.Integer()),
});
export type DatasetConfiguration = Static<typeof DatasetConfiguration>;

/** A dataset's reported state. `primary` and `path` are there only while it is mounted on a reporting node. */
export const DatasetState = Type.Object({
  dataset_id: Type.String(),
  primary: Type.Optional(Type.String()),
  path: Type.Optional(Type.String()),
  maximum_size: Type.Optional(Type.Integer()),
});
export type DatasetState = Static<typeof DatasetState>;

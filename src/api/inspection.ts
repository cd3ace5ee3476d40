import { type Static, Type } from 'typebox';
import { DatasetConfiguration } from './datasets.ts';

/** Where a dataset stands, in one word. */
export const DatasetStatus = Type.Union(
  [
    Type.Literal('mounted'),
    Type.Literal('detached'),
    Type.Literal('pending'),
    Type.Literal('moving'),
    Type.Literal('deleting'),
    Type.Literal('deleted'),
  ],
  {
    description:
      'mounted: on its primary. detached: it exists and nobody has it. pending: not made or not mounted yet. ' +
      'moving: another node still has it. deleting: deleted, volume still there. deleted: volume destroyed.',
  },
);
export type DatasetStatus = Static<typeof DatasetStatus>;

/** Why a dataset is not as configured. */
export const ProblemView = Type.Object({
  code: Type.String(),
  message: Type.String(),
  needs_action: Type.Boolean({ description: 'True when it will not get better by waiting' }),
  node_uuid: Type.Optional(Type.String()),
});
export type ProblemView = Static<typeof ProblemView>;

/** An addition: everything that is known of one dataset, in one object. Also the payload of `dataset` events. */
export const DatasetInspection = Type.Object({
  configuration: DatasetConfiguration,
  status: DatasetStatus,
  state: Type.Union([
    Type.Null(),
    Type.Object({
      primary: Type.Optional(Type.String()),
      path: Type.Optional(Type.String()),
      maximum_size: Type.Optional(Type.Integer()),
    }),
  ]),
  holder: Type.Union([Type.String(), Type.Null()], { description: 'The node that may touch the volume now' }),
  lease: Type.Union([
    Type.Null(),
    Type.Object({ node_uuid: Type.String(), expires: Type.Union([Type.Number(), Type.Null()]) }),
  ]),
  usage: Type.Optional(
    Type.Object(
      { used: Type.Union([Type.Integer(), Type.Null()]), available: Type.Union([Type.Integer(), Type.Null()]) },
      { description: 'Bytes, as last measured while it was mounted' },
    ),
  ),
  source_snapshot: Type.Optional(Type.String({ description: 'The snapshot whose data it began with' })),
  growth: Type.Optional(
    Type.Object(ProblemView.properties, {
      description: 'Why it is mounted with less than its maximum_size; absent when it is not',
    }),
  ),
  copy: Type.Optional(
    Type.Object(
      {
        from: Type.String(),
        to: Type.String(),
        bytes: Type.Integer(),
        total: Type.Union([Type.Integer(), Type.Null()]),
      },
      { description: 'A copy into the pool of its primary: nodes, bytes that came, bytes that the volume takes' },
    ),
  ),
  problem: Type.Union([ProblemView, Type.Null()], { description: 'Never null while status is pending' }),
});
export type DatasetInspection = Static<typeof DatasetInspection>;

/** Query of `GET /v1/inspect/datasets`. */
export const InspectDatasetsQuery = Type.Object(
  {
    name: Type.Optional(Type.String({ description: 'Only datasets of this name that are not deleted' })),
    dataset_id: Type.Optional(Type.String({ description: 'Only this dataset' })),
  },
  { additionalProperties: false },
);
export type InspectDatasetsQuery = Static<typeof InspectDatasetsQuery>;

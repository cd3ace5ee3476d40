import { type Static, Type } from 'typebox';

/**
 * Query of `GET /v1/events` (an addition): server-sent events.
 *
 * Event names: `dataset` ({@link DatasetInspection}), `node` ({@link NodeInspection}), `storage` ({@link PoolView}), `reset`
 * (events were missed: read everything again). With `dataset_id` the stream starts with the dataset as it is now, so that
 * nothing is missed between a request and the wait for its effect. `snapshot` ({@link SnapshotView}), with `snapshot_id` the
 * same of a snapshot.
 */
export const EventsQuery = Type.Object(
  {
    dataset_id: Type.Optional(
      Type.String({ description: 'Only events of this dataset, beginning with its present state' }),
    ),
    snapshot_id: Type.Optional(
      Type.String({ description: 'Only events of this snapshot, beginning with its present state' }),
    ),
    until: Type.Optional(
      Type.Union([Type.Literal('mounted'), Type.Literal('gone'), Type.Literal('ready')], {
        description:
          'With dataset_id: the stream ends after the event that shows it mounted on its primary (gone: destroyed), or that ' +
          'shows a problem that needs action. With snapshot_id: the same for ready and gone',
      }),
    ),
    node_uuid: Type.Optional(Type.String({ description: 'With until=mounted: mounted on this node' })),
  },
  { additionalProperties: false },
);
export type EventsQuery = Static<typeof EventsQuery>;

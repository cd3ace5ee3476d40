import { type Static, Type } from 'typebox';

/** Answer of `GET /v1/restored`, an addition. */
export const RestoredView = Type.Object({
  restored: Type.Union([Type.String(), Type.Null()], {
    description: 'When the records were replaced by an old copy, ISO 8601 in UTC; null when all of it is confirmed',
  }),
  unconfirmed: Type.Array(Type.String(), {
    description: 'Datasets that no node has reported and that nobody has confirmed: no node gets them',
  }),
  unknown: Type.Array(Type.Object({ dataset_id: Type.String(), node_uuid: Type.String() }), {
    description: 'Volumes that nodes have and that are not in the records, as they were made after the copy',
  }),
});
export type RestoredView = Static<typeof RestoredView>;

/** Answer of `POST /v1/restored/confirm`, an addition. */
export const RestoredConfirmation = Type.Object({
  confirmed: Type.Array(Type.String(), { description: 'Datasets that are again as the records say' }),
  waiting: Type.Array(Type.String(), { description: 'Datasets that a node is busy with: ask again' }),
});
export type RestoredConfirmation = Static<typeof RestoredConfirmation>;

import { type Static, Type } from 'typebox';
import { UuidField } from './fields.ts';

/** A lease as sent and as answered; `expires` is seconds from now, null for never (contract 1.6). */
export const LeaseBody = Type.Object(
  {
    dataset_id: UuidField,
    node_uuid: UuidField,
    expires: Type.Union([Type.Number(), Type.Null()]),
  },
  { additionalProperties: false },
);
export type LeaseBody = Static<typeof LeaseBody>;

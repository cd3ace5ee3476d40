import { type Static, Type } from 'typebox';
import { UuidField } from './fields.ts';

/**
 * A lease as sent and as answered; `expires` is seconds from now, null for never. The dataset is not looked up, and its id
 * may be a UUID of any version (contract 1.3, 1.6).
 */
export const LeaseBody = Type.Object(
  {
    dataset_id: Type.String({ minLength: 36, maxLength: 36 }),
    node_uuid: UuidField,
    expires: Type.Union([Type.Number(), Type.Null()]),
  },
  { additionalProperties: false },
);
export type LeaseBody = Static<typeof LeaseBody>;

import { Type } from 'typebox';
import { UUID_V4_PATTERN } from '../kit/ids.ts';
import { MINIMUM_SIZE_BYTES, SIZE_STEP_BYTES } from '../model/dataset.ts';

/** A UUIDv4 in either case (contract 1.3). */
export const UuidField = Type.String({ minLength: 36, maxLength: 36, pattern: UUID_V4_PATTERN });

/** Bytes; null means the backend's default. */
export const MaximumSizeField = Type.Union(
  [Type.Integer({ minimum: MINIMUM_SIZE_BYTES, multipleOf: SIZE_STEP_BYTES }), Type.Null()],
  { description: 'Bytes, at least 64 MiB and a multiple of 1024; null for the default size' },
);

/** JSON Schema counts string lengths in code points, as the original did. */
export const MetadataField = Type.Record(Type.String({ pattern: '^[^\\n]{1,256}$' }), Type.String({ maxLength: 256 }), {
  maxProperties: 16,
  additionalProperties: false,
});

import { type Static, Type } from 'typebox';
import { PROBLEM_CODES } from '../model/volume-state.ts';
import { UuidField } from './fields.ts';

/**
 * Messages of the agent channel about copies of volumes into other pools, only to and from agents that said in `hello` on
 * which port they give copies.
 *
 * The node that is to have a copy fetches it from the node that is to give it: `GET /v1/copies/<dataset>/<copy>` over mutual TLS, both
 * with the certificates of their nodes. The answer has the volume's record in {@link COPY_RECORD_HEADER}, the bytes that the volume
 * takes, if known, in {@link COPY_BYTES_HEADER}, and ends with the trailer {@link COPY_DIGEST_TRAILER}: SHA-256 of the body in hex.
 *
 * A node whose pool has older versions of the volume, or could keep one, says so in {@link COPY_BASES_HEADER}: their UUIDs, separated by
 * commas, and in {@link COPY_KEEPS_HEADER}, `1`. Without the first header, which may be empty, it gets all. Else the answer may
 * name in {@link COPY_AGAINST_HEADER} the version that only the difference to is sent, and in {@link COPY_ALONG_HEADER} another one
 * that comes first, to be kept beside the volume.
 */
export const COPIES_PATH = '/v1/copies/';
export const COPY_RECORD_HEADER = 'x-flocker-volume';
export const COPY_BYTES_HEADER = 'x-flocker-bytes';
export const COPY_DIGEST_TRAILER = 'x-flocker-sha256';
export const COPY_BASES_HEADER = 'x-flocker-bases';
export const COPY_KEEPS_HEADER = 'x-flocker-keeps-base';
export const COPY_AGAINST_HEADER = 'x-flocker-against';
export const COPY_ALONG_HEADER = 'x-flocker-along';

const OrderNumber = Type.Integer({ minimum: 1 });
const Bytes = Type.Integer({ minimum: 0 });

export const CopyOrder = Type.Union([
  /** Let node `to` fetch the volume, which nobody has. If the pool has it as one of `leftBy`, it is taken over first. */
  Type.Object({
    want: Type.Literal('given'),
    datasetId: UuidField,
    order: OrderNumber,
    copy: UuidField,
    to: UuidField,
    leftBy: Type.Array(UuidField),
  }),
  /** Fetch the volume and make it a detached one of this node's pool. */
  Type.Object({
    want: Type.Literal('fetched'),
    datasetId: UuidField,
    order: OrderNumber,
    copy: UuidField,
    from: Type.Object({
      node: UuidField,
      host: Type.String({ maxLength: 256 }),
      port: Type.Integer({ minimum: 1, maximum: 65_535 }),
    }),
  }),
  /** Destroy what this node's pool has of the volume: it is not the volume, or no longer. */
  Type.Object({ want: Type.Literal('cleared'), datasetId: UuidField, order: OrderNumber }),
]);
export type CopyOrder = Static<typeof CopyOrder>;

export const CopyReport = Type.Object({
  datasetId: UuidField,
  /** Number of the newest order when the state was seen. */
  order: OrderNumber,
  /** The copy it is about; absent after `cleared`. */
  copy: Type.Optional(UuidField),
  /** True while something runs: the state may be about to change and confirms nothing. */
  busy: Type.Boolean(),
  state: Type.Union([
    Type.Object({ kind: Type.Literal('absent') }),
    Type.Object({ kind: Type.Literal('part'), bytes: Bytes, totalBytes: Type.Union([Bytes, Type.Null()]) }),
    Type.Object({ kind: Type.Literal('whole'), sizeBytes: Bytes }),
  ]),
  problem: Type.Union([
    Type.Null(),
    Type.Object({ code: Type.Enum([...PROBLEM_CODES]), message: Type.String({ maxLength: 4096 }) }),
  ]),
});
export type CopyReport = Static<typeof CopyReport>;

import { type Static, Type } from 'typebox';

const HolderId = Type.String({ minLength: 1, maxLength: 512 });

/** Body of `POST /v1/acquire`. */
export const AcquireBody = Type.Object(
  {
    holder: Type.Object({ id: HolderId, detail: Type.String({ maxLength: 1024 }) }, { additionalProperties: false }),
    volume: Type.Object(
      {
        name: Type.String(),
        size: Type.Optional(Type.Integer({ description: 'Bytes' })),
        profile: Type.Optional(Type.String()),
        filesystem: Type.Optional(Type.Union([Type.Literal('ext4'), Type.Literal('xfs')])),
        create: Type.Union([Type.Literal('auto'), Type.Literal('never')]),
        mode: Type.Union([Type.Literal('rw'), Type.Literal('ro')]),
      },
      { additionalProperties: false },
    ),
    timeout_ms: Type.Integer({ minimum: 1, maximum: 3_600_000 }),
  },
  { additionalProperties: false },
);
export type AcquireBody = Static<typeof AcquireBody>;

export const AcquireAnswer = Type.Object({
  path: Type.String(),
  dataset_id: Type.String(),
  size: Type.Union([Type.Number(), Type.Null()]),
  created: Type.Boolean(),
  notes: Type.Array(Type.String()),
});
export type AcquireAnswer = Static<typeof AcquireAnswer>;

/** Body of `POST /v1/release`. */
export const ReleaseBody = Type.Object(
  { holder_id: HolderId, delete_if_created: Type.Optional(Type.Boolean()) },
  { additionalProperties: false },
);
export type ReleaseBody = Static<typeof ReleaseBody>;

/** `released` is false while processes still use the volumes: they are released when the last of them ends. */
export const ReleaseAnswer = Type.Object({ released: Type.Boolean(), processes: Type.Array(Type.Integer()) });
export type ReleaseAnswer = Static<typeof ReleaseAnswer>;

/** Body of `POST /v1/holders/<id>/process`. Missing directories of `targets` are made, and removed with the holder. */
export const ProcessBody = Type.Object(
  {
    pid: Type.Integer({ minimum: 2, maximum: 2 ** 31 - 1 }),
    targets: Type.Optional(Type.Array(Type.String({ maxLength: 4095 }), { maxItems: 64 })),
  },
  { additionalProperties: false },
);
export type ProcessBody = Static<typeof ProcessBody>;

/** The targets with symbolic links resolved, in the order they were given. */
export const ProcessAnswer = Type.Object({ targets: Type.Array(Type.String()) });
export type ProcessAnswer = Static<typeof ProcessAnswer>;

export const HolderParams = Type.Object({ id: HolderId });

export const VolumesAnswer = Type.Object({
  volumes: Type.Array(
    Type.Object({
      name: Type.String(),
      dataset_id: Type.String(),
      path: Type.Union([Type.String(), Type.Null()]),
      size: Type.Union([Type.Number(), Type.Null()]),
      lease: Type.String(),
      problem: Type.Union([Type.String(), Type.Null()]),
      holders: Type.Array(
        Type.Object({
          id: Type.String(),
          detail: Type.String(),
          state: Type.String(),
          mode: Type.String(),
          since: Type.String({ description: 'ISO 8601, UTC' }),
        }),
      ),
    }),
  ),
});
export type VolumesAnswer = Static<typeof VolumesAnswer>;

export const StatusAnswer = Type.Object({
  volumes: Type.Integer(),
  holders: Type.Integer(),
  attended: Type.Integer({ description: 'Holders whose client is connected' }),
  watched: Type.Integer({ description: 'Holders whose client is gone and whose processes are watched' }),
  lost_leases: Type.Integer(),
});
export type StatusAnswer = Static<typeof StatusAnswer>;

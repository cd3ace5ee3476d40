import { type Static, Type } from 'typebox';

const Bytes = Type.Union([Type.Integer({ minimum: 0 }), Type.Null()]);
const Text = Type.Union([Type.String(), Type.Null()]);

/** What a profile is like; null is unknown. */
export const ProfileView = Type.Object({
  name: Type.String(),
  media: Type.Union([Type.Literal('ssd'), Type.Literal('hdd'), Type.Literal('nvme'), Type.Null()]),
  compression: Type.Union([Type.String(), Type.Null()], { description: 'Algorithm, with its level (zstd:3), or none' }),
  dedup: Type.Union([Type.Literal('none'), Type.Literal('offline'), Type.Literal('inline'), Type.Null()]),
  replication: Type.Union([Type.Integer(), Type.Null()], { description: 'Copies of each block' }),
  encryption: Type.Union([Type.Boolean(), Type.Null()]),
  datasets: Type.Integer({ description: 'Datasets of this profile in the pool' }),
  provisioned: Type.Integer({ description: 'Bytes promised to them: the sum of their sizes' }),
});
export type ProfileView = Static<typeof ProfileView>;

/** Figures in bytes; null is unknown, never a guess. */
export const StorageFigures = Type.Object({
  total: Bytes,
  available: Type.Union([Type.Integer({ minimum: 0 }), Type.Null()], { description: 'What can still be written' }),
  used: Bytes,
  provisioned: Type.Integer({ description: 'The sum of the sizes of all datasets' }),
  logical: Type.Union([Type.Integer({ minimum: 0 }), Type.Null()], {
    description: 'What users wrote, before compression and sharing',
  }),
  physical: Type.Union([Type.Integer({ minimum: 0 }), Type.Null()], { description: 'What that takes in the pool' }),
  saved_by_compression: Bytes,
  saved_by_sharing: Type.Union([Type.Integer({ minimum: 0 }), Type.Null()], {
    description: 'By snapshots, clones and deduplication',
  }),
  compression_share: Type.Union([Type.Number(), Type.Null()], {
    description: 'Share of the bytes written that compression saves, 0 to 1',
  }),
});
export type StorageFigures = Static<typeof StorageFigures>;

/** One pool; nodes that list it reach the same volumes. */
export const PoolView = Type.Object({
  pool: Type.String(),
  backend: Type.String(),
  nodes: Type.Array(Type.String(), { description: 'Connected nodes that reach it' }),
  measured: Text,
  profiles: Type.Array(ProfileView),
  figures: StorageFigures,
});
export type PoolView = Static<typeof PoolView>;

/** Answer of `GET /v1/state/storage` (an addition). `measured` is ISO 8601 in UTC. */
export const StorageView = Type.Object({
  pools: Type.Array(PoolView),
  nodes: Type.Array(
    Type.Object({ uuid: Type.String(), host: Type.String(), connected: Type.Boolean(), pool: Type.String() }),
  ),
  total: StorageFigures,
});
export type StorageView = Static<typeof StorageView>;

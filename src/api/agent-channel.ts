import { type Static, Type } from 'typebox';
import { PROBLEM_CODES } from '../model/volume-state.ts';
import { CopyOrder, CopyReport } from './copy-channel.ts';
import { UuidField } from './fields.ts';

/**
 * Messages between a node agent and the control service: JSON text frames of a WebSocket over mutual TLS on port 4524,
 * path {@link AGENT_CHANNEL_PATH}. The node is the one in the certificate; no message names it.
 *
 * 1. The agent sends `hello` with everything it has now, and from then on starts nothing that it was not ordered to.
 * 2. The control service answers with `orders`, `full: true`: every dataset that concerns this node.
 * 3. Then `orders` as things change, and `report`s as they are done. A report carries the number of the order it was made
 *    under, so that a confirmation of an older order is never taken for one of the present order.
 * 4. `storage`, once after the first orders and then as figures change. It confirms nothing.
 *    `snapshotOrders` and `snapshotReport` are the same of snapshots, `copyOrders` and `copyReport` of copies.
 */
export const AGENT_CHANNEL_PATH = '/v1/agent';
export const AGENT_PROTOCOL = 1;
/** Longest message either side takes, in bytes: 100,000 datasets of one node in one `hello`. */
export const LONGEST_MESSAGE_BYTES = 64 * 2 ** 20;

const SizeBytes = Type.Integer({ minimum: 0 });

const VolumeStateMessage = Type.Union([
  Type.Object({ kind: Type.Literal('absent') }),
  Type.Object({ kind: Type.Literal('detached'), sizeBytes: SizeBytes }),
  Type.Object({ kind: Type.Literal('attached'), sizeBytes: SizeBytes }),
  Type.Object({ kind: Type.Literal('mounted'), sizeBytes: SizeBytes, path: Type.String({ maxLength: 4096 }) }),
  Type.Object({ kind: Type.Literal('elsewhere'), instance: Type.String({ maxLength: 256 }) }),
]);

export const Report = Type.Object({
  datasetId: UuidField,
  /** Number of the newest order for this dataset when the state was seen; 0 when there was none on this connection. */
  order: Type.Integer({ minimum: 0 }),
  /** True while an action runs: the state may be about to change and confirms nothing. */
  busy: Type.Boolean(),
  state: VolumeStateMessage,
  problem: Type.Union([
    Type.Null(),
    Type.Object({
      code: Type.Enum([...PROBLEM_CODES]),
      message: Type.String({ maxLength: 4096 }),
    }),
  ]),
});
export type Report = Static<typeof Report>;

export const Hello = Type.Object({
  kind: Type.Literal('hello'),
  protocol: Type.Integer(),
  era: Type.String({ maxLength: 64 }),
  host: Type.String({ maxLength: 256 }),
  version: Type.String({ maxLength: 64 }),
  backend: Type.String({ maxLength: 64 }),
  pool: Type.String({ maxLength: 256 }),
  profiles: Type.Array(Type.String({ maxLength: 256 }), { maxItems: 256 }),
  /** Every dataset that is attached or mounted here or on which an action runs. What is not listed, this node has not. */
  has: Type.Array(Report),
  /**
   * The declaration of this node as dead of which the agent was told, after it has cut off everything that is not this node's
   * any more and looked anew at what is.
   */
  acknowledges: Type.Optional(UuidField),
  /** Whether the storage cuts a node off before its volumes go to another. */
  fences: Type.Optional(Type.Boolean()),
  /** Where other nodes fetch copies of volumes of this node's pool; absent where volumes cannot be copied. */
  copies: Type.Optional(Type.Object({ port: Type.Integer({ minimum: 1, maximum: 65_535 }) })),
});
export type Hello = Static<typeof Hello>;

const Bytes = Type.Union([SizeBytes, Type.Null()]);

/**
 * What the node's pool is like and how full it is, after the first orders and whenever it changes noticeably. `volumes` are
 * mounted here; one that is not listed is as it was in an earlier message of this connection.
 */
export const StorageReport = Type.Object({
  kind: Type.Literal('storage'),
  profiles: Type.Array(
    Type.Object({
      name: Type.String({ maxLength: 256 }),
      media: Type.Union([Type.Literal('ssd'), Type.Literal('hdd'), Type.Literal('nvme'), Type.Null()]),
      compression: Type.Union([Type.String({ maxLength: 64 }), Type.Null()]),
      dedup: Type.Union([Type.Literal('none'), Type.Literal('offline'), Type.Literal('inline'), Type.Null()]),
      replication: Type.Union([Type.Integer({ minimum: 1 }), Type.Null()]),
      encryption: Type.Union([Type.Boolean(), Type.Null()]),
    }),
    { maxItems: 256 },
  ),
  figures: Type.Object({
    totalBytes: Bytes,
    availableBytes: Bytes,
    usedBytes: Bytes,
    logicalBytes: Bytes,
    physicalBytes: Bytes,
    compressionSavedBytes: Bytes,
    sharedSavedBytes: Bytes,
  }),
  volumes: Type.Array(Type.Object({ datasetId: UuidField, usedBytes: Bytes, availableBytes: Bytes })),
});
export type StorageReport = Static<typeof StorageReport>;
const ProblemMessage = Report.properties.problem;

/** How a snapshot stands within this node's reach. */
export const SnapshotReport = Type.Object({
  snapshotId: UuidField,
  /** Number of the newest order for this snapshot when the state was seen. */
  order: Type.Integer({ minimum: 1 }),
  /** True while an action runs: the state may be about to change and confirms nothing. */
  busy: Type.Boolean(),
  state: Type.Union([
    Type.Object({ kind: Type.Literal('absent') }),
    Type.Object({ kind: Type.Literal('present'), sizeBytes: SizeBytes, takenAtMs: Type.Number() }),
  ]),
  problem: ProblemMessage,
});
export type SnapshotReport = Static<typeof SnapshotReport>;

export const AgentMessage = Type.Union([
  Hello,
  Type.Object({ kind: Type.Literal('report'), reports: Type.Array(Report) }),
  StorageReport,
  Type.Object({ kind: Type.Literal('snapshotReport'), reports: Type.Array(SnapshotReport) }),
  Type.Object({ kind: Type.Literal('copyReport'), reports: Type.Array(CopyReport) }),
]);
export type AgentMessage = Static<typeof AgentMessage>;

/** Nodes that were declared dead: if the pool still has the volume as one of theirs, it is to be taken over. */
const LeftBy = Type.Optional(Type.Array(UuidField));

export const Order = Type.Union([
  Type.Object({
    want: Type.Literal('mounted'),
    datasetId: UuidField,
    order: Type.Integer({ minimum: 1 }),
    /** Whether an absent volume may be created. False once it was seen to exist: then it is lost, not new. */
    mayCreate: Type.Boolean(),
    /** Bytes to create it with; null for the backend's default. */
    sizeBytes: Type.Union([SizeBytes, Type.Null()]),
    metadata: Type.Record(Type.String(), Type.String()),
    /** The snapshot whose data it begins with when it is created. */
    source: Type.Optional(UuidField),
    leftBy: LeftBy,
  }),
  Type.Object({ want: Type.Literal('released'), datasetId: UuidField, order: Type.Integer({ minimum: 1 }) }),
  Type.Object({
    want: Type.Literal('destroyed'),
    datasetId: UuidField,
    order: Type.Integer({ minimum: 1 }),
    leftBy: LeftBy,
  }),
]);
export type Order = Static<typeof Order>;

/** What is to become of a snapshot: taken of a dataset that this node holds, or destroyed in this node's pool. */
export const SnapshotOrder = Type.Union([
  Type.Object({
    want: Type.Literal('taken'),
    snapshotId: UuidField,
    order: Type.Integer({ minimum: 1 }),
    datasetId: UuidField,
  }),
  Type.Object({ want: Type.Literal('destroyed'), snapshotId: UuidField, order: Type.Integer({ minimum: 1 }) }),
]);
export type SnapshotOrder = Static<typeof SnapshotOrder>;

export const ControlMessage = Type.Union([
  Type.Object({
    kind: Type.Literal('orders'),
    full: Type.Boolean(),
    orders: Type.Array(Order),
    /** Datasets that no longer concern this node: leave them as they are. */
    withdrawn: Type.Array(UuidField),
  }),
  /** Only after the full orders, and only when there is something: agents that know no snapshots are left alone. */
  Type.Object({
    kind: Type.Literal('snapshotOrders'),
    orders: Type.Array(SnapshotOrder),
    withdrawn: Type.Array(UuidField),
  }),
  /** After the full orders with all there are, `full: true`, also when there are none; then as they change. */
  Type.Object({
    kind: Type.Literal('copyOrders'),
    full: Type.Boolean(),
    orders: Type.Array(CopyOrder),
    withdrawn: Type.Array(UuidField),
  }),
  Type.Object({
    kind: Type.Literal('refused'),
    reason: Type.String(),
    /** This node was declared dead: the next `hello` has to acknowledge this. */
    declaration: Type.Optional(UuidField),
  }),
]);
export type ControlMessage = Static<typeof ControlMessage>;

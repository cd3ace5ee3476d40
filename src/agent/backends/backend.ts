import type { Readable } from 'node:stream';
import { CodedError } from '../../kit/coded-error.ts';
import type { DatasetId, SnapshotId } from '../../kit/ids.ts';
import type { PoolReport, VolumeUsage } from '../../model/storage-state.ts';
import type { ProblemCode, VolumeState } from '../../model/volume-state.ts';

/** What a volume is made from. */
export interface VolumeRecipe {
  readonly datasetId: DatasetId;
  /** Bytes asked for; null for {@link DEFAULT_SIZE_BYTES}. Backends round up to their allocation unit. */
  readonly sizeBytes: number | null;
  /** The snapshot whose data it begins with. Fails with `volume_lost` when the pool does not have it. */
  readonly source?: SnapshotId;
  /** Dataset metadata: name, profile, filesystem (keys in `model/dataset.ts`). */
  readonly metadata: Readonly<Record<string, string>>;
}

/** A snapshot as its pool has it. */
export interface TakenSnapshot {
  /** Bytes that a volume made from it has at least. */
  readonly sizeBytes: number;
  /** Wall clock, milliseconds since the epoch. */
  readonly takenAtMs: number;
}

/**
 * Snapshots of a backend that has them. They live by themselves: neither the volume they were taken of nor volumes made
 * from them need them, or are needed by them. Idempotent and interruptible like every step of {@link Backend}.
 */
export interface SnapshotEngine {
  /**
   * Takes a snapshot of a volume that is attached or mounted here, consistent as after a power cut at one instant. Never
   * called for a volume while another step of it is under way. Fails with `no_space`, `volume_lost`.
   */
  take(snapshotId: SnapshotId, datasetId: DatasetId, signal: AbortSignal): Promise<TakenSnapshot>;
  /** Looks at one snapshot; undefined when the pool does not have it. */
  find(snapshotId: SnapshotId): Promise<TakenSnapshot | undefined>;
  /** Destroys a snapshot; fine when there is none. */
  destroy(snapshotId: SnapshotId, signal: AbortSignal): Promise<void>;
}

/** What goes with the bytes of a volume into another pool. */
export interface CopiedRecord {
  readonly sizeBytes: number;
  readonly profile: string | null;
  readonly name: string | null;
}

/** Unchanging older versions of a volume that a pool has, by what both sides of a copy know them by. */
export interface CopyBases {
  /** UUIDs, the newest first. */
  readonly known: readonly string[];
  /** Whether the pool keeps one that comes along with the volume, so that the way back is short. */
  readonly keepsOne: boolean;
}

/** What a copy builds on. */
export interface CopyLineage {
  /** The version in the other pool that only the difference to is sent; null when all is. */
  readonly against: string | null;
  /** The version that is sent before the volume, to be kept beside it; null when none is. */
  readonly along: string | null;
}

/** A volume that is being read for another node. */
export interface GivenCopy extends CopyLineage {
  readonly record: CopiedRecord;
  /** About how many bytes will come; null when that is not known. */
  readonly totalBytes: number | null;
  /** Ends when all was read; fails with a {@link BackendError} when it was not. */
  readonly bytes: Readable;
  /** Frees what the reading took. Always to be called. */
  close(): Promise<void>;
}

/** A volume that was made from a copy. */
export interface FetchedCopy {
  readonly id: string;
  readonly sizeBytes: number;
}

/** Copies of volumes between pools whose nodes do not reach each other's. Interruptible like every step of {@link Backend}. */
export interface CopyEngine {
  /**
   * Reads a detached volume as it is now, all of it or, with `bases` of the pool that it goes to, what is needed there. Fails with `volume_elsewhere`, `volume_lost`, or where some of it cannot be copied.
   */
  give(datasetId: DatasetId, signal: AbortSignal, bases?: CopyBases): Promise<GivenCopy>;
  /** What {@link give} of another pool is to know of this one. It may be out of date a moment later: then a copy fails. */
  bases(datasetId: DatasetId): Promise<CopyBases>;
  /**
   * absent → detached, with what `bytes` brings; whoever makes that fail when it is not all keeps half a copy from becoming a
   * volume. Fails with `conflict` when the pool has a volume that is not of this copy. `along`: as {@link CopyLineage} has it.
   */
  fetch(
    datasetId: DatasetId,
    id: string,
    record: CopiedRecord,
    bytes: Readable,
    signal: AbortSignal,
    along?: string | null,
  ): Promise<void>;
  /** The copy that the pool's detached volume was made from; undefined when there is none, or it was not made from one. */
  find(datasetId: DatasetId): Promise<FetchedCopy | undefined>;
}

/**
 * A storage engine as one node sees it. Every method that changes something moves a volume one step along
 * `absent → detached → attached → mounted` or back, and
 *
 * - is idempotent: called for a volume that already is where the step leads, it succeeds;
 * - may be killed at any instant and called again: what it leaves behind is one of the states, or is cleaned up by `recover`;
 * - is never called for two steps of one dataset at the same time;
 * - fails with a {@link BackendError} whose message names the volume and says what to do.
 *
 * One contract suite (`test/contract/backend.ts`) holds for all of them.
 */
export interface Backend {
  /** Name as in `agent.yml`: `loopback`, `directory`, … */
  readonly kind: string;
  /** Identity of the storage behind it: nodes with the same pool reach the same volumes. Survives restarts. */
  readonly pool: string;
  /** Profiles that `create` takes. */
  readonly profiles: readonly string[];

  /** Cleans up what an interrupted step left. Called once, before anything else. */
  recover(): Promise<void>;
  /** All volumes of this pool that this node has (attached or mounted). Never lists the rest of the pool. */
  listHere(): Promise<ReadonlyMap<DatasetId, VolumeState>>;
  /** Looks at one volume. */
  discover(datasetId: DatasetId): Promise<VolumeState>;

  /** absent → detached, formatted and empty. Fails with `no_such_profile`, `bad_size`, `no_space`. */
  create(recipe: VolumeRecipe, signal: AbortSignal): Promise<void>;
  /** detached → attached: from now on this node has it. Fails with `volume_elsewhere` when another node does. */
  attach(datasetId: DatasetId, signal: AbortSignal): Promise<void>;
  /**
   * elsewhere → attached, from one of these nodes, which an operator declared dead. Fails with `volume_in_use` where the
   * storage shows that the volume is still in use there: the word of an operator is the last thing to rely on, not the only
   * one. Absent where nodes cannot have each other's volumes.
   */
  seize?(datasetId: DatasetId, from: readonly string[], signal: AbortSignal): Promise<void>;
  /**
   * Cuts a node off from the storage, so that nothing it sends is written any more, for as long as it could have anything to send.
   * Its own mounts fail from then on. `seize` does it by itself. Absent where the engine cannot.
   */
  fence?(instance: string): Promise<void>;
  /** attached → mounted at the node's mount root. */
  mount(datasetId: DatasetId, signal: AbortSignal): Promise<void>;
  /**
   * mounted → attached. Resolves only when nothing on this machine, in any mount namespace, can write to it any more.
   * Fails with `volume_in_use`, naming processes, while something still can.
   */
  unmount(datasetId: DatasetId, signal: AbortSignal): Promise<void>;
  /** attached → detached: another node may attach it the next instant. */
  detach(datasetId: DatasetId, signal: AbortSignal): Promise<void>;
  /**
   * Makes an attached or mounted volume at least `sizeBytes` large, filesystem included, and keeps it in its state. Fails
   * with `bad_size`, `no_space`, or `volume_in_use` when it has to be unmounted for that. Absent where volumes cannot grow.
   */
  grow?(datasetId: DatasetId, sizeBytes: number, signal: AbortSignal): Promise<void>;
  /** Absent where the engine has no snapshots. */
  readonly snapshots?: SnapshotEngine;
  /** Absent where volumes cannot be copied into other pools. */
  readonly copies?: CopyEngine;
  /** What the pool is like and how full it is; cheap enough to be asked every few seconds. */
  describePool?(signal: AbortSignal): Promise<PoolReport>;
  /** How full a mounted volume is; undefined when it is not mounted here. Cheap. */
  usage?(datasetId: DatasetId, signal: AbortSignal): Promise<VolumeUsage | undefined>;
  /** detached → absent. The only method that destroys data. Refuses anything that is not detached. */
  destroy(datasetId: DatasetId, signal: AbortSignal): Promise<void>;
  /**
   * Undoes what opening the backend did to the machine, such as mounting its pool; for a node that ends while the machine
   * goes on, after all its volumes were unmounted. Fails with `volume_in_use`. Absent where there is nothing to undo.
   */
  close?(signal: AbortSignal): Promise<void>;
}

/** A step that a backend could not do. */
export class BackendError extends CodedError<ProblemCode> {
  override readonly name = 'BackendError';
}

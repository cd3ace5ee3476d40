import { CodedError } from '../../kit/coded-error.ts';
import type { DatasetId } from '../../kit/ids.ts';
import type { ProblemCode, VolumeState } from '../../model/volume-state.ts';

/** What a volume is made from. */
export interface VolumeRecipe {
  readonly datasetId: DatasetId;
  /** Bytes asked for; null for {@link DEFAULT_SIZE_BYTES}. Backends round up to their allocation unit. */
  readonly sizeBytes: number | null;
  /** Dataset metadata: name, profile, filesystem (keys in `model/dataset.ts`). */
  readonly metadata: Readonly<Record<string, string>>;
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
  /** attached → mounted at the node's mount root. */
  mount(datasetId: DatasetId, signal: AbortSignal): Promise<void>;
  /**
   * mounted → attached. Resolves only when nothing on this machine, in any mount namespace, can write to it any more.
   * Fails with `volume_in_use`, naming processes, while something still can.
   */
  unmount(datasetId: DatasetId, signal: AbortSignal): Promise<void>;
  /** attached → detached: another node may attach it the next instant. */
  detach(datasetId: DatasetId, signal: AbortSignal): Promise<void>;
  /** detached → absent. The only method that destroys data. Refuses anything that is not detached. */
  destroy(datasetId: DatasetId, signal: AbortSignal): Promise<void>;
}

/** A step that a backend could not do. */
export class BackendError extends CodedError<ProblemCode> {
  override readonly name = 'BackendError';
}

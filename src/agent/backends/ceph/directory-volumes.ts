import { chmod, lstat, mkdir } from 'node:fs/promises';
import type { Clock } from '../../../kit/clock.ts';
import { errorCode } from '../../../kit/coded-error.ts';
import type { NewUuid } from '../../../kit/ids.ts';
import { FILESYSTEM_KEY } from '../../../model/dataset.ts';
import { copyTree } from '../../host/copy-tree.ts';
import type { Kernel } from '../../host/kernel.ts';
import { BackendError, type VolumeRecipe } from '../backend.ts';
import { planVolume, requireSize, type VolumeDefaults } from '../volume-plan.ts';
import type { VolumeRecord } from '../volume-record.ts';
import { bytesPath, setDataPool, setQuota, syncTree, withSnapshot } from './ceph-directory.ts';
import type { CephFuse } from './ceph-fuse.ts';
import type { StartServer } from './fuse-mounts.ts';
import type { CephProfile } from './settings.ts';
import type { PooledVolume, Source, VolumeBody } from './volume-body.ts';

/** What a record says of a volume that is a directory. */
export const CEPHFS = 'cephfs';
/** The clients count what is written with some delay, so that less would mean nothing. */
const MINIMUM_BYTES = 2 ** 20;
/** Below the deadline of a step. */
const COPY_TIMEOUT_MS = 280_000;

export interface DirectoryVolumesParts {
  readonly kernel: Kernel;
  readonly fuse: CephFuse;
  readonly defaults: VolumeDefaults<CephProfile>;
  readonly clock: Clock;
  readonly newUuid: NewUuid;
  /** The path in CephFS of a path below this node's mount of the pool. */
  readonly cephPath: (path: string) => string;
}

/** Volumes that are directories of CephFS with a quota. */
export class DirectoryVolumes implements VolumeBody {
  readonly #parts: DirectoryVolumesParts;

  constructor(parts: DirectoryVolumesParts) {
    this.#parts = parts;
  }

  plan(recipe: VolumeRecipe, source: Source | null): VolumeRecord {
    const { datasetId, metadata } = recipe;
    const { sizeBytes, profileName, name } = planVolume(recipe, this.#parts.defaults, source?.record);
    if (metadata[FILESYSTEM_KEY] !== undefined) {
      const text = `volume ${datasetId} asks for the filesystem "${metadata[FILESYSTEM_KEY]}", and is a directory of CephFS; leave it out, or use a profile with an image_pool`;
      throw new BackendError('no_such_profile', text);
    }
    requireSize(datasetId, sizeBytes, MINIMUM_BYTES, 'a directory of CephFS');
    return { datasetId, sizeBytes, filesystem: CEPHFS, profile: profileName, name };
  }

  async make(directory: string, record: VolumeRecord, source: Source | null, signal: AbortSignal): Promise<void> {
    const { kernel, defaults } = this.#parts;
    const bytes = bytesPath(directory);
    if (source === null) {
      await mkdir(bytes);
      // Tasks run as any user; mkdir's mode is cut by the umask.
      await chmod(bytes, 0o777);
      const dataPool = record.profile === null ? undefined : defaults.profiles[record.profile]?.dataPool;
      if (dataPool !== undefined) await setDataPool(kernel, bytes, dataPool);
    } else await this.#copy(bytesPath(source.directory), bytes, signal);
    await setQuota(kernel, bytes, record.sizeBytes);
  }

  async server({ directory, record }: PooledVolume): Promise<StartServer> {
    const { fuse, cephPath } = this.#parts;
    const bytes = bytesPath(directory);
    const kind = await lstat(bytes).catch((error: unknown) => {
      if (errorCode(error) !== 'ENOENT') throw error;
    });
    if (kind?.isDirectory() !== true) {
      const text = `volume ${record.datasetId} is not mounted: ${bytes} is missing or no directory; restore it from a copy (an empty one is never put in its place)`;
      throw new BackendError('volume_lost', text);
    }
    return (mountPoint, signal) => fuse.start(cephPath(bytes), mountPoint, signal);
  }

  async grow({ directory }: PooledVolume, sizeBytes: number): Promise<void> {
    await setQuota(this.#parts.kernel, bytesPath(directory), sizeBytes);
  }

  /** The bytes of one instant: CephFS keeps them for as long as they are copied. */
  async takeSnapshot({ directory }: PooledVolume, to: string, signal: AbortSignal): Promise<number> {
    const takenAtMs = this.#parts.clock.wallMs();
    await withSnapshot(bytesPath(directory), this.#parts.newUuid(), (frozen) =>
      this.#copy(frozen, bytesPath(to), signal),
    );
    return takenAtMs;
  }

  async #copy(from: string, to: string, signal: AbortSignal): Promise<void> {
    await copyTree(from, to, { clock: this.#parts.clock, signal, timeoutMs: COPY_TIMEOUT_MS });
    await syncTree(to, signal);
  }
}

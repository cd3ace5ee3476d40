import { chmod, lstat, mkdir, readdir, realpath, rmdir, statfs, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { Clock } from '../../../kit/clock.ts';
import { errorCode, errorText } from '../../../kit/coded-error.ts';
import { type DatasetId, type NewUuid, parseDatasetId } from '../../../kit/ids.ts';
import type { Logger } from '../../../kit/logger.ts';
import { FILESYSTEM_KEY, PROFILE_KEY } from '../../../model/dataset.ts';
import type { PoolReport, VolumeUsage } from '../../../model/storage-state.ts';
import type { VolumeState } from '../../../model/volume-state.ts';
import { copyTree } from '../../host/copy-tree.ts';
import { type Kernel, loadKernel } from '../../host/kernel.ts';
import { type MountEntry, readMountTable } from '../../host/mount-table.ts';
import { ensureSharedMountRoot } from '../../host/shared-mount-root.ts';
import { type Backend, BackendError, type VolumeRecipe } from '../backend.ts';
import { explainFailure } from '../backend-failure.ts';
import { planImage } from '../loopback/image-plan.ts';
import { PoolLayout } from '../pool-layout.ts';
import { PoolSnapshots } from '../pool-snapshots.ts';
import { PoolSteps } from '../pool-steps.ts';
import type { SnapshotRecord } from '../snapshot-record.ts';
import type { Statements } from '../statements.ts';
import { planVolume, requireSize, type VolumeDefaults, wholeUnits } from '../volume-plan.ts';
import { readVolumeRecord, writeVolumeRecord } from '../volume-record.ts';
import {
  bytesPath,
  dropSnapshots,
  poolFilesystem,
  setDataPool,
  setQuota,
  syncTree,
  withSnapshot,
} from './ceph-directory.ts';
import { type CephFilesystem, findFilesystem } from './ceph-filesystem.ts';
import { CephFuse } from './ceph-fuse.ts';
import { Claims } from './claims.ts';
import { ClientRegister } from './client-register.ts';
import { ClusterAccess } from './cluster-access.ts';
import { Fence } from './fence.ts';
import { FuseMounts } from './fuse-mounts.ts';
import { FuseProcesses, type StartedProcess } from './fuse-processes.ts';
import { ImageServers } from './image-server.ts';
import { ImageStore } from './image-store.ts';
import { ImageVolumes } from './image-volumes.ts';
import { PoolMount } from './pool-mount.ts';
import { describeCeph } from './pool-report.ts';
import { type CephProfile, type CephSettings, imagePoolsOf } from './settings.ts';

export interface CephOptions extends VolumeDefaults<CephProfile>, CephSettings {
  readonly profiles: Readonly<Record<string, CephProfile>>;
  /** Volumes are mounted at `<mountRoot>/<dataset id>`. */
  readonly mountRoot: string;
  /** Name of this node in the pool; the same after every restart. */
  readonly instance: string;
  readonly statements: Statements;
  readonly clock: Clock;
  readonly newUuid: NewUuid;
  readonly log: Logger;
}

/** The clients count what is written with some delay, so that less would mean nothing. */
const MINIMUM_BYTES = 2 ** 20;
/** Below the deadline of a step. */
const COPY_TIMEOUT_MS = 280_000;

/** Opens the backend whose volumes are directories of a CephFS or RBD images, each mounted by itself. Needs root. */
export async function openCeph(options: CephOptions): Promise<Backend> {
  const { instance, clock, newUuid, log, root } = options;
  return await explainFailure(`cannot open the Ceph pool on node ${instance}`, null, async () => {
    const kernel = loadKernel();
    const cluster = new ClusterAccess(options.access, clock);
    const filesystem = await findFilesystem(cluster, options.filesystem);
    const register = new ClientRegister(cluster, { pool: filesystem.defaultDataPool, root }, instance);
    const claims = new Claims(cluster, { pool: filesystem.defaultDataPool, root }, instance, clock);
    const fence = new Fence(cluster, register, () => clock.wallMs());
    const notesDirectory = join(options.poolMount, 'run', instance);
    const processes = new FuseProcesses({ socketDirectory: notesDirectory, clock, newUuid });
    const fuse = new CephFuse(processes, { access: options.access, filesystem: filesystem.name, clock });
    const mounts = new FuseMounts({ kernel, processes, register, fence, notesDirectory });
    const servers = new ImageServers(processes, { access: options.access, clock });
    const store = new ImageStore(cluster);
    for (const pool of imagePoolsOf(options)) await store.require(pool);
    const images = new ImageVolumes({ kernel, store, servers, processes, mounts, notesDirectory, clock, log });
    const poolMount = new PoolMount(mounts, fuse, { root, mountPoint: join(options.poolMount, instance), clock });
    await poolMount.ready();
    const place = { rootPath: join(options.poolMount, instance, 'pool'), instance, kind: 'ceph' };
    const layout = await PoolLayout.open(
      place,
      newUuid,
      log,
      poolFilesystem((directory) => images.discard(directory)),
    );
    await mkdir(options.mountRoot, { recursive: true, mode: 0o700 });
    const mountRoot = await realpath(options.mountRoot);
    return new CephBackend(options, {
      kernel,
      cluster,
      filesystem,
      fence,
      claims,
      fuse,
      images,
      mounts,
      poolMount,
      layout,
      mountRoot,
    });
  });
}

/** What a record says of a volume that is a directory. */
const CEPHFS = 'cephfs';

/** The snapshot that a volume is made from. */
interface Source {
  readonly directory: string;
  readonly record: SnapshotRecord;
}

interface Parts {
  readonly kernel: Kernel;
  readonly cluster: ClusterAccess;
  readonly filesystem: CephFilesystem;
  readonly fence: Fence;
  readonly claims: Claims;
  readonly fuse: CephFuse;
  readonly images: ImageVolumes;
  readonly mounts: FuseMounts;
  readonly poolMount: PoolMount;
  readonly layout: PoolLayout;
  /** Real path. */
  readonly mountRoot: string;
}

class CephBackend implements Backend {
  readonly kind = 'ceph';
  readonly pool: string;
  readonly profiles: readonly string[];
  readonly snapshots: PoolSnapshots;
  readonly #options: CephOptions;
  readonly #parts: Parts;
  readonly #steps: PoolSteps;

  constructor(options: CephOptions, parts: Parts) {
    this.pool = parts.layout.id;
    this.profiles = Object.keys(options.profiles);
    this.#options = options;
    this.#parts = parts;
    this.#steps = new PoolSteps(parts.layout, () => parts.poolMount.ready());
    this.snapshots = new PoolSnapshots(parts.layout, (datasetId, copy, signal) =>
      this.#takeCopy(datasetId, copy, signal),
    );
  }

  async recover(): Promise<void> {
    const { kernel, layout, mountRoot, mounts, images } = this.#parts;
    await this.#steps.explainPool('recover', async () => {
      await mounts.clearCutOff();
      await layout.recover();
      await ensureSharedMountRoot(kernel, mountRoot);
      const ids = await layout.listAttached();
      const attached = new Set<string>(ids);
      await images.recover(ids, imagePoolsOf(this.#options), mountRoot);
      for (const datasetId of attached)
        await dropSnapshots(bytesPath(join(layout.attachedPath(datasetId as DatasetId))));
      for (const name of await readdir(mountRoot)) {
        const mountPoint = join(mountRoot, name);
        if (parseDatasetId(name) === undefined || attached.has(name) || (await mounts.isServed(mountPoint))) continue;
        await rmdir(mountPoint).catch((error: unknown) => {
          if (errorCode(error) !== 'ENOTEMPTY' && errorCode(error) !== 'EBUSY') throw error;
        });
      }
    });
  }

  async listHere(): Promise<ReadonlyMap<DatasetId, VolumeState>> {
    return await this.#steps.explainPool('list', async () => {
      const ids = await this.#parts.layout.listAttached();
      const table = await readMountTable();
      const look = async (datasetId: DatasetId): Promise<readonly [DatasetId, VolumeState]> => {
        try {
          return [datasetId, await this.#look(datasetId, table)];
        } catch (error) {
          // It is damaged, but it is here, and no other node may be told otherwise.
          this.#options.log.warn({ datasetId, problem: errorText(error) }, 'volume cannot be used');
          return [datasetId, { kind: 'attached', sizeBytes: 0 }];
        }
      };
      return new Map(await Promise.all(ids.map(look)));
    });
  }

  async discover(datasetId: DatasetId): Promise<VolumeState> {
    return await this.#steps.explain('look at', datasetId, null, async () => {
      const place = await this.#parts.layout.find(datasetId);
      if (place.kind === 'absent' || place.kind === 'elsewhere') return place;
      if (place.kind === 'attached') return await this.#look(datasetId, await readMountTable());
      return { kind: 'detached', sizeBytes: (await readVolumeRecord(place.directory, datasetId)).sizeBytes };
    });
  }

  async create(recipe: VolumeRecipe, signal: AbortSignal): Promise<void> {
    const { datasetId } = recipe;
    await this.#steps.create(datasetId, signal, async (directory) => {
      const source = recipe.source === undefined ? null : await this.snapshots.source(recipe.source);
      if (this.#isImage(recipe, source)) await this.#makeImage(directory, recipe, source, signal);
      else await this.#makeDirectory(directory, recipe, source, signal);
    });
  }

  async attach(datasetId: DatasetId, signal: AbortSignal): Promise<void> {
    const { layout, claims } = this.#parts;
    await claims.whileClaimed(datasetId, signal, async () => {
      await this.#steps.attach(datasetId, signal);
      // This node's client and the metadata server may both be lost while what the volume is mounted with lives on. And what is not
      // synced may hold up the other nodes for 5 s.
      await this.#steps.explain('attach', datasetId, null, async () => {
        await Promise.all([layout.syncAttached(), layout.syncDetached()]);
      });
    });
  }

  async seize(datasetId: DatasetId, from: readonly string[], signal: AbortSignal): Promise<void> {
    // What such a node has in use holds up who looks at its directory, for as long as the metadata server waits for that node.
    for (const instance of from) if (await this.#parts.fence.isUsedBy(datasetId, instance)) await this.fence(instance);
    await this.#steps.seize(datasetId, from, signal, async (directory, move) => {
      const instance = basename(dirname(directory));
      await this.fence(instance);
      await move();
      // A mount that was under way there may have found the volume in its old place, and is registered by now or failed.
      await this.fence(instance);
    });
  }

  async fence(instance: string): Promise<void> {
    await explainFailure(`cannot cut node ${instance} off from the storage`, null, () =>
      this.#parts.fence.node(instance),
    );
  }

  async mount(datasetId: DatasetId, signal: AbortSignal): Promise<void> {
    await this.#steps.explain('mount', datasetId, signal, async () => {
      const { mounts, images } = this.#parts;
      const directory = await this.#steps.attachedDirectory('mount', datasetId);
      const record = await readVolumeRecord(directory, datasetId);
      const place = this.#place(datasetId);
      const start = isInImage(record)
        ? await images.starter({ directory, record, place })
        : await this.#starter(directory, datasetId);
      await mounts.mount(place, start, signal, async () => {
        // Fails where the volume was taken over, or this node was cut off, while it was being mounted: a name that is made asks the
        // metadata server, and is not answered from what this node remembers.
        await writeFile(join(directory, 'mounted-by'), `${this.#options.instance}\n`, { flush: true });
      });
    });
  }

  async unmount(datasetId: DatasetId, signal: AbortSignal): Promise<void> {
    await this.#steps.explain('unmount', datasetId, signal, async () => {
      await this.#steps.attachedDirectory('unmount', datasetId);
      await this.#parts.mounts.unmount(this.#place(datasetId), signal);
    });
  }

  async detach(datasetId: DatasetId, signal: AbortSignal): Promise<void> {
    await this.#steps.detach(datasetId, signal, async (_directory, move) => {
      const place = this.#place(datasetId);
      const table = await readMountTable();
      if (table.some(({ mountPoint }) => mountPoint === place.mountPoint)) {
        throw new BackendError('backend_failed', `volume ${datasetId} is still mounted; unmount it before the detach`);
      }
      // Somebody else may have unmounted it: what was written may be under way still, and the mount point is left.
      await this.#parts.mounts.unmount(place, signal);
      await move();
    });
  }

  async grow(datasetId: DatasetId, sizeBytes: number, signal: AbortSignal): Promise<void> {
    await this.#steps.explain('grow', datasetId, signal, async () => {
      const directory = await this.#steps.attachedDirectory('grow', datasetId);
      const record = await readVolumeRecord(directory, datasetId);
      const after = wholeUnits(datasetId, sizeBytes, this.#options.allocationUnitBytes);
      if (after <= record.sizeBytes) return;
      // The record must not promise what there is no room for yet.
      if (isInImage(record)) {
        await this.#parts.images.grow({ directory, record, place: this.#place(datasetId) }, after, signal);
      } else await setQuota(this.#parts.kernel, bytesPath(directory), after);
      await writeVolumeRecord(directory, { ...record, sizeBytes: after });
    });
  }

  async destroy(datasetId: DatasetId, signal: AbortSignal): Promise<void> {
    await this.#parts.claims.whileClaimed(datasetId, signal, () => this.#steps.destroy(datasetId, signal));
  }

  async describePool(signal: AbortSignal): Promise<PoolReport> {
    const { cluster, filesystem } = this.#parts;
    const { profiles, statements, imagePool } = this.#options;
    const imagePools = imagePoolsOf(this.#options);
    return await this.#steps.explainPool('measure', () =>
      describeCeph({ cluster, filesystem, profiles, statements, imagePool, imagePools }, signal),
    );
  }

  async usage(datasetId: DatasetId, signal: AbortSignal): Promise<VolumeUsage | undefined> {
    return await this.#steps.explain('measure', datasetId, signal, async () => {
      const { mountPoint } = this.#place(datasetId);
      if (!(await this.#parts.mounts.isLive(mountPoint, await readMountTable()))) return undefined;
      const { blocks, bfree, bavail, bsize } = await statfs(mountPoint);
      return { usedBytes: (blocks - bfree) * bsize, availableBytes: bavail * bsize };
    });
  }

  async close(signal: AbortSignal): Promise<void> {
    await explainFailure(`cannot close pool ${this.pool} on node ${this.#options.instance}`, null, async () => {
      await this.#parts.poolMount.close(signal);
      await this.#parts.cluster.close();
    });
  }

  /** By profile; what is made from a snapshot is what that was taken of. */
  #isImage({ metadata }: VolumeRecipe, source: Source | null): boolean {
    if (source !== null) return isInImage(source.record);
    const { profiles, imagePool } = this.#options;
    const name = metadata[PROFILE_KEY];
    const profile = name !== undefined && Object.hasOwn(profiles, name) ? profiles[name] : undefined;
    return profile?.imagePool !== undefined || (profile?.dataPool === undefined && imagePool !== null);
  }

  async #makeImage(directory: string, recipe: VolumeRecipe, source: Source | null, signal: AbortSignal): Promise<void> {
    const record = planImage(recipe, source?.record ?? null, this.#options);
    const profile = record.profile === null ? undefined : this.#options.profiles[record.profile];
    const { images } = this.#parts;
    const pool = profile?.imagePool ?? this.#options.imagePool ?? '';
    if (source === null) await images.make(directory, record, pool, signal);
    else await images.makeFrom(source.directory, directory, record, signal);
    await writeVolumeRecord(directory, record);
  }

  async #makeDirectory(
    directory: string,
    recipe: VolumeRecipe,
    source: Source | null,
    signal: AbortSignal,
  ): Promise<void> {
    const { datasetId, metadata } = recipe;
    const { sizeBytes, profileName, profile, name } = planVolume(recipe, this.#options, source?.record);
    if (metadata[FILESYSTEM_KEY] !== undefined) {
      const text = `volume ${datasetId} asks for the filesystem "${metadata[FILESYSTEM_KEY]}", and is a directory of CephFS; leave it out, or use a profile with an image_pool`;
      throw new BackendError('no_such_profile', text);
    }
    requireSize(datasetId, sizeBytes, MINIMUM_BYTES, 'a directory of CephFS');
    const { kernel } = this.#parts;
    const bytes = bytesPath(directory);
    if (source === null) {
      await mkdir(bytes);
      // Tasks run as any user; mkdir's mode is cut by the umask.
      await chmod(bytes, 0o777);
      if (profile?.dataPool !== undefined) await setDataPool(kernel, bytes, profile.dataPool);
    } else await this.#copy(bytesPath(source.directory), bytes, signal);
    await setQuota(kernel, bytes, sizeBytes);
    await writeVolumeRecord(directory, { datasetId, sizeBytes, filesystem: CEPHFS, profile: profileName, name });
  }

  /** Starts what mounts a volume that is a directory. */
  async #starter(
    directory: string,
    datasetId: DatasetId,
  ): Promise<(mountPoint: string, signal: AbortSignal) => Promise<StartedProcess>> {
    const { layout, fuse } = this.#parts;
    const bytes = bytesPath(directory);
    const kind = await lstat(bytes).catch((error: unknown) => {
      if (errorCode(error) !== 'ENOENT') throw error;
    });
    if (kind?.isDirectory() !== true) {
      const text = `volume ${datasetId} is not mounted: ${bytes} is missing or no directory; restore it from a copy (an empty one is never put in its place)`;
      throw new BackendError('volume_lost', text);
    }
    const cephPath = `${this.#options.root}/pool${bytes.slice(layout.rootPath.length)}`;
    return (mountPoint, signal) => fuse.start(cephPath, mountPoint, signal);
  }

  /** The bytes of one instant: CephFS keeps them for as long as they are copied, RBD for as long as somebody needs them. */
  async #takeCopy(
    datasetId: DatasetId,
    copy: string,
    signal: AbortSignal,
  ): Promise<{ sizeBytes: number; takenAtMs: number; filesystem: string | null }> {
    const directory = await this.#steps.attachedDirectory('take a snapshot of', datasetId);
    const record = await readVolumeRecord(directory, datasetId);
    const { sizeBytes, filesystem } = record;
    if (isInImage(record)) {
      const volume = { directory, record, place: this.#place(datasetId) };
      return { sizeBytes, takenAtMs: await this.#parts.images.takeSnapshot(volume, copy, signal), filesystem };
    }
    const takenAtMs = this.#options.clock.wallMs();
    await withSnapshot(bytesPath(directory), this.#options.newUuid(), (frozen) =>
      this.#copy(frozen, bytesPath(copy), signal),
    );
    return { sizeBytes, takenAtMs, filesystem };
  }

  async #copy(from: string, to: string, signal: AbortSignal): Promise<void> {
    await copyTree(from, to, { clock: this.#options.clock, signal, timeoutMs: COPY_TIMEOUT_MS });
    await syncTree(to, signal);
  }

  async #look(datasetId: DatasetId, table: readonly MountEntry[]): Promise<VolumeState> {
    const { sizeBytes } = await readVolumeRecord(this.#parts.layout.attachedPath(datasetId), datasetId);
    if (!(await this.#parts.mounts.isLive(this.#place(datasetId).mountPoint, table)))
      return { kind: 'attached', sizeBytes };
    return { kind: 'mounted', sizeBytes, path: join(this.#options.mountRoot, datasetId) };
  }

  #place(datasetId: DatasetId): { readonly what: string; readonly mountPoint: string } {
    return { what: datasetId, mountPoint: join(this.#parts.mountRoot, datasetId) };
  }
}

function isInImage({ filesystem }: { readonly filesystem: string | null }): boolean {
  return filesystem !== CEPHFS;
}

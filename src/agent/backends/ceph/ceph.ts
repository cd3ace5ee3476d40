import { mkdir, readdir, realpath, rm, rmdir, statfs, symlink } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { Clock } from '../../../kit/clock.ts';
import { errorCode, errorText } from '../../../kit/coded-error.ts';
import { type DatasetId, type NewUuid, parseDatasetId } from '../../../kit/ids.ts';
import type { Logger } from '../../../kit/logger.ts';
import { PROFILE_KEY } from '../../../model/dataset.ts';
import type { PoolReport, VolumeUsage } from '../../../model/storage-state.ts';
import type { VolumeState } from '../../../model/volume-state.ts';
import { type Kernel, loadKernel } from '../../host/kernel.ts';
import { type MountEntry, readMountTable } from '../../host/mount-table.ts';
import { ensureSharedMountRoot } from '../../host/shared-mount-root.ts';
import { type Backend, BackendError, type VolumeRecipe } from '../backend.ts';
import { explainFailure } from '../backend-failure.ts';
import { PoolLayout } from '../pool-layout.ts';
import { PoolSnapshots } from '../pool-snapshots.ts';
import { PoolSteps } from '../pool-steps.ts';
import type { Statements } from '../statements.ts';
import { type VolumeDefaults, wholeUnits } from '../volume-plan.ts';
import { readVolumeRecord, writeVolumeRecord } from '../volume-record.ts';
import { bytesPath, dropSnapshots, poolFilesystem } from './ceph-directory.ts';
import { type CephFilesystem, findFilesystem } from './ceph-filesystem.ts';
import { CephFuse } from './ceph-fuse.ts';
import { Claims } from './claims.ts';
import { ClientRegister } from './client-register.ts';
import { ClusterAccess } from './cluster-access.ts';
import { CEPHFS, DirectoryVolumes } from './directory-volumes.ts';
import { Fence } from './fence.ts';
import { FuseMounts } from './fuse-mounts.ts';
import { FuseProcesses } from './fuse-processes.ts';
import { ImageServers } from './image-server.ts';
import { ImageStore } from './image-store.ts';
import { ImageVolumes } from './image-volumes.ts';
import { PoolMount } from './pool-mount.ts';
import { describeCeph } from './pool-report.ts';
import { type CephProfile, type CephSettings, imagePoolsOf } from './settings.ts';
import type { PooledVolume, Source, VolumeBody } from './volume-body.ts';

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

/** Opens the backend whose volumes are directories of a CephFS or RBD images, each mounted by itself. Needs root. */
export async function openCeph(options: CephOptions): Promise<Backend> {
  const { instance, clock, newUuid, log, root } = options;
  return await explainFailure(`cannot open the Ceph pool on node ${instance}`, null, async () => {
    const kernel = loadKernel();
    const cluster = new ClusterAccess(options.access, clock);
    const filesystem = await findFilesystem(cluster, options.filesystem);
    const register = new ClientRegister(cluster, { pool: filesystem.defaultDataPool, root }, instance);
    const claims = new Claims(cluster, { pool: filesystem.defaultDataPool, root }, instance, clock);
    const fence = new Fence(cluster, register, clock);
    const notesDirectory = join(options.poolMount, 'run', instance);
    const processes = new FuseProcesses({ socketDirectory: notesDirectory, clock, newUuid });
    const fuse = new CephFuse(processes, { access: options.access, filesystem: filesystem.name, clock });
    const mounts = new FuseMounts({ kernel, processes, register, fence, notesDirectory });
    const servers = new ImageServers(processes, { access: options.access, clock });
    const store = new ImageStore(cluster);
    for (const pool of imagePoolsOf(options)) await store.require(pool);
    const images = new ImageVolumes({
      ...{ defaults: options, kernel, store, servers, processes, mounts, notesDirectory, clock, log },
    });
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
      directories: new DirectoryVolumes({
        ...{ kernel, fuse, defaults: options, clock, newUuid },
        cephPath: (path) => `${root}/pool${path.slice(layout.rootPath.length)}`,
      }),
      images,
      mounts,
      poolMount,
      layout,
      mountRoot,
    });
  });
}

interface Parts {
  readonly kernel: Kernel;
  readonly cluster: ClusterAccess;
  readonly filesystem: CephFilesystem;
  readonly fence: Fence;
  readonly claims: Claims;
  readonly directories: DirectoryVolumes;
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
    this.snapshots = new PoolSnapshots(parts.layout, async (datasetId, copy, signal) => {
      const volume = await this.#attached('take a snapshot of', datasetId);
      const { sizeBytes, filesystem } = volume.record;
      return { sizeBytes, filesystem, takenAtMs: await this.#bodyOf(volume.record).takeSnapshot(volume, copy, signal) };
    });
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
      const body = this.#bodyOfNew(recipe, source);
      const record = body.plan(recipe, source);
      await body.make(directory, record, source, signal);
      await writeVolumeRecord(directory, record);
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
    await this.#steps.explain('take over', datasetId, signal, async () => {
      // A look at the directory of an image that a silent node has in use waits for as long as the metadata server does for that node. Of
      // a directory that is in use, the look makes a node that still answers write down what it has, before it is cut off.
      for (const instance of from)
        if (await this.#parts.fence.hasImage(datasetId, instance)) await this.fence(instance);
    });
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
      const volume = await this.#attached('mount', datasetId);
      const start = await this.#bodyOf(volume.record).server(volume);
      await this.#parts.mounts.mount(volume.place, start, signal, async () => {
        // Fails where the volume was taken over, or this node was cut off, while it was being mounted: a name that is made asks the
        // metadata server, and is not answered from what this node remembers. A link is no bytes, for which there may be no room.
        const name = join(volume.directory, 'mounted-by');
        await rm(name, { force: true });
        await symlink(this.#options.instance, name);
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
      const volume = await this.#attached('grow', datasetId);
      const { directory, record } = volume;
      const after = wholeUnits(datasetId, sizeBytes, this.#options.allocationUnitBytes);
      if (after <= record.sizeBytes) return;
      // The record must not promise what there is no room for yet.
      await this.#bodyOf(record).grow(volume, after, signal);
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

  /** By profile; what is made from a snapshot is what that was taken of. Fails with `no_such_profile` where the two disagree. */
  #bodyOfNew({ datasetId, metadata }: VolumeRecipe, source: Source | null): VolumeBody {
    const { profiles, imagePool } = this.#options;
    const { directories, images } = this.#parts;
    const name = metadata[PROFILE_KEY];
    const profile = name !== undefined && Object.hasOwn(profiles, name) ? profiles[name] : undefined;
    let wanted: VolumeBody | undefined;
    if (profile?.imagePool !== undefined) wanted = images;
    else if (profile?.dataPool !== undefined) wanted = directories;
    if (source === null) return wanted ?? (imagePool === null ? directories : images);
    const body = this.#bodyOf(source.record);
    if (wanted === undefined || wanted === body) return body;
    const [is, asks] = body === images ? ['an image', 'directories'] : ['a directory', 'images'];
    const text = `volume ${datasetId} asks for the profile "${name}", whose volumes are ${asks}, and the snapshot it is made from is of ${is}; leave the profile out, or take another`;
    throw new BackendError('no_such_profile', text);
  }

  #bodyOf({ filesystem }: { readonly filesystem: string | null }): VolumeBody {
    return filesystem === CEPHFS ? this.#parts.directories : this.#parts.images;
  }

  async #attached(step: string, datasetId: DatasetId): Promise<PooledVolume> {
    const directory = await this.#steps.attachedDirectory(step, datasetId);
    return { directory, record: await readVolumeRecord(directory, datasetId), place: this.#place(datasetId) };
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

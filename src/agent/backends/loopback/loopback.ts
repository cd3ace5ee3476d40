import { mkdir, readdir, realpath, rmdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../../../kit/clock.ts';
import { errorCode, errorText } from '../../../kit/coded-error.ts';
import { type DatasetId, type NewUuid, parseDatasetId } from '../../../kit/ids.ts';
import type { Logger } from '../../../kit/logger.ts';
import type { PoolReport, VolumeUsage } from '../../../model/storage-state.ts';
import type { VolumeState } from '../../../model/volume-state.ts';
import { type Kernel, loadKernel } from '../../host/kernel.ts';
import { LoopDevices } from '../../host/loop-devices.ts';
import { type MountEntry, mountsAt, readMountTable } from '../../host/mount-table.ts';
import { mountUsage } from '../../host/mount-usage.ts';
import { ensureSharedMountRoot } from '../../host/shared-mount-root.ts';
import { type Backend, BackendError, type VolumeRecipe } from '../backend.ts';
import { describeFilePool } from '../file-pool.ts';
import { PoolLayout } from '../pool-layout.ts';
import { PoolSnapshots, type TakeCopy } from '../pool-snapshots.ts';
import { PoolSteps } from '../pool-steps.ts';
import type { Statements } from '../statements.ts';
import { wholeUnits } from '../volume-plan.ts';
import { readVolumeRecord, type VolumeRecord, writeVolumeRecord } from '../volume-record.ts';
import { finishFirstMount } from './first-mount.ts';
import { finishGrowth, growImage, removeGrownCopy } from './grow-image.ts';
import { ImageLock, type VolumeDirectory } from './image-lock.ts';
import { filesystemOf, type ImageDefaults, planImage } from './image-plan.ts';
import { cloneImage, copyImage, thawAll, thawRemains } from './image-snapshot.ts';
import { imagePath, makeVolumeImage, openWholeImage } from './volume-image.ts';

export interface LoopbackOptions extends ImageDefaults {
  /** The pool. Several nodes may share it over a network filesystem that keeps rename(2) atomic and flock(2) honest. */
  readonly rootPath: string;
  /** Volumes are mounted at `<mountRoot>/<dataset id>`. */
  readonly mountRoot: string;
  /** Name of this node in the pool; the same after every restart. */
  readonly instance: string;
  readonly statements: Statements;
  readonly clock: Clock;
  readonly newUuid: NewUuid;
  readonly log: Logger;
}

/**
 * Deleted blocks go back to the pool: it is thinly provisioned and images would only ever grow. Writing, syncing and
 * deleting files of 16 MiB became a quarter slower by it, all else stayed the same.
 */
const MOUNT_OPTIONS = {
  ext4: 'discard',
  // A copy of an XFS has the UUID of the original, and the kernel mounts only one of the two without this.
  xfs: 'discard,nouuid',
} as const;

/** Opens the backend whose volumes are sparse files on loop devices. Needs root from the first mount on. */
export async function openLoopback(options: LoopbackOptions): Promise<Backend> {
  const { rootPath, instance, mountRoot } = options;
  const pool = await PoolLayout.open({ rootPath, instance, kind: 'loopback' }, options.newUuid, options.log);
  await mkdir(mountRoot, { recursive: true, mode: 0o700 });
  return new Loopback(options, pool, await realpath(mountRoot), loadKernel());
}

class Loopback implements Backend {
  readonly kind = 'loopback';
  readonly pool: string;
  readonly profiles: readonly string[];
  readonly #options: LoopbackOptions;
  readonly #layout: PoolLayout;
  readonly #steps: PoolSteps;
  readonly #mountRoot: string;
  readonly #kernel: Kernel;
  readonly #loops: LoopDevices;
  readonly #lock: ImageLock;
  readonly snapshots: PoolSnapshots;

  constructor(options: LoopbackOptions, layout: PoolLayout, mountRoot: string, kernel: Kernel) {
    this.pool = layout.id;
    this.profiles = Object.keys(options.profiles);
    this.#options = options;
    this.#layout = layout;
    this.#steps = new PoolSteps(layout);
    this.#mountRoot = mountRoot;
    this.#kernel = kernel;
    this.#loops = new LoopDevices(kernel);
    this.#lock = new ImageLock(kernel, this.#loops, options.clock);
    this.snapshots = new PoolSnapshots(layout, (datasetId, copy, signal) => this.#takeCopy(datasetId, copy, signal));
  }

  async recover(): Promise<void> {
    await this.#steps.explainPool('recover', async () => {
      await this.#layout.recover();
      await ensureSharedMountRoot(this.#kernel, this.#mountRoot);
      // rmdir would also take away a mount that another mount namespace has there, hence only of what is not attached.
      const ids = await this.#layout.listAttached();
      const attached = new Set<string>(ids);
      const volumes = ids.map((datasetId) => ({ datasetId, directory: this.#layout.attachedPath(datasetId) }));
      await Promise.all(volumes.map(({ directory }) => removeGrownCopy(directory)));
      const surroundings = { kernel: this.#kernel, clock: this.#options.clock, log: this.#options.log };
      await thawAll(volumes, ({ datasetId }) => this.#mountPoint(datasetId), surroundings);
      for (const name of await readdir(this.#mountRoot)) {
        if (parseDatasetId(name) !== undefined && !attached.has(name)) await this.#removeMountPoint(name);
      }
    });
  }

  async listHere(): Promise<ReadonlyMap<DatasetId, VolumeState>> {
    return await this.#steps.explainPool('list', async () => {
      const ids = await this.#layout.listAttached();
      const table = await readMountTable();
      const look = async (datasetId: DatasetId): Promise<readonly [DatasetId, VolumeState]> => {
        const directory = this.#layout.attachedPath(datasetId);
        try {
          return [datasetId, await this.#look({ datasetId, directory }, table)];
        } catch (error) {
          // It is damaged, but it is here, and no other node may be told otherwise.
          this.#options.log.warn({ datasetId, problem: errorText(error) }, 'volume cannot be used');
          const sizeBytes = await stat(imagePath(directory)).then(
            ({ size }) => size,
            () => 0,
          );
          return [datasetId, { kind: 'attached', sizeBytes }];
        }
      };
      return new Map(await Promise.all(ids.map(look)));
    });
  }

  async discover(datasetId: DatasetId): Promise<VolumeState> {
    return await this.#steps.explain('look at', datasetId, null, async () => {
      const place = await this.#layout.find(datasetId);
      if (place.kind === 'absent' || place.kind === 'elsewhere') return place;
      if (place.kind === 'attached') return await this.#look({ datasetId, ...place }, await readMountTable());
      return { kind: 'detached', sizeBytes: (await readVolumeRecord(place.directory, datasetId)).sizeBytes };
    });
  }

  async create(recipe: VolumeRecipe, signal: AbortSignal): Promise<void> {
    const { datasetId } = recipe;
    await this.#steps.create(datasetId, signal, async (directory) => {
      const source = recipe.source === undefined ? null : await this.snapshots.source(recipe.source);
      const record = planImage(recipe, source?.record ?? null, this.#options);
      const surroundings = { clock: this.#options.clock, signal };
      if (source === null) await makeVolumeImage(directory, record, surroundings);
      else {
        await cloneImage(source.directory, directory, record, surroundings);
        await writeVolumeRecord(directory, record);
      }
    });
  }

  async attach(datasetId: DatasetId, signal: AbortSignal): Promise<void> {
    await this.#steps.attach(datasetId, signal);
  }

  /** The lock on an image that another machine still has bound reaches this one where the pool's filesystem carries locks. */
  async seize(datasetId: DatasetId, from: readonly string[], signal: AbortSignal): Promise<void> {
    await this.#steps.seize(datasetId, from, signal, async (directory, move) => {
      const image = await this.#lock.holdAtRest({ datasetId, directory }, signal);
      try {
        await move();
      } finally {
        await image?.close();
      }
    });
  }

  async mount(datasetId: DatasetId, signal: AbortSignal): Promise<void> {
    await this.#steps.explain('mount', datasetId, signal, async () => {
      const reading = [this.#steps.attachedDirectory('mount', datasetId), readMountTable()] as const;
      const [directory, table] = await Promise.all(reading);
      const target = this.#mountPoint(datasetId);
      const volume = { datasetId, directory };
      const record = await readVolumeRecord(directory, datasetId);
      if ((await this.#ownMounts(volume, table)).length === 0) {
        await this.#mountImage(volume, record, target, signal);
        await thawRemains(volume, target, { kernel: this.#kernel, clock: this.#options.clock, signal });
      }
      await finishGrowth(directory, target, filesystemOf(record), { clock: this.#options.clock, signal });
      await finishFirstMount(directory, target);
    });
  }

  async grow(datasetId: DatasetId, sizeBytes: number, signal: AbortSignal): Promise<void> {
    await this.#steps.explain('grow', datasetId, signal, async () => {
      const directory = await this.#steps.attachedDirectory('grow', datasetId);
      const volume = { datasetId, directory };
      const record = await readVolumeRecord(directory, datasetId);
      const grown = wholeUnits(datasetId, sizeBytes, this.#options.allocationUnitBytes);
      if (grown <= record.sizeBytes) return;
      const mount = (await this.#ownMounts(volume, await readMountTable())).at(0);
      const growth = { volume, record, type: filesystemOf(record), sizeBytes: grown, mount };
      await growImage(growth, { loops: this.#loops, lock: this.#lock, clock: this.#options.clock }, signal);
    });
  }

  async #takeCopy(datasetId: DatasetId, copy: string, signal: AbortSignal): ReturnType<TakeCopy> {
    const volume = { datasetId, directory: await this.#steps.attachedDirectory('take a snapshot of', datasetId) };
    const record = await readVolumeRecord(volume.directory, datasetId);
    const mount = (await this.#ownMounts(volume, await readMountTable())).at(0);
    const surroundings = { kernel: this.#kernel, lock: this.#lock, clock: this.#options.clock, signal };
    const takenAtMs = await copyImage(volume, record, mount?.mountPoint, copy, surroundings);
    return { sizeBytes: record.sizeBytes, takenAtMs, filesystem: record.filesystem };
  }

  async unmount(datasetId: DatasetId, signal: AbortSignal): Promise<void> {
    await this.#steps.explain('unmount', datasetId, signal, async () => {
      const reading = [this.#steps.attachedDirectory('unmount', datasetId), readMountTable()] as const;
      const [directory, table] = await Promise.all(reading);
      const volume = { datasetId, directory };
      for (const mount of await this.#ownMounts(volume, table)) {
        if ((await this.#lock.backs(mount, volume)) === 'removed') {
          const text = `volume ${datasetId} stays mounted: ${imagePath(directory)} was removed, and its data is now only at ${mount.mountPoint}; copy it from there first`;
          throw new BackendError('volume_lost', text);
        }
        signal.throwIfAborted();
        await this.#unmountOne(volume, mount);
      }
      await (await this.#lock.holdAtRest(volume, signal))?.close();
      await this.#removeMountPoint(datasetId);
    });
  }

  async detach(datasetId: DatasetId, signal: AbortSignal): Promise<void> {
    await this.#steps.detach(datasetId, signal, async (directory, move) => {
      if ((await this.#ownMounts({ datasetId, directory }, await readMountTable())).length > 0) {
        throw new BackendError('backend_failed', `volume ${datasetId} is still mounted; unmount it before the detach`);
      }
      const image = await this.#lock.holdAtRest({ datasetId, directory }, signal);
      try {
        await image?.datasync();
        // A restart of the machine leaves it behind. At rest, no mount namespace has anything there.
        await this.#removeMountPoint(datasetId);
        await move();
      } finally {
        await image?.close();
      }
    });
  }

  async destroy(datasetId: DatasetId, signal: AbortSignal): Promise<void> {
    await this.#steps.destroy(datasetId, signal);
  }

  describePool(signal: AbortSignal): Promise<PoolReport> {
    return this.#steps.explainPool('measure', () => describeFilePool(this.#layout, this.#options.statements, signal));
  }

  usage(datasetId: DatasetId, signal: AbortSignal): Promise<VolumeUsage | undefined> {
    const look = (): Promise<VolumeUsage | undefined> => mountUsage(this.#mountPoint(datasetId), this.#mountRoot);
    return this.#steps.explain('measure', datasetId, signal, look);
  }

  async #mountImage(volume: VolumeDirectory, record: VolumeRecord, target: string, signal: AbortSignal): Promise<void> {
    const type = filesystemOf(record);
    const image = await openWholeImage(volume.directory, record);
    try {
      await mkdir(target, { mode: 0o700 }).catch((error: unknown) => {
        if (errorCode(error) !== 'EEXIST') throw error;
      });
      const device = await this.#lock.bind(volume, image, signal);
      try {
        await this.#kernel.mount({ source: device.path, target, type, flags: 0, options: MOUNT_OPTIONS[type] });
      } finally {
        await device.close();
      }
    } finally {
      await image.close();
    }
  }

  async #unmountOne(volume: VolumeDirectory, mount: MountEntry): Promise<void> {
    try {
      await this.#kernel.unmount(mount.mountPoint);
    } catch (error) {
      if (errorCode(error) === 'EBUSY') throw await this.#lock.busy(volume, mount);
      throw error;
    }
  }

  async #look(volume: VolumeDirectory, table: readonly MountEntry[]): Promise<VolumeState> {
    const { sizeBytes } = await readVolumeRecord(volume.directory, volume.datasetId);
    const mounts = await this.#ownMounts(volume, table);
    if (mounts.length === 0) return { kind: 'attached', sizeBytes };
    return { kind: 'mounted', sizeBytes, path: join(this.#options.mountRoot, volume.datasetId) };
  }

  /** What is mounted where the volume belongs, topmost first. Fails when any of it is not the volume. */
  async #ownMounts(volume: VolumeDirectory, table: readonly MountEntry[]): Promise<readonly MountEntry[]> {
    const mounts = mountsAt(table, this.#mountPoint(volume.datasetId));
    for (const mount of mounts) {
      if ((await this.#lock.backs(mount, volume)) !== 'no') continue;
      const text = `something else (${mount.type} from ${mount.source}) is mounted at ${mount.mountPoint}, where volume ${volume.datasetId} belongs; unmount it`;
      throw new BackendError('backend_failed', text);
    }
    return mounts.toReversed();
  }

  async #removeMountPoint(datasetId: string): Promise<void> {
    try {
      await rmdir(this.#mountPoint(datasetId));
    } catch (error) {
      // With files in it, put there while nothing was mounted, it is somebody's and stays.
      const code = errorCode(error) ?? '';
      if (!['ENOENT', 'ENOTEMPTY', 'ENOTDIR', 'EBUSY'].includes(code)) throw error;
    }
  }

  #mountPoint(datasetId: string): string {
    return join(this.#mountRoot, datasetId);
  }
}

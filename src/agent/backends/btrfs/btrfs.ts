import { chmod, mkdir, realpath, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../../../kit/clock.ts';
import { errorText } from '../../../kit/coded-error.ts';
import { withDeadline } from '../../../kit/deadline.ts';
import type { DatasetId, NewUuid } from '../../../kit/ids.ts';
import type { Logger } from '../../../kit/logger.ts';
import { FILESYSTEM_KEY } from '../../../model/dataset.ts';
import type { PoolReport, VolumeUsage } from '../../../model/storage-state.ts';
import type { VolumeState } from '../../../model/volume-state.ts';
import { Btrfs } from '../../host/btrfs.ts';
import { BtrfsSpace } from '../../host/btrfs-space.ts';
import { BtrfsTree } from '../../host/btrfs-tree.ts';
import { type Kernel, loadKernel } from '../../host/kernel.ts';
import { type MountEntry, readMountTable } from '../../host/mount-table.ts';
import { ensureSharedMountRoot } from '../../host/shared-mount-root.ts';
import { type Backend, BackendError, type VolumeRecipe } from '../backend.ts';
import { explainFailure } from '../backend-failure.ts';
import { PoolLayout } from '../pool-layout.ts';
import type { PoolSnapshots } from '../pool-snapshots.ts';
import { PoolSteps } from '../pool-steps.ts';
import type { Statements } from '../statements.ts';
import { planVolume, requireSize, type VolumeDefaults, wholeUnits } from '../volume-plan.ts';
import { readVolumeRecord, type VolumeRecord, writeFirstVolumeRecord, writeVolumeRecord } from '../volume-record.ts';
import { ActiveSends } from './active-sends.ts';
import { VolumeBases } from './bases.ts';
import { BtrfsCopies } from './copies.ts';
import { describeBtrfs, poolSubvolumes } from './pool-report.ts';
import { type OpenStorage, openPoolStorage } from './pool-storage.ts';
import { Quota } from './quota.ts';
import { SavingsWalk } from './savings-walk.ts';
import type { BtrfsProfile, BtrfsSettings } from './settings.ts';
import { btrfsSnapshots } from './snapshots.ts';
import { bytesPath, poolFilesystem } from './subvolumes.ts';
import { VolumeMounts } from './volume-mounts.ts';

export interface BtrfsOptions extends VolumeDefaults<BtrfsProfile>, BtrfsSettings {
  readonly profiles: Readonly<Record<string, BtrfsProfile>>;
  /** Volumes are mounted at `<mountRoot>/<dataset id>`. */
  readonly mountRoot: string;
  /** Name of this node in the pool; the same after every restart. */
  readonly instance: string;
  readonly statements: Statements;
  readonly clock: Clock;
  readonly newUuid: NewUuid;
  readonly log: Logger;
}

/** With less the quota refuses the first file: btrfs reserves metadata before it knows how little it needs. */
const MINIMUM_BYTES = 2 ** 20;
/** A mkfs of a large device, or one by another agent that is waited for, and the mount of a pool that was not unmounted. */
const OPEN_TIMEOUT_MS = 180_000;

/** Opens the backend whose volumes are subvolumes of a btrfs filesystem. Needs root. */
export async function openBtrfs(options: BtrfsOptions): Promise<Backend> {
  const { instance, mountRoot, clock, newUuid, log, storage } = options;
  const kernel = loadKernel();
  const btrfs = new Btrfs(kernel, options.clock);
  const tree = new BtrfsTree(kernel);
  const sends = new ActiveSends();
  return await explainFailure(`cannot open the btrfs pool on node ${instance}`, null, async () => {
    const opened = await withDeadline(clock, OPEN_TIMEOUT_MS, 'opening the btrfs pool', undefined, (signal) =>
      openPoolStorage(storage, { kernel, clock, newUuid, signal }),
    );
    const place = { rootPath: opened.rootPath, instance, kind: 'btrfs' };
    const layout = await PoolLayout.open(place, newUuid, log, poolFilesystem(btrfs, tree, sends, clock));
    const steps = new PoolSteps(layout);
    const space = new BtrfsSpace((await btrfs.filesystemUuid(layout.rootPath)) ?? '');
    const quota = await Quota.open(btrfs, space, options.quota, layout.rootPath);
    const bases = new VolumeBases({ layout, btrfs, quota, log });
    const snapshots = btrfsSnapshots({ layout, steps, btrfs, quota, clock });
    const walk = new SavingsWalk({
      ...{ tree, clock, rootPath: layout.rootPath },
      subvolumes: () => poolSubvolumes(btrfs, layout.rootPath),
      generation: () => space.generation(),
    });
    await mkdir(mountRoot, { recursive: true, mode: 0o700 });
    const mounts = new VolumeMounts(kernel, btrfs, quota, await realpath(mountRoot));
    return new BtrfsBackend(options, {
      ...{
        kernel,
        btrfs,
        opened,
        layout,
        steps,
        quota,
        bases,
        snapshots,
        mounts,
        mountRoot: await realpath(mountRoot),
      },
      copies: new BtrfsCopies({
        ...{ layout, steps, btrfs, tree, quota, bases, sends, clock },
        compressionOf: (profile) =>
          (profile === null ? undefined : options.profiles[profile]?.compression) ?? options.defaultCompression,
      }),
      report: (signal) =>
        describeBtrfs({ layout, space, walk, profiles: options.profiles, statements: options.statements }, signal),
    });
  });
}

interface Parts {
  readonly kernel: Kernel;
  readonly btrfs: Btrfs;
  readonly opened: OpenStorage;
  readonly layout: PoolLayout;
  readonly steps: PoolSteps;
  readonly quota: Quota;
  readonly bases: VolumeBases;
  readonly snapshots: PoolSnapshots;
  readonly copies: BtrfsCopies;
  readonly mounts: VolumeMounts;
  /** Real path. */
  readonly mountRoot: string;
  readonly report: (signal: AbortSignal) => Promise<PoolReport>;
}

class BtrfsBackend implements Backend {
  readonly kind = 'btrfs';
  readonly pool: string;
  readonly profiles: readonly string[];
  readonly snapshots: PoolSnapshots;
  readonly copies: BtrfsCopies;
  readonly #options: BtrfsOptions;
  readonly #parts: Parts;
  readonly #steps: PoolSteps;
  readonly #mounts: VolumeMounts;

  constructor(options: BtrfsOptions, parts: Parts) {
    this.pool = parts.layout.id;
    this.profiles = Object.keys(options.profiles);
    this.snapshots = parts.snapshots;
    this.copies = parts.copies;
    this.#options = options;
    this.#parts = parts;
    this.#steps = parts.steps;
    this.#mounts = parts.mounts;
  }

  async recover(): Promise<void> {
    const { kernel, layout, mountRoot } = this.#parts;
    await this.#steps.explainPool('recover', async () => {
      await layout.recover();
      await ensureSharedMountRoot(kernel, mountRoot);
      await this.#mounts.removeMountPoints(new Set<string>(await layout.listAttached()));
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
          const record = readVolumeRecord(this.#parts.layout.attachedPath(datasetId), datasetId);
          const sizeBytes = await record.then((known) => known.sizeBytes).catch(() => 0);
          return [datasetId, { kind: 'attached', sizeBytes }];
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
    const { datasetId, metadata } = recipe;
    await this.#steps.create(datasetId, signal, async (directory) => {
      const source = recipe.source === undefined ? null : await this.snapshots.source(recipe.source);
      const plan = planVolume(recipe, this.#options, source?.record);
      const wanted = metadata[FILESYSTEM_KEY];
      if (wanted !== undefined && wanted !== 'btrfs') {
        const text = `volume ${datasetId} asks for the filesystem "${wanted}": this node's volumes are all on btrfs; leave it out or use the loopback backend`;
        throw new BackendError('no_such_profile', text);
      }
      const { sizeBytes, profileName, name } = plan;
      requireSize(datasetId, sizeBytes, MINIMUM_BYTES, 'a btrfs subvolume');
      const record = { datasetId, sizeBytes, filesystem: 'btrfs', profile: profileName, name };
      await this.#fill(directory, record, source?.directory, plan.profile?.compression);
    });
  }

  async attach(datasetId: DatasetId, signal: AbortSignal): Promise<void> {
    await this.#steps.attach(datasetId, signal);
  }

  async seize(datasetId: DatasetId, from: readonly string[], signal: AbortSignal): Promise<void> {
    await this.#steps.seize(datasetId, from, signal, async (directory, move) => {
      await this.#mounts.rest({ datasetId, directory });
      await move();
    });
  }

  async mount(datasetId: DatasetId, signal: AbortSignal): Promise<void> {
    await this.#steps.explain('mount', datasetId, signal, async () => {
      const directory = await this.#steps.attachedDirectory('mount', datasetId);
      const { sizeBytes } = await readVolumeRecord(directory, datasetId);
      const volume = { datasetId, directory };
      if ((await this.#mounts.ofVolume(volume, await readMountTable())).length > 0) return;
      await this.#mounts.mount(volume);
      // Also of a volume that was made, or moved here, while the quota was off.
      await this.#parts.quota.limit(bytesPath(directory), sizeBytes);
      await this.#parts.bases.review(datasetId, directory);
    });
  }

  async unmount(datasetId: DatasetId, signal: AbortSignal): Promise<void> {
    await this.#steps.explain('unmount', datasetId, signal, async () => {
      const volume = { datasetId, directory: await this.#steps.attachedDirectory('unmount', datasetId) };
      await this.#mounts.unmount(volume, signal);
      await this.#mounts.rest(volume);
      await this.#mounts.removeMountPoint(datasetId);
      await this.#parts.bases.review(datasetId, volume.directory);
    });
  }

  async detach(datasetId: DatasetId, signal: AbortSignal): Promise<void> {
    await this.#steps.detach(datasetId, signal, async (directory, move) => {
      const volume = { datasetId, directory };
      if ((await this.#mounts.ofVolume(volume, await readMountTable())).length > 0) {
        throw new BackendError('backend_failed', `volume ${datasetId} is still mounted; unmount it before the detach`);
      }
      await this.#mounts.rest(volume);
      // A restart of the machine leaves it behind. At rest, no mount namespace has anything there.
      await this.#mounts.removeMountPoint(datasetId);
      await move();
    });
  }

  async grow(datasetId: DatasetId, sizeBytes: number, signal: AbortSignal): Promise<void> {
    await this.#steps.explain('grow', datasetId, signal, async () => {
      const directory = await this.#steps.attachedDirectory('grow', datasetId);
      const record = await readVolumeRecord(directory, datasetId);
      const after = wholeUnits(datasetId, sizeBytes, this.#options.allocationUnitBytes);
      if (after <= record.sizeBytes) return;
      const path = bytesPath(directory);
      await this.#parts.quota.limit(path, after);
      // The record must not promise what the limit does not yet allow.
      await this.#parts.btrfs.commit(directory);
      await writeVolumeRecord(directory, { ...record, sizeBytes: after });
    });
  }

  async destroy(datasetId: DatasetId, signal: AbortSignal): Promise<void> {
    await this.#steps.destroy(datasetId, signal);
  }

  async describePool(signal: AbortSignal): Promise<PoolReport> {
    return await this.#steps.explainPool('measure', () => this.#parts.report(signal));
  }

  async usage(datasetId: DatasetId, signal: AbortSignal): Promise<VolumeUsage | undefined> {
    return await this.#steps.explain('measure', datasetId, signal, async () => {
      const directory = this.#parts.layout.attachedPath(datasetId);
      const mounts = await this.#mounts.ofVolume({ datasetId, directory }, await readMountTable());
      if (mounts.length === 0) return undefined;
      const { bavail, bsize } = await statfs(this.#parts.layout.rootPath);
      return await this.#parts.quota.usage(bytesPath(directory), bavail * bsize);
    });
  }

  async close(_signal: AbortSignal): Promise<void> {
    await explainFailure(`cannot close pool ${this.pool} on node ${this.#options.instance}`, null, () =>
      this.#parts.opened.close(),
    );
  }

  async #fill(
    directory: string,
    record: VolumeRecord,
    source: string | undefined,
    compression: BtrfsProfile['compression'] = this.#options.defaultCompression,
  ): Promise<void> {
    const { btrfs, quota } = this.#parts;
    const path = bytesPath(directory);
    // First, and all else durable with the pool's next commit: beside a new subvolume an fsync would be a commit too.
    await writeFirstVolumeRecord(directory, record);
    if (source === undefined) {
      await btrfs.createSubvolume(path);
      // Tasks run as any user.
      await chmod(path, 0o777);
    } else {
      await btrfs.snapshot(bytesPath(source), path, 'writable');
    }
    // With full quotas a snapshot begins with the limit of what it was taken of, and may be full.
    await quota.limit(path, record.sizeBytes);
    await quota.withRoom(path, () => btrfs.setCompression(path, compression));
  }

  async #look(datasetId: DatasetId, table: readonly MountEntry[]): Promise<VolumeState> {
    const directory = this.#parts.layout.attachedPath(datasetId);
    const { sizeBytes } = await readVolumeRecord(directory, datasetId);
    const mounts = await this.#mounts.ofVolume({ datasetId, directory }, table);
    if (mounts.length === 0) return { kind: 'attached', sizeBytes };
    return { kind: 'mounted', sizeBytes, path: join(this.#options.mountRoot, datasetId) };
  }
}

import { mkdir, open, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../../../kit/clock.ts';
import { errorCode, errorText } from '../../../kit/coded-error.ts';
import type { DatasetId } from '../../../kit/ids.ts';
import type { Logger } from '../../../kit/logger.ts';
import { makeFilesystem } from '../../host/filesystem.ts';
import { whileFrozen } from '../../host/frozen-filesystem.ts';
import { growExt4, growMountedExt4, growMountedXfs, renewExt4 } from '../../host/grow-filesystem.ts';
import type { Kernel } from '../../host/kernel.ts';
import { LoopDevices, loopNumber } from '../../host/loop-devices.ts';
import { mountsAt, readMountTable } from '../../host/mount-table.ts';
import { BackendError, type VolumeRecipe } from '../backend.ts';
import { filesystemOf, type ImageDefaults, planImage } from '../loopback/image-plan.ts';
import { LONGEST_FREEZE_MS, thawAll, thawRemains, withGuardFile } from '../loopback/image-snapshot.ts';
import type { VolumeRecord } from '../volume-record.ts';
import { dropLostAndFound, prepareRoot } from './fresh-filesystem.ts';
import type { FuseMounts, MountPlace, StartServer } from './fuse-mounts.ts';
import type { FuseProcess, FuseProcesses, StartedProcess } from './fuse-processes.ts';
import {
  GROWTH_SNAPSHOT,
  type ImagePlace,
  type ImageRecord,
  imageRecordPath,
  readImageRecord,
  writeImageRecord,
} from './image-record.ts';
import type { ImageServers } from './image-server.ts';
import type { ImageStore } from './image-store.ts';
import type { CephProfile } from './settings.ts';
import type { PooledVolume, Source, VolumeBody } from './volume-body.ts';

export interface ImageVolumesParts {
  readonly defaults: ImageDefaults & {
    readonly profiles: Readonly<Record<string, CephProfile>>;
    /** Of volumes without a profile, where they are images. */
    readonly imagePool: string | null;
  };
  readonly kernel: Kernel;
  readonly store: ImageStore;
  readonly servers: ImageServers;
  readonly processes: FuseProcesses;
  readonly mounts: FuseMounts;
  /** On this machine: where it is noted which filesystems are frozen. */
  readonly notesDirectory: string;
  readonly clock: Clock;
  readonly log: Logger;
}

/** What deleted files took goes back to the cluster. A clone of an XFS has the UUID of the original. */
const MOUNT_OPTIONS = { ext4: 'discard', xfs: 'discard,nouuid' } as const;

/** Volumes whose bytes are a filesystem in an RBD image. All that changes one goes through the process that serves it. */
export class ImageVolumes implements VolumeBody {
  readonly #parts: ImageVolumesParts;
  readonly #loops: LoopDevices;

  constructor(parts: ImageVolumesParts) {
    this.#parts = parts;
    this.#loops = new LoopDevices(parts.kernel);
  }

  plan(recipe: VolumeRecipe, source: Source | null): VolumeRecord {
    return planImage(recipe, source?.record ?? null, this.#parts.defaults);
  }

  async make(directory: string, record: VolumeRecord, source: Source | null, signal: AbortSignal): Promise<void> {
    const { store, processes, defaults, clock } = this.#parts;
    const { datasetId, sizeBytes, profile } = record;
    const type = filesystemOf(record);
    if (source !== null) return await this.#makeFrom(source, directory, record, signal);
    const pool = (profile === null ? undefined : defaults.profiles[profile]?.imagePool) ?? defaults.imagePool;
    if (pool === null) throw new Error('no pool is known for it');
    const image = store.newPlace(pool, datasetId, processes.newToken());
    await writeImageRecord(directory, image);
    await store.create(image, sizeBytes);
    const format = async (device: string): Promise<void> => {
      await makeFilesystem(device, type, { clock, signal });
      await prepareRoot(device, type);
    };
    await this.#whileServed(image, signal, format, { isNew: true });
  }

  /** What serves an image mounts it once that is let. */
  async server({ directory, record }: PooledVolume): Promise<StartServer> {
    const { servers, kernel, clock } = this.#parts;
    const { datasetId } = record;
    const type = filesystemOf(record);
    const image = await imageOf(directory, `volume ${datasetId}`);
    return async (mountPoint, signal) => {
      const server = await servers.start(image, mountPoint, signal);
      const complete = async (): Promise<void> => {
        const device = await server.serve(signal).catch((error: unknown) => {
          if (errorCode(error) === 'ENOENT') throw lost(`volume ${datasetId}`, `${image.pool}/${image.image}`);
          throw error;
        });
        await kernel.mount({ source: device, target: mountPoint, type, flags: 0, options: MOUNT_OPTIONS[type] });
        await thawRemains(this.#guarded(datasetId), mountPoint, { kernel, clock, signal });
        // One whose image was made larger grows now.
        if (type === 'xfs') await growMountedXfs(mountPoint, { clock, signal });
      };
      return { ...server, isOfImage: true, complete };
    };
  }

  /** Makes image and filesystem larger. The caller writes the record. */
  async grow({ directory, record, place }: PooledVolume, sizeBytes: number, signal: AbortSignal): Promise<void> {
    const { servers, store, clock } = this.#parts;
    const image = await imageOf(directory, `volume ${record.datasetId}`);
    const surroundings = { clock, signal };
    const type = filesystemOf(record);
    const server = await this.#serverAt(place);
    if (server !== undefined) {
      await servers.grow(server, sizeBytes, signal);
      const device = await this.#loops.refreshSize(await loopAt(place.mountPoint));
      if (type === 'xfs') return await growMountedXfs(place.mountPoint, surroundings);
      if (await growMountedExt4(device, surroundings)) return;
      const text = `volume ${record.datasetId} cannot grow while it is mounted: the agent lacks the capability CAP_SYS_RESOURCE, which ext4 asks for. It grows when it is next unmounted; or give the agent that capability, or use xfs.`;
      throw new BackendError('volume_in_use', text);
    }
    if (type === 'xfs') return await store.grow(image, sizeBytes);
    // resize2fs, killed in the middle, leaves what e2fsck does not mend: see loopback.
    await this.#whileServed(image, signal, async (device, process) => {
      await servers.takeSnapshot(process, GROWTH_SNAPSHOT, signal);
      await servers.grow(process, sizeBytes, signal);
      await this.#loops.refreshSize(Number(/\d+$/.exec(device)?.[0]));
      await growExt4(device, surroundings);
      await dropLostAndFound(device);
      await syncDevice(device);
      await servers.removeSnapshot(process, GROWTH_SNAPSHOT, signal);
    });
  }

  /** Takes a snapshot into the directory of a new one; tells when that was. A mounted volume is frozen meanwhile, for milliseconds. */
  async takeSnapshot({ directory, record, place }: PooledVolume, to: string, signal: AbortSignal): Promise<number> {
    const { servers, kernel, clock, processes } = this.#parts;
    const image = await imageOf(directory, `volume ${record.datasetId}`);
    const snapshot = `flocker-${processes.newToken()}`;
    await writeImageRecord(to, { ...image, snapshot });
    const take = async (process: FuseProcess, until: AbortSignal): Promise<number> => {
      const atMs = clock.wallMs();
      await servers.takeSnapshot(process, snapshot, until);
      return atMs;
    };
    const server = await this.#serverAt(place);
    if (server === undefined) {
      let takenAtMs = 0;
      await this.#whileServed(image, signal, async (_device, process) => {
        takenAtMs = await take(process, signal);
      });
      return takenAtMs;
    }
    const guarded = this.#guarded(record.datasetId);
    await mkdir(guarded.directory, { recursive: true, mode: 0o700 });
    const takenAtMs = await withGuardFile(guarded, { kernel, clock, signal }, (guardFile) =>
      whileFrozen(kernel, { mountPoint: place.mountPoint, guardFile, longestMs: LONGEST_FREEZE_MS, signal }, (until) =>
        take(server, until),
      ),
    );
    await rmdir(guarded.directory);
    return takenAtMs;
  }

  /** Removes the image or the snapshot of a directory that is to go; fine when it has none. */
  async discard(directory: string): Promise<void> {
    const image = await readImageRecord(directory);
    if (image === undefined) return;
    if (image.snapshot === undefined) {
      // What an agent that was killed in the middle of making it left.
      await this.#parts.mounts.clear(this.#unmounted(image), new AbortController().signal);
    }
    await this.#parts.store.remove(image);
  }

  /** Thaws what a killed agent left frozen, and sweeps pools of what is needed no more. */
  async recover(attached: readonly DatasetId[], pools: readonly string[], mountRoot: string): Promise<void> {
    const { kernel, clock, log, store } = this.#parts;
    await thawAll(
      attached.map((datasetId) => this.#guarded(datasetId)),
      ({ datasetId }) => join(mountRoot, datasetId),
      { kernel, clock, log },
    );
    for (const pool of pools) {
      await store.sweep(pool).catch((error: unknown) => {
        log.warn({ pool, problem: errorText(error) }, 'images that are needed no more stay for now');
      });
    }
  }

  async #makeFrom(source: Source, directory: string, record: VolumeRecord, signal: AbortSignal): Promise<void> {
    const { store, processes, defaults, clock } = this.#parts;
    const what = `the snapshot that volume ${record.datasetId} is made from`;
    const from = await imageOf(source.directory, what);
    const wanted = record.profile === null ? undefined : defaults.profiles[record.profile]?.imagePool;
    if (wanted !== undefined && wanted !== from.pool) {
      const text = `volume ${record.datasetId} asks for the profile "${record.profile}", whose images are in pool ${wanted}, and the snapshot it is made from is in ${from.pool}; leave the profile out, or take another`;
      throw new BackendError('no_such_profile', text);
    }
    const image = store.newPlace(from.pool, record.datasetId, processes.newToken());
    await writeImageRecord(directory, image);
    if (from.snapshot === undefined || !(await store.clone({ ...from, snapshot: from.snapshot }, image))) {
      throw lost(what, `${from.pool}/${from.image}`);
    }
    await store.grow(image, record.sizeBytes);
    // XFS keeps its UUID, and grows when it is mounted.
    if (filesystemOf(record) === 'xfs') return;
    const renew = async (device: string): Promise<void> => {
      await renewExt4(device, { clock, signal });
      await dropLostAndFound(device);
    };
    await this.#whileServed(image, signal, renew, { isNew: true });
  }

  async #whileServed(
    image: ImagePlace,
    signal: AbortSignal,
    work: (device: string, process: FuseProcess) => Promise<void>,
    options: { readonly isNew?: boolean } = {},
  ): Promise<void> {
    const { mounts, servers } = this.#parts;
    const place = this.#unmounted(image);
    let device = '';
    let process: FuseProcess | undefined;
    const start = async (): Promise<StartedProcess> => {
      const server = await servers.start(image, place.mountPoint, signal, options);
      process = server;
      const complete = async (): Promise<void> => {
        device = await server.serve(signal);
      };
      return { ...server, isOfImage: true, complete };
    };
    await mounts.whileServed(place, start, signal, async () => {
      if (process !== undefined) await work(device, process);
      await syncDevice(device);
    });
  }

  async #serverAt({ mountPoint }: MountPlace): Promise<FuseProcess | undefined> {
    const { mounts, processes } = this.#parts;
    if (!(await mounts.isLive(mountPoint, await readMountTable()))) return undefined;
    return (await processes.at(mountPoint))[0];
  }

  /** What serves an image that is not mounted is found by a name of its own. */
  #unmounted({ image }: ImagePlace): MountPlace {
    return { what: image, mountPoint: join(this.#parts.notesDirectory, image) };
  }

  #guarded(datasetId: DatasetId): { readonly datasetId: DatasetId; readonly directory: string } {
    return { datasetId, directory: join(this.#parts.notesDirectory, `${datasetId}.frozen`) };
  }
}

async function imageOf(directory: string, what: string): Promise<ImageRecord> {
  const image = await readImageRecord(directory);
  if (image === undefined) throw lost(what, imageRecordPath(directory));
  return image;
}

async function loopAt(mountPoint: string): Promise<number> {
  const device = mountsAt(await readMountTable(), mountPoint).at(-1)?.device;
  const number = device === undefined ? undefined : loopNumber(device);
  if (number === undefined) throw new Error(`${mountPoint} is on no loop device`);
  return number;
}

async function syncDevice(path: string): Promise<void> {
  const device = await open(path, 'r+');
  try {
    await device.datasync();
  } finally {
    await device.close();
  }
}

function lost(what: string, where: string): BackendError {
  const text = `${what} cannot be used: ${where} is missing; restore it from a copy (an empty one is never put in its place)`;
  return new BackendError('volume_lost', text);
}

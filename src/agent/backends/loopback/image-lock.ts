import type { FileHandle } from 'node:fs/promises';
import { type Clock, pause } from '../../../kit/clock.ts';
import type { DatasetId } from '../../../kit/ids.ts';
import type { Kernel } from '../../host/kernel.ts';
import { type LoopDevice, type LoopDevices, loopNumber } from '../../host/loop-devices.ts';
import type { MountEntry } from '../../host/mount-table.ts';
import { findStorageUsers } from '../../host/storage-users.ts';
import { BackendError } from '../backend.ts';
import { imagePath, looksLikeImageOf, openImage } from './volume-image.ts';

/** A volume's directory, wherever in the pool it is. */
export interface VolumeDirectory {
  readonly datasetId: DatasetId;
  readonly directory: string;
}

/** Waits between looks at a device that is not free though nobody is seen to use it: udev opens devices for a moment. */
const WAITS_MS = [5, 10, 20, 40, 80, 160, 320, 640] as const;

/**
 * Who may write to an image. A flock(2) belongs to the open file description, and the loop driver keeps the one it was
 * bound with. So an image that is locked before it is bound stays locked for exactly as long as the kernel can still
 * write to it, in whichever mount namespace; one call tells, and two devices can never be bound to one image.
 * Network filesystems carry the lock to the other nodes of a shared pool.
 */
export class ImageLock {
  readonly #kernel: Kernel;
  readonly #loops: LoopDevices;
  readonly #clock: Clock;

  constructor(kernel: Kernel, loops: LoopDevices, clock: Clock) {
    this.#kernel = kernel;
    this.#loops = loops;
    this.#clock = clock;
  }

  /** The image's loop device, bound now or left bound by a filesystem that something still keeps alive. */
  async bind(volume: VolumeDirectory, image: FileHandle, signal: AbortSignal): Promise<LoopDevice> {
    for (const waitMs of [...WAITS_MS, null]) {
      if (await this.#kernel.lock(image.fd)) {
        await this.#refuseForeignDevice(volume, image);
        // Direct I/O: writing files of 16 MiB with fsync took half as long as through the page cache, long writes ran
        // 1.4 times as fast, and nothing is cached twice. Small synchronous writes cost the same either way.
        return await this.#loops.attach(image, true);
      }
      for (const { number } of await this.#loops.bound()) {
        const device = await this.#loops.hold(number, await image.stat({ bigint: true }));
        if (device !== undefined) return device;
      }
      if (waitMs !== null) await pause(this.#clock, waitMs, signal);
    }
    throw new BackendError(
      'volume_in_use',
      `volume ${volume.datasetId}: ${imagePath(volume.directory)} is locked by a program on this node or by another node that shares the pool; end it`,
    );
  }

  /**
   * Resolves when nothing on this machine can write to the volume, with the image locked until `close`; null when the
   * image is missing. Fails with `volume_in_use`, naming who has it.
   */
  async holdAtRest(volume: VolumeDirectory, signal: AbortSignal): Promise<FileHandle | null> {
    const image = await openImage(volume.directory);
    if (image === undefined) {
      const number = (await this.#candidates(volume)).at(0);
      if (number !== undefined) throw await this.#inUse(volume, number);
      return null;
    }
    try {
      for (const waitMs of [...WAITS_MS, null]) {
        if (await this.#kernel.lock(image.fd)) {
          await this.#refuseForeignDevice(volume, image);
          return image;
        }
        const number = await this.#deviceOf(image);
        const users = number === undefined ? [] : await findStorageUsers({ device: `7:${number}`, innerPath: '/' });
        if (users.length > 0 || waitMs === null) throw await this.#inUse(volume, number);
        await pause(this.#clock, waitMs, signal);
      }
      throw await this.#inUse(volume, undefined);
    } catch (error) {
      await image.close();
      throw error;
    }
  }

  /** Whether `mount` is of this volume's image; `removed` when the image was deleted and lives only in that mount. */
  async backs(mount: MountEntry, { directory }: VolumeDirectory): Promise<'yes' | 'no' | 'removed'> {
    const number = loopNumber(mount.device);
    if (number === undefined) return 'no';
    const backingPath = await this.#loops.backingPath(number);
    if (backingPath === imagePath(directory)) return 'yes';
    if (backingPath === `${imagePath(directory)} (deleted)`) return 'removed';
    const image = await openImage(directory);
    if (image === undefined) return 'no';
    try {
      const device = await this.#loops.hold(number, await image.stat({ bigint: true }));
      await device?.close();
      return device === undefined ? 'no' : 'yes';
    } finally {
      await image.close();
    }
  }

  /** A `volume_in_use` for a mount that the kernel calls busy. */
  async busy(volume: VolumeDirectory, mount: MountEntry): Promise<BackendError> {
    const users = await findStorageUsers({ device: mount.device, innerPath: '/' });
    const others = users.filter(({ mountPoint }) => mountPoint !== mount.mountPoint).map(({ text }) => text);
    return inUseError(volume, others, mount.mountPoint);
  }

  async #inUse(volume: VolumeDirectory, number: number | undefined): Promise<BackendError> {
    if (number === undefined) return inUseError(volume, [], imagePath(volume.directory));
    const users = await findStorageUsers({ device: `7:${number}`, innerPath: '/' });
    return inUseError(
      volume,
      users.map(({ text }) => text),
      `/dev/loop${number}`,
    );
  }

  /** A device that was bound by hand holds no lock. */
  async #refuseForeignDevice(volume: VolumeDirectory, image: FileHandle): Promise<void> {
    const identity = await image.stat({ bigint: true });
    for (const number of await this.#candidates(volume)) {
      const device = await this.#loops.hold(number, identity);
      if (device === undefined) continue;
      await device.close();
      throw await this.#inUse(volume, number);
    }
  }

  async #candidates({ datasetId }: VolumeDirectory): Promise<readonly number[]> {
    const bound = await this.#loops.bound();
    return bound.filter(({ backingPath }) => looksLikeImageOf(datasetId, backingPath)).map(({ number }) => number);
  }

  async #deviceOf(image: FileHandle): Promise<number | undefined> {
    const identity = await image.stat({ bigint: true });
    for (const { number } of await this.#loops.bound()) {
      const device = await this.#loops.hold(number, identity);
      await device?.close();
      if (device !== undefined) return number;
    }
    return undefined;
  }
}

function inUseError({ datasetId }: VolumeDirectory, users: readonly string[], what: string): BackendError {
  const who = users.length > 0 ? users.join(', ') : 'something that is not visible to the agent';
  const text = `volume ${datasetId} is still in use: ${what} is held by ${who}; end that, then it unmounts by itself`;
  return new BackendError('volume_in_use', text);
}

import { constants } from 'node:fs';
import { type FileHandle, open, readdir, readFile } from 'node:fs/promises';
import { errorCode } from '../../kit/coded-error.ts';
import { KeyedQueue } from '../../kit/keyed-queue.ts';
import type { Kernel } from './kernel.ts';

/** What tells a file from all others while it exists, through renames: `st_dev` and `st_ino`. */
export interface FileIdentity {
  readonly dev: bigint;
  readonly ino: bigint;
}

/** A loop device that cannot go away until `close`; after that it lives for as long as something has it mounted. */
export interface LoopDevice {
  readonly path: string;
  close(): Promise<void>;
}

/** A {@link LoopDevice} that is bound to a file already. */
export interface HeldLoopDevice extends LoopDevice {
  readonly isReadOnly: boolean;
  /** The device keeps its file after the last close, until it is let go. */
  keep(): Promise<void>;
  /** The device loses its file at the last close, which may be that of somebody else who has it open. */
  letGo(): Promise<void>;
}

/** A loop device that has a file, and the file's present path as the kernel names it. */
export interface BoundLoopDevice {
  readonly number: number;
  readonly backingPath: string;
}

/** Major number of loop devices in the kernel's list of assigned numbers. */
const LOOP_MAJOR = 7;
const LOOP_CONFIGURE = 0x4c0a;
const LOOP_CLR_FD = 0x4c01;
const LOOP_SET_STATUS64 = 0x4c04;
const LOOP_GET_STATUS64 = 0x4c05;
const LOOP_SET_CAPACITY = 0x4c07;
const LOOP_CTL_GET_FREE = 0x4c82;
const LO_FLAGS_READ_ONLY = 1;
const LO_FLAGS_AUTOCLEAR = 4;
const LO_FLAGS_DIRECT_IO = 16;
/** `struct loop_info64`, and where it and its flags lie in `struct loop_config` (`<linux/loop.h>`). */
const INFO_BYTES = 232;
const CONFIG_BYTES = 304;
const CONFIG_INFO_OFFSET = 8;
const INFO_FLAGS_OFFSET = 52;
/** Another process can take the number between asking for it and using it. So many times in a row it cannot be chance. */
const TRIES = 100;

/** The loop driver of this machine. */
export class LoopDevices {
  readonly #kernel: Kernel;
  readonly #attaching = new KeyedQueue<'attach'>();

  constructor(kernel: Kernel) {
    this.#kernel = kernel;
  }

  /**
   * Binds a free loop device to an open file. The device frees itself on its last close, so that a crash before it is
   * mounted leaves nothing; it keeps the open file description, and with that any flock on it.
   *
   * With `directIo` the file's pages are not cached a second time; where the file's filesystem cannot do that, the
   * kernel falls back to buffered I/O by itself.
   */
  attach(file: FileHandle, directIo: boolean, readOnly = false): Promise<LoopDevice> {
    return this.#attaching.run('attach', () => this.#attachNow(file, directIo, readOnly));
  }

  async #attachNow(file: FileHandle, directIo: boolean, readOnly: boolean): Promise<LoopDevice> {
    const config = Buffer.alloc(CONFIG_BYTES);
    config.writeUInt32LE(file.fd, 0);
    const flags = LO_FLAGS_AUTOCLEAR | (directIo ? LO_FLAGS_DIRECT_IO : 0) | (readOnly ? LO_FLAGS_READ_ONLY : 0);
    config.writeUInt32LE(flags, CONFIG_INFO_OFFSET + INFO_FLAGS_OFFSET);
    const control = await open('/dev/loop-control', constants.O_RDWR);
    try {
      for (let left = TRIES; ; left -= 1) {
        const path = `/dev/loop${await this.#kernel.ioctl(control.fd, LOOP_CTL_GET_FREE, null)}`;
        const device = await open(path, constants.O_RDWR);
        try {
          await this.#kernel.ioctl(device.fd, LOOP_CONFIGURE, config);
          return { path, close: () => device.close() };
        } catch (error) {
          await device.close();
          if (errorCode(error) !== 'EBUSY' || left === 1) throw error;
        }
      }
    } finally {
      await control.close();
    }
  }

  /** All loop devices that have a file. Opens none of them, so it does not delay their clearing. */
  async bound(): Promise<readonly BoundLoopDevice[]> {
    const names = await readdir('/sys/block');
    const numbers = names.flatMap((name) => /^loop(\d+)$/.exec(name)?.[1] ?? []).map(Number);
    const devices = await Promise.all(
      numbers.map(async (number) => ({ number, backingPath: await this.backingPath(number) })),
    );
    return devices.flatMap(({ number, backingPath }) => (backingPath === undefined ? [] : { number, backingPath }));
  }

  /** Path of the file behind a loop device; undefined when it has none. ` (deleted)` follows when it was removed. */
  async backingPath(number: number): Promise<string | undefined> {
    try {
      const text = await readFile(`/sys/block/loop${number}/loop/backing_file`, 'utf8');
      return text.replace(/\n$/, '');
    } catch (error) {
      // ENODEV: the device lost its file between open and read.
      if (errorCode(error) === 'ENOENT' || errorCode(error) === 'ENODEV') return undefined;
      throw error;
    }
  }

  /** Lets a bound device see that its file has become larger; returns the path of the device. */
  async refreshSize(number: number): Promise<string> {
    const path = `/dev/loop${number}`;
    const device = await open(path, constants.O_RDONLY);
    try {
      await this.#kernel.ioctl(device.fd, LOOP_SET_CAPACITY, null);
    } finally {
      await device.close();
    }
    return path;
  }

  /** Holds the loop device if it is bound to that very file; undefined otherwise. */
  async hold(number: number, file: FileIdentity): Promise<HeldLoopDevice | undefined> {
    const path = `/dev/loop${number}`;
    let device: FileHandle;
    try {
      device = await open(path, constants.O_RDONLY);
    } catch (error) {
      if (errorCode(error) === 'ENOENT' || errorCode(error) === 'ENXIO') return undefined;
      throw error;
    }
    const status = Buffer.alloc(INFO_BYTES);
    try {
      await this.#kernel.ioctl(device.fd, LOOP_GET_STATUS64, status);
      const same = status.readBigUInt64LE(0) === file.dev && status.readBigUInt64LE(8) === file.ino;
      if (same) return this.#held(path, device, status);
    } catch (error) {
      await device.close();
      if (errorCode(error) === 'ENXIO') return undefined;
      throw error;
    }
    await device.close();
    return undefined;
  }

  #held(path: string, device: FileHandle, status: Buffer): HeldLoopDevice {
    const flags = status.readUInt32LE(INFO_FLAGS_OFFSET);
    return {
      path,
      isReadOnly: (flags & LO_FLAGS_READ_ONLY) !== 0,
      keep: async () => {
        if ((flags & LO_FLAGS_AUTOCLEAR) === 0) return;
        const kept = Buffer.from(status);
        kept.writeUInt32LE(flags & ~LO_FLAGS_AUTOCLEAR, INFO_FLAGS_OFFSET);
        await this.#kernel.ioctl(device.fd, LOOP_SET_STATUS64, kept);
      },
      letGo: async () => {
        await this.#kernel.ioctl(device.fd, LOOP_CLR_FD, null);
      },
      close: () => device.close(),
    };
  }
}

/** Number of the loop device with this `major:minor`; undefined when it is no loop device. */
export function loopNumber(device: string): number | undefined {
  const [major, minor] = device.split(':').map(Number);
  return major === LOOP_MAJOR ? minor : undefined;
}

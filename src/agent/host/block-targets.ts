import { closeSync, constants, fstatSync, openSync, readlinkSync } from 'node:fs';
import { type FileHandle, lstat, open, stat, unlink } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { syncDirectory } from '../../kit/atomic-file.ts';
import { type Clock, pause } from '../../kit/clock.ts';
import { CodedError, errorCode } from '../../kit/coded-error.ts';
import { DIRECTORY_ONLY, placeOf, refused } from './bind-targets.ts';
import { type Kernel, MountFlag } from './kernel.ts';
import { type HeldLoopDevice, LoopDevices } from './loop-devices.ts';
import { mountsAt, readMountTable } from './mount-table.ts';

/** The file in a volume's directory that its devices show. */
const FILE_NAME = 'volume.block';
/** O_PATH of open(2), which Node does not name: what is opened is only pointed at, a device node above all. */
const PATH_ONLY = 0o10000000 | constants.O_NOFOLLOW;
/** Whoever looks at new devices, as udev does, has one open for a moment. */
const LOOKS = 50;
const LOOK_AGAIN_MS = 20;

/**
 * Volumes as block devices at paths that others choose: a file in the volume's directory, a loop device that has it, and a
 * bind mount of the device's node. Which device belongs to a volume is asked of the kernel each time, by the file, so that
 * nothing is lost with this process.
 */
export class BlockTargets {
  readonly #kernel: Kernel;
  readonly #loops: LoopDevices;
  readonly #clock: Clock;

  constructor(kernel: Kernel, clock: Clock) {
    this.#kernel = kernel;
    this.#loops = new LoopDevices(kernel);
    this.#clock = clock;
  }

  /** Makes the file of a volume or grows it, durably, and lets devices that have it see that. Never shrinks it. */
  async prepare(directory: string, sizeBytes: number): Promise<void> {
    const file = await openFile(directory, constants.O_CREAT);
    try {
      if ((await file.stat()).size < sizeBytes) await file.truncate(sizeBytes);
      await file.sync();
      await syncDirectory(directory);
      await this.#withDevices(file, async (devices) => {
        for (const { path } of devices) await this.#loops.refreshSize(numberOf(path));
      });
    } finally {
      await file.close();
    }
  }

  /** Shows the volume at `target`, a file that is made unless it is an empty one. Again is fine. */
  async show(directory: string, target: string, readOnly: boolean): Promise<void> {
    const place = await placeOf(target);
    const file = await openFile(directory);
    try {
      await this.#withDevices(file, async (devices) => {
        let device = devices.find((one) => one.isReadOnly === readOnly);
        if (device === undefined) {
          const fresh = await this.#loops.attach(file, true, readOnly);
          try {
            device = await this.#loops.hold(numberOf(fresh.path), await file.stat({ bigint: true }));
          } finally {
            await fresh.close();
          }
          if (device === undefined) throw new Error(`${fresh.path} lost its file while it was open`);
          devices.push(device);
        }
        // Before it is shown: a target must never show a device that went with this process.
        await device.keep();
        await this.#bind(device.path, place);
      });
    } finally {
      await file.close();
    }
  }

  /** Ends what is shown at `target` and removes the file if it is empty. One that is not there is fine. */
  async hide(target: string): Promise<void> {
    try {
      const place = await placeOf(target);
      for (const _ of mountsAt(await readMountTable(), place)) await this.#kernel.unmount(place);
      const left = await lstat(place);
      if (left.isFile() && left.size === 0) await unlink(place);
    } catch (error) {
      const code = errorCode(error);
      if (code !== 'ENOENT' && code !== 'no_parent') throw error;
    }
  }

  /** Lets go of all devices but those of the kinds to keep. Resolves with the paths of those that somebody has open. */
  async detach(
    directory: string,
    keep: ReadonlySet<'writable' | 'readOnly'>,
    signal: AbortSignal,
  ): Promise<readonly string[]> {
    const file = await openFile(directory).catch((error: unknown) => {
      if (errorCode(error) === 'ENOENT') return undefined;
      throw error;
    });
    if (file === undefined) return [];
    try {
      for (let left = LOOKS; ; left -= 1) {
        const open = await this.#letGo(file, keep);
        if (open.length === 0 || left === 0) return open;
        if (left < LOOKS) await pause(this.#clock, LOOK_AGAIN_MS, signal);
      }
    } finally {
      await file.close();
    }
  }

  /** Resolves with the devices there were: those that nobody has open are gone by then. */
  async #letGo(file: FileHandle, keep: ReadonlySet<'writable' | 'readOnly'>): Promise<string[]> {
    const paths: string[] = [];
    await this.#withDevices(file, async (devices) => {
      for (const device of devices) {
        if (keep.has(device.isReadOnly ? 'readOnly' : 'writable')) continue;
        await device.letGo();
        paths.push(device.path);
      }
    });
    return paths;
  }

  async #bind(device: string, place: string): Promise<void> {
    const open: number[] = [];
    try {
      const parent = openSync(dirname(place), DIRECTORY_ONLY);
      open.push(parent);
      const entry = `/proc/self/fd/${parent}/${basename(place)}`;
      const opened = openEntry(entry, place);
      open.push(opened);
      if (readlinkSync(`/proc/self/fd/${opened}`) !== place) throw refused(place, 'was changed meanwhile');
      const [shown, node] = [fstatSync(opened), await stat(device)];
      if (shown.isBlockDevice() && shown.rdev === node.rdev) return;
      if (mountsAt(await readMountTable(), place).length > 0) throw refused(place, 'has something else mounted');
      if (!shown.isFile()) throw refused(place, 'is not a file');
      if (shown.size > 0) throw refused(place, 'is not empty');
      const bare = { type: null, options: null };
      const target = `/proc/self/fd/${opened}`;
      await this.#kernel.mount({ ...bare, source: device, target, flags: MountFlag.bind });
      // `entry` names the mount now. A bind mount begins as its source's peer.
      await this.#kernel.mount({ ...bare, source: null, target: entry, flags: MountFlag.private });
    } finally {
      for (const fd of open) closeSync(fd);
    }
  }

  /** Holds all devices that have the file while work is done with them. */
  async #withDevices(file: FileHandle, work: (devices: HeldLoopDevice[]) => Promise<void>): Promise<void> {
    const identity = await file.stat({ bigint: true });
    const devices: HeldLoopDevice[] = [];
    try {
      for (const { number, backingPath } of await this.#loops.bound()) {
        if (!backingPath.endsWith(`/${FILE_NAME}`)) continue;
        const device = await this.#loops.hold(number, identity);
        if (device !== undefined) devices.push(device);
      }
      await work(devices);
    } finally {
      for (const device of devices) await device.close();
    }
  }
}

async function openFile(directory: string, more = 0): Promise<FileHandle> {
  const path = join(directory, FILE_NAME);
  const file = await open(path, constants.O_RDWR | constants.O_NOFOLLOW | constants.O_NONBLOCK | more, 0o600);
  if ((await file.stat()).isFile()) return file;
  await file.close();
  throw new CodedError('bad_file', `${path} is no file; somebody has changed what is in the volume`);
}

function openEntry(entry: string, place: string): number {
  try {
    closeSync(openSync(entry, constants.O_CREAT | constants.O_EXCL | constants.O_WRONLY, 0o600));
  } catch (error) {
    if (errorCode(error) !== 'EEXIST') throw error;
  }
  const opened = openSync(entry, PATH_ONLY);
  if (!fstatSync(opened).isSymbolicLink()) return opened;
  closeSync(opened);
  throw refused(place, 'is a symbolic link');
}

function numberOf(path: string): number {
  return Number(path.slice('/dev/loop'.length));
}

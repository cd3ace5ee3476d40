import { constants } from 'node:fs';
import { type FileHandle, mkdir, open, realpath, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import { type Clock, pause } from '../../../kit/clock.ts';
import { errorCode } from '../../../kit/coded-error.ts';
import type { NewUuid } from '../../../kit/ids.ts';
import { Btrfs } from '../../host/btrfs.ts';
import { makeFilesystem } from '../../host/filesystem.ts';
import { type Kernel, MountFlag } from '../../host/kernel.ts';
import { type LoopDevice, LoopDevices } from '../../host/loop-devices.ts';
import { type MountEntry, mountsAt, readMountTable } from '../../host/mount-table.ts';
import { ensureSharedMountRoot, removeSharedMountRoot } from '../../host/shared-mount-root.ts';
import { findStorageUsers, locate } from '../../host/storage-users.ts';
import { BackendError } from '../backend.ts';
import { ensurePoolFile, type PoolFile } from './pool-file.ts';
import { readSuperblock } from './superblock.ts';

/** Where a pool is. What is not a directory is mounted by the agent, at `mountPoint`. */
export type PoolStorage =
  | { readonly kind: 'directory'; readonly rootPath: string }
  | ({ readonly kind: 'file' } & PoolFile & MountedStorage)
  | ({ readonly kind: 'device'; readonly devicePath: string; readonly makeFilesystem: boolean } & MountedStorage);

interface MountedStorage {
  readonly mountPoint: string;
  /** Level of all zstd compression in the pool; null for the kernel's own choice. */
  readonly zstdLevel: number | null;
}

export interface PoolSources {
  readonly kernel: Kernel;
  readonly clock: Clock;
  readonly newUuid: NewUuid;
  readonly signal: AbortSignal;
}

/** A pool's storage, ready for use. */
export interface OpenStorage {
  readonly rootPath: string;
  /** Unmounts what was mounted for it. Fails with `volume_in_use`. */
  close(): Promise<void>;
}

const OPTIONS = 'user_subvol_rm_allowed';
const WAIT_MS = 10;
/** Agents that start at the same time wait for each other, the first for a mkfs. */
const MOST_WAITS = 3000;

/** Makes a pool's storage usable: checks that it is btrfs and mounts it, making what the operator allowed to be made. */
export async function openPoolStorage(storage: PoolStorage, sources: PoolSources): Promise<OpenStorage> {
  if (storage.kind === 'directory') {
    const { rootPath } = storage;
    await mkdir(rootPath, { recursive: true, mode: 0o700 });
    if ((await new Btrfs(sources.kernel).filesystemUuid(await realpath(rootPath))) === undefined) {
      const text = `dataset.root_path ${rootPath} is not on btrfs: mount a btrfs there, or use dataset.device or dataset.pool_file`;
      throw new BackendError('pool_unreachable', text);
    }
    return { rootPath, close: async () => undefined };
  }
  const mount = new PoolMount(storage, sources);
  await mount.open();
  return { rootPath: join(storage.mountPoint, 'pool'), close: () => mount.close() };
}

class PoolMount {
  readonly #storage: Exclude<PoolStorage, { kind: 'directory' }>;
  readonly #sources: PoolSources;

  constructor(storage: Exclude<PoolStorage, { kind: 'directory' }>, sources: PoolSources) {
    this.#storage = storage;
    this.#sources = sources;
  }

  get #path(): string {
    return this.#storage.kind === 'file' ? this.#storage.filePath : this.#storage.devicePath;
  }

  async open(): Promise<void> {
    const { mountPoint } = this.#storage;
    if (this.#storage.kind === 'file') await ensurePoolFile(this.#storage, this.#sources);
    else await this.#ensureDevice(this.#storage.makeFilesystem);
    await mkdir(mountPoint, { recursive: true, mode: 0o700 });
    // Other agents of this machine may mount the same pool at the same place.
    const directory = await this.#locked(mountPoint);
    try {
      await this.#mountOnce(await realpath(mountPoint));
    } finally {
      await directory.close();
    }
  }

  async close(): Promise<void> {
    const mountPoint = await realpath(this.#storage.mountPoint);
    for (const { device } of mountsAt(await readMountTable(), mountPoint)) {
      try {
        await this.#sources.kernel.unmount(mountPoint);
      } catch (error) {
        if (errorCode(error) !== 'EBUSY') throw error;
        const users = await findStorageUsers({ device, innerPath: '/' });
        const who = users.filter((user) => user.mountPoint !== mountPoint).map(({ text }) => text);
        const text = `the pool at ${mountPoint} is still in use by ${who.join(', ') || 'something that is not visible'}; end that`;
        throw new BackendError('volume_in_use', text, { cause: error });
      }
    }
    await rmdir(mountPoint).catch(() => undefined);
  }

  async #mountOnce(target: string): Promise<void> {
    const { kernel } = this.#sources;
    const { zstdLevel } = this.#storage;
    const level = zstdLevel === null ? null : `compress=zstd:${zstdLevel}`;
    const options = level === null ? OPTIONS : `${OPTIONS},${level}`;
    const table = await readMountTable();
    const present = mountsAt(table, target).at(-1);
    if (present !== undefined && !isItself(present, table)) {
      await this.#requireSame(target, present.type);
      if (level === null || present.options.split(',').includes(level)) return;
      const flags = MountFlag.remount | MountFlag.noatime;
      return await kernel.mount({ source: null, target, type: null, flags, options });
    }
    const device = await this.#device();
    try {
      // Mount namespaces that follow let go of the pool with us: a copy would keep it mounted after its end.
      await ensureSharedMountRoot(kernel, target);
      await kernel.mount({ source: device.path, target, type: 'btrfs', flags: MountFlag.noatime, options });
    } catch (error) {
      await removeSharedMountRoot(kernel, target).catch(() => undefined);
      throw error;
    } finally {
      await device.close();
    }
  }

  async #requireSame(mountPoint: string, type: string): Promise<void> {
    const uuid = type === 'btrfs' ? await new Btrfs(this.#sources.kernel).filesystemUuid(mountPoint) : undefined;
    const superblock = await readSuperblock(this.#path);
    if (uuid !== undefined && superblock.kind === 'btrfs' && superblock.uuid === uuid) return;
    const text = `something else than ${this.#path} is mounted at ${mountPoint} (${type}); unmount it or set another dataset.pool_mount`;
    throw new BackendError('pool_unreachable', text);
  }

  async #device(): Promise<LoopDevice> {
    if (this.#storage.kind === 'device') return { path: this.#storage.devicePath, close: async () => undefined };
    const { kernel, clock, signal } = this.#sources;
    const loops = new LoopDevices(kernel);
    const file = await open(this.#storage.filePath, 'r+');
    try {
      const superblock = await readSuperblock(this.#storage.filePath);
      if (superblock.kind !== 'btrfs') throw this.#foreign(superblock.kind);
      // The device keeps the lock for as long as it is bound: no file ever gets two, which btrfs takes for two disks.
      for (let waits = 0; waits < MOST_WAITS; waits += 1) {
        if (await kernel.lock(file.fd)) return await loops.attach(file, true);
        for (const { number } of await loops.bound()) {
          const device = await loops.hold(number, await file.stat({ bigint: true }));
          if (device !== undefined) return device;
        }
        await pause(clock, WAIT_MS, signal);
      }
    } finally {
      await file.close();
    }
    throw new BackendError('pool_unreachable', `${this.#path} is locked by another program; end it`);
  }

  async #ensureDevice(allowed: boolean): Promise<void> {
    const found = await readSuperblock(this.#path);
    if (found.kind === 'btrfs') return;
    if (found.kind === 'other' || !allowed) throw this.#foreign(found.kind);
    const device = await this.#locked(this.#path);
    try {
      // Another agent may have been first.
      if ((await readSuperblock(this.#path)).kind === 'blank') await makeFilesystem(this.#path, 'btrfs', this.#sources);
    } finally {
      await device.close();
    }
  }

  #foreign(kind: 'blank' | 'other'): BackendError {
    const advice =
      kind === 'other'
        ? 'holds something that is not btrfs, and is never overwritten'
        : 'is blank: set dataset.make_filesystem to true to have a btrfs made on it, or make it with mkfs.btrfs';
    return new BackendError('pool_unreachable', `the pool's ${this.#storage.kind} ${this.#path} ${advice}`);
  }

  async #locked(path: string): Promise<FileHandle> {
    const { kernel, clock, signal } = this.#sources;
    const handle = await open(path, constants.O_RDONLY);
    for (let waits = 0; waits < MOST_WAITS; waits += 1) {
      if (await kernel.lock(handle.fd)) return handle;
      await pause(clock, WAIT_MS, signal);
    }
    await handle.close();
    throw new BackendError('pool_unreachable', `${path} is locked by another program; end it`);
  }
}

/** Whether a mount is a bind mount of the directory that it is on, as a shared mount root is. */
function isItself(mount: MountEntry, table: readonly MountEntry[]): boolean {
  const below = table.filter(({ mountPoint }) => mountPoint !== mount.mountPoint);
  const place = locate(below, mount.mountPoint);
  return place?.device === mount.device && place.innerPath === mount.root;
}

import { mkdir, readdir, rmdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { errorCode } from '../../../kit/coded-error.ts';
import { type DatasetId, parseDatasetId } from '../../../kit/ids.ts';
import type { Btrfs } from '../../host/btrfs.ts';
import { type Kernel, MountFlag } from '../../host/kernel.ts';
import { type MountEntry, mountsAt, readMountTable } from '../../host/mount-table.ts';
import { locate, type StorageExtent, StorageUserSearch } from '../../host/storage-users.ts';
import { BackendError } from '../backend.ts';
import type { Quota } from './quota.ts';
import { bytesPath } from './subvolumes.ts';

/** A volume's directory, wherever in the pool it is. */
export interface VolumeDirectory {
  readonly datasetId: DatasetId;
  readonly directory: string;
}

/** What the kernel puts after the path of a mount whose directory was deleted. */
const DELETED = '//deleted';

/** The mounts of a node's volumes: bind mounts of their subvolumes below the mount root. */
export class VolumeMounts {
  readonly #kernel: Kernel;
  readonly #btrfs: Btrfs;
  readonly #quota: Quota;
  readonly #mountRoot: string;
  readonly #search = new StorageUserSearch();
  /** Volumes that were proved to be at rest since they became read-only: nobody can have come in after that. */
  readonly #resting = new Set<DatasetId>();

  constructor(kernel: Kernel, btrfs: Btrfs, quota: Quota, mountRoot: string) {
    this.#kernel = kernel;
    this.#btrfs = btrfs;
    this.#quota = quota;
    this.#mountRoot = mountRoot;
  }

  mountPoint(datasetId: string): string {
    return join(this.#mountRoot, datasetId);
  }

  async mount({ datasetId, directory }: VolumeDirectory): Promise<void> {
    const source = bytesPath(directory);
    const target = this.mountPoint(datasetId);
    if ((await this.#btrfs.subvolumeId(source)) === undefined) {
      const text = `volume ${datasetId} is not mounted: ${source} is missing or no subvolume; restore it from a copy (an empty one is never put in its place)`;
      throw new BackendError('volume_lost', text);
    }
    this.#resting.delete(datasetId);
    await this.#setReadOnly(source, false);
    await mkdir(target, { mode: 0o700 }).catch((error: unknown) => {
      if (errorCode(error) !== 'EEXIST') throw error;
    });
    await this.#kernel.mount({ source, target, type: null, flags: MountFlag.bind, options: null });
  }

  /** Takes the node's own mounts of the volume away. */
  async unmount(volume: VolumeDirectory, signal: AbortSignal): Promise<void> {
    for (const mount of (await this.ofVolume(volume, await readMountTable())).toReversed()) {
      signal.throwIfAborted();
      try {
        await this.#kernel.unmount(mount.mountPoint);
      } catch (error) {
        if (errorCode(error) !== 'EBUSY') throw error;
        throw inUse(volume, await this.#users(volume, mount.mountPoint, 'all'), mount.mountPoint);
      }
    }
  }

  /**
   * Resolves when nothing on this machine can write to the volume. A bind mount lives on in every mount namespace that
   * has a copy, some of which (of containers that are being made, or kept by a file) no process shows. So the subvolume
   * becomes read-only as well: whatever was not seen can open nothing for writing any more.
   */
  async rest(volume: VolumeDirectory): Promise<void> {
    const path = bytesPath(volume.directory);
    if ((await this.#btrfs.subvolumeId(path)) === undefined) return await this.#requireUnused(volume);
    const isReadOnly = await this.#btrfs.isReadOnly(path);
    if (isReadOnly && this.#resting.has(volume.datasetId)) return;
    // The unmount succeeded, so that only a mount elsewhere can have users; those must not find it read-only.
    await this.#requireUnused(volume, isReadOnly ? 'all' : 'mounts');
    if (!isReadOnly) await this.#close(volume, path);
    this.#resting.add(volume.datasetId);
  }

  async #close(volume: VolumeDirectory, path: string): Promise<void> {
    await this.#setReadOnly(path, true);
    try {
      // Someone may have come in between the look and the closing.
      await this.#requireUnused(volume);
    } catch (error) {
      await this.#setReadOnly(path, false);
      throw error;
    }
  }

  /** What is mounted where the volume belongs, the topmost last. Fails when any of it is not the volume. */
  async ofVolume(volume: VolumeDirectory, table: readonly MountEntry[]): Promise<readonly MountEntry[]> {
    const mounts = mountsAt(table, this.mountPoint(volume.datasetId));
    if (mounts.length === 0) return mounts;
    const { device, innerPath } = extentOf(table, volume);
    for (const mount of mounts) {
      const root = mount.root.endsWith(DELETED) ? mount.root.slice(0, -DELETED.length) : mount.root;
      if (mount.device === device && root === innerPath) continue;
      const text = `something else (${mount.type} from ${mount.source}) is mounted at ${mount.mountPoint}, where volume ${volume.datasetId} belongs; unmount it`;
      throw new BackendError('backend_failed', text);
    }
    return mounts;
  }

  /** Removes mount points that no volume of `attached` needs. */
  async removeMountPoints(attached: ReadonlySet<string>): Promise<void> {
    for (const name of await readdir(this.#mountRoot)) {
      // rmdir would also take away a mount that another mount namespace has there, hence only of what is not attached.
      if (parseDatasetId(name) !== undefined && !attached.has(name)) await this.removeMountPoint(name);
    }
  }

  async removeMountPoint(datasetId: string): Promise<void> {
    try {
      await rmdir(this.mountPoint(datasetId));
    } catch (error) {
      // With files in it, put there while nothing was mounted, it is somebody's and stays.
      if (!['ENOENT', 'ENOTEMPTY', 'ENOTDIR', 'EBUSY'].includes(errorCode(error) ?? '')) throw error;
    }
  }

  async #setReadOnly(path: string, readOnly: boolean): Promise<void> {
    await this.#quota.withRoom(path, () => this.#btrfs.setReadOnly(path, readOnly));
  }

  async #requireUnused(volume: VolumeDirectory, what: 'all' | 'mounts' = 'all'): Promise<void> {
    const users = await this.#users(volume, null, what);
    if (users.length > 0) throw inUse(volume, users, bytesPath(volume.directory));
  }

  async #users(volume: VolumeDirectory, except: string | null, what: 'all' | 'mounts'): Promise<readonly string[]> {
    const extent = extentOf(await readMountTable(), volume);
    const bytes = await stat(bytesPath(volume.directory), { bigint: true }).catch(() => undefined);
    const users = await this.#search.find(bytes === undefined ? extent : { ...extent, fileDevice: bytes.dev }, what);
    return users.filter(({ mountPoint }) => mountPoint === null || mountPoint !== except).map(({ text }) => text);
  }
}

function extentOf(table: readonly MountEntry[], { directory }: VolumeDirectory): StorageExtent {
  const extent = locate(table, bytesPath(directory));
  if (extent === undefined) throw new Error(`no mount covers ${directory}`);
  return extent;
}

function inUse({ datasetId }: VolumeDirectory, users: readonly string[], what: string): BackendError {
  const who = users.length > 0 ? users.join(', ') : 'something that is not visible to the agent';
  const text = `volume ${datasetId} is still in use: ${what} is held by ${who}; end that, then it unmounts by itself`;
  return new BackendError('volume_in_use', text);
}

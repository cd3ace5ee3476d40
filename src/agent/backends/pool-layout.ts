import { lstat, mkdir, readdir, realpath, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { syncDirectory } from '../../kit/atomic-file.ts';
import { errorCode } from '../../kit/coded-error.ts';
import { type DatasetId, type NewUuid, parseDatasetId, parseSnapshotId, type SnapshotId } from '../../kit/ids.ts';
import type { Logger } from '../../kit/logger.ts';
import { BackendError } from './backend.ts';
import { openPoolIdentity, type PoolPlace, readPoolIdentity } from './pool-identity.ts';
import { removeTree } from './remove-tree.ts';

/** Where in the pool a volume's directory is. */
export type VolumePlace =
  | { readonly kind: 'absent' }
  | { readonly kind: 'detached' | 'attached'; readonly directory: string }
  | { readonly kind: 'elsewhere'; readonly instance: string };

/** What depends on the filesystem that a pool is on. */
export interface PoolFilesystem {
  /** Makes creations, renames and removals in a directory survive a power cut. */
  syncDirectory(path: string): Promise<void>;
  /** Removes a directory and all below it; fine when it does not exist. */
  removeTree(path: string): Promise<void>;
}

const PLAIN_FILESYSTEM: PoolFilesystem = { syncDirectory, removeTree };
const INSTANCE = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/;

/**
 * The directories of a pool. A volume is one directory, `<root>/unattached/<id>` or `<root>/attached/<instance>/<id>`,
 * and changes its place by one rename(2), so that nodes that share the pool cannot both have it and no crash leaves it
 * between two places. A snapshot is one directory too, `<root>/snapshots/<id>`. `creating/<instance>` and
 * `destroying/<instance>` hold what is not yet or no longer a volume or a snapshot.
 */
export class PoolLayout {
  /** Identity of the pool. */
  readonly id: string;
  readonly #place: PoolPlace;
  readonly #newUuid: NewUuid;
  readonly #log: Logger;
  readonly #filesystem: PoolFilesystem;

  private constructor(id: string, place: PoolPlace, newUuid: NewUuid, log: Logger, filesystem: PoolFilesystem) {
    this.id = id;
    this.#place = place;
    this.#newUuid = newUuid;
    this.#log = log;
    this.#filesystem = filesystem;
  }

  /** Opens the pool at `rootPath`, making what is missing of it. */
  static async open(
    place: PoolPlace,
    newUuid: NewUuid,
    log: Logger,
    filesystem: PoolFilesystem = PLAIN_FILESYSTEM,
  ): Promise<PoolLayout> {
    const { instance, kind } = place;
    if (!INSTANCE.test(instance)) {
      throw new BackendError(
        'backend_failed',
        `"${instance}" cannot name a node in the pool: use letters, digits, . _ -`,
      );
    }
    await mkdir(place.rootPath, { recursive: true, mode: 0o700 });
    // The kernel names backing files and mounts by their real path.
    const rootPath = await realpath(place.rootPath);
    for (const part of [
      'unattached',
      'snapshots',
      `attached/${instance}`,
      `creating/${instance}`,
      `destroying/${instance}`,
    ]) {
      await mkdir(join(rootPath, part), { recursive: true, mode: 0o700 });
    }
    return new PoolLayout(
      await openPoolIdentity({ rootPath, instance, kind }, newUuid),
      { rootPath, instance, kind },
      newUuid,
      log,
      filesystem,
    );
  }

  get instance(): string {
    return this.#place.instance;
  }

  /** Real path of the pool. */
  get rootPath(): string {
    return this.#place.rootPath;
  }

  /**
   * Makes a directory in which a volume or a snapshot can be made. Every try has one of its own: an mkfs that outlives a killed agent goes
   * on writing to the path it was given, which must not be that of the next try.
   */
  async newDirectory(id: DatasetId | SnapshotId): Promise<string> {
    const directory = this.#path('creating', this.instance, `${id}.${this.#newUuid()}`);
    await mkdir(directory, { mode: 0o700 });
    return directory;
  }

  detachedPath(datasetId: DatasetId): string {
    return this.#path('unattached', datasetId);
  }

  attachedPath(datasetId: DatasetId): string {
    return this.#path('attached', this.instance, datasetId);
  }

  /** Where a volume is. Says `absent` only when the pool itself is provably there: an unmounted pool hides everything. */
  async find(datasetId: DatasetId): Promise<VolumePlace> {
    for (;;) {
      if (await this.#isVolume(this.attachedPath(datasetId))) {
        return { kind: 'attached', directory: this.attachedPath(datasetId) };
      }
      if (await this.#isVolume(this.detachedPath(datasetId))) {
        return { kind: 'detached', directory: this.detachedPath(datasetId) };
      }
      const others = await this.#otherInstances();
      for (const instance of others) {
        if (await this.#isVolume(this.#path('attached', instance, datasetId))) return { kind: 'elsewhere', instance };
      }
      // Another node's detach may have moved it behind our back from the last place to an earlier one.
      if (others.length > 0 && (await this.#isVolume(this.detachedPath(datasetId)))) continue;
      await this.verify();
      return { kind: 'absent' };
    }
  }

  /** Fails with `pool_unreachable` unless the pool that was opened still is what is found at its path. */
  async verify(): Promise<void> {
    const found = await readPoolIdentity(this.#place);
    if (found === this.id) return;
    const now = found === undefined ? 'is not there' : `is another pool (${found})`;
    throw new BackendError(
      'pool_unreachable',
      `pool ${this.id} ${now} at ${this.#place.rootPath} on node ${this.instance}: mount or restore it, then restart the agent`,
    );
  }

  /** Volumes that this node has. Entries that are no volumes are left alone and logged. */
  async listAttached(): Promise<readonly DatasetId[]> {
    await this.verify();
    const directory = this.#path('attached', this.instance);
    const ids: DatasetId[] = [];
    for (const entry of await readdir(directory, { withFileTypes: true })) {
      const id = parseDatasetId(entry.name);
      if (id === entry.name && entry.isDirectory()) ids.push(id);
      else this.#log.warn({ path: join(directory, entry.name) }, 'not a volume: ignored; move it out of the pool');
    }
    return ids;
  }

  /** Makes a finished directory a detached volume. False when the volume came to be meanwhile. */
  async publish(directory: string, datasetId: DatasetId): Promise<boolean> {
    try {
      await rename(directory, this.detachedPath(datasetId));
    } catch (error) {
      if (errorCode(error) === 'ENOTEMPTY' || errorCode(error) === 'EEXIST') return false;
      throw error;
    }
    await this.syncDetached();
    return true;
  }

  /** Takes a detached volume for this node. False when it no longer is where it was. */
  async take(datasetId: DatasetId): Promise<boolean> {
    // Not synced: a power cut also ends what uses the volume, and finding it detached afterwards is true.
    return await moved(this.detachedPath(datasetId), this.attachedPath(datasetId));
  }

  /** Where a volume is that another node has. */
  attachedPathOf(instance: string, datasetId: DatasetId): string {
    return this.#path('attached', instance, datasetId);
  }

  /**
   * Makes a volume of another node this node's. Durable: once that is reported, nobody remembers whose it was. False when it
   * no longer is where it was.
   */
  async seize(datasetId: DatasetId, from: string): Promise<boolean> {
    if (!(await moved(this.attachedPathOf(from, datasetId), this.attachedPath(datasetId)))) return false;
    await Promise.all(
      [from, this.instance].map((instance) => this.#filesystem.syncDirectory(this.#path('attached', instance))),
    );
    return true;
  }

  /** Gives an attached volume back to the pool; durable, since another node may take it on this promise. */
  async give(datasetId: DatasetId): Promise<void> {
    await rename(this.attachedPath(datasetId), this.detachedPath(datasetId));
    await Promise.all([this.syncDetached(), this.#filesystem.syncDirectory(this.#path('attached', this.instance))]);
  }

  /** Makes earlier changes among this node's volumes durable. */
  async syncAttached(): Promise<void> {
    await this.#filesystem.syncDirectory(this.#path('attached', this.instance));
  }

  /** Makes earlier changes in `unattached` durable. */
  async syncDetached(): Promise<void> {
    await this.#filesystem.syncDirectory(this.#path('unattached'));
  }

  /** Takes a detached volume out of the pool for good and frees its space. False when it no longer is where it was. */
  async remove(datasetId: DatasetId): Promise<boolean> {
    await this.discardRemains(datasetId);
    if (!(await moved(this.detachedPath(datasetId), this.#path('destroying', this.instance, datasetId)))) return false;
    await this.syncDetached();
    await this.discardRemains(datasetId);
    return true;
  }

  /** Deletes what an earlier, interrupted step of this node left of a volume that was destroyed. */
  async discardRemains(datasetId: DatasetId): Promise<void> {
    await this.removeTree(this.#path('destroying', this.instance, datasetId));
  }

  /** Removes a directory of the pool and all below it; fine when it does not exist. */
  async removeTree(path: string): Promise<void> {
    await this.#filesystem.removeTree(path);
  }

  /** The directory of a snapshot; undefined when the pool, which is provably there, has none. */
  async findSnapshot(snapshotId: SnapshotId): Promise<string | undefined> {
    const directory = this.#path('snapshots', snapshotId);
    if (await this.#isVolume(directory)) return directory;
    await this.verify();
    return undefined;
  }

  /** All snapshots of the pool. */
  async listSnapshots(): Promise<readonly SnapshotId[]> {
    await this.verify();
    const names = await readdir(this.#path('snapshots'));
    return names.flatMap((name) => parseSnapshotId(name) ?? []);
  }

  /** Makes a finished directory a snapshot. False when the snapshot came to be meanwhile. */
  async publishSnapshot(directory: string, snapshotId: SnapshotId): Promise<boolean> {
    try {
      await rename(directory, this.#path('snapshots', snapshotId));
    } catch (error) {
      if (errorCode(error) === 'ENOTEMPTY' || errorCode(error) === 'EEXIST') return false;
      throw error;
    }
    await this.syncSnapshots();
    return true;
  }

  /** Makes earlier changes in `snapshots` durable. */
  async syncSnapshots(): Promise<void> {
    await this.#filesystem.syncDirectory(this.#path('snapshots'));
  }

  /** Takes a snapshot out of the pool for good and frees its space; fine when there is none. */
  async removeSnapshot(snapshotId: SnapshotId): Promise<void> {
    await this.verify();
    // A dataset may have the same id.
    const remains = this.#path('destroying', this.instance, `snapshot.${snapshotId}`);
    await this.removeTree(remains);
    await moved(this.#path('snapshots', snapshotId), remains);
    await this.syncSnapshots();
    await this.removeTree(remains);
  }

  /** Deletes everything that this node left unfinished or half destroyed. */
  async recover(): Promise<void> {
    await this.verify();
    for (const part of ['creating', 'destroying']) {
      const directory = this.#path(part, this.instance);
      for (const name of await readdir(directory)) await this.removeTree(join(directory, name));
    }
  }

  async #otherInstances(): Promise<readonly string[]> {
    try {
      return (await readdir(this.#path('attached'))).filter((name) => name !== this.instance && INSTANCE.test(name));
    } catch (error) {
      if (errorCode(error) !== 'ENOENT') throw error;
      return [];
    }
  }

  async #isVolume(path: string): Promise<boolean> {
    try {
      if ((await lstat(path)).isDirectory()) return true;
    } catch (error) {
      if (errorCode(error) === 'ENOENT' || errorCode(error) === 'ENOTDIR') return false;
      throw error;
    }
    throw new BackendError('backend_failed', `${path} should be a volume but is no directory: move it out of the pool`);
  }

  #path(...parts: readonly string[]): string {
    return join(this.#place.rootPath, ...parts);
  }
}

async function moved(from: string, to: string): Promise<boolean> {
  try {
    await rename(from, to);
    return true;
  } catch (error) {
    if (errorCode(error) !== 'ENOENT') throw error;
    return false;
  }
}

import { chmod, mkdir, readlink, realpath, rename, rm, symlink, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { syncDirectory } from '../../../kit/atomic-file.ts';
import type { Clock } from '../../../kit/clock.ts';
import { errorCode, errorText } from '../../../kit/coded-error.ts';
import type { DatasetId, NewUuid } from '../../../kit/ids.ts';
import type { Logger } from '../../../kit/logger.ts';
import { FILESYSTEM_KEY } from '../../../model/dataset.ts';
import type { PoolReport } from '../../../model/storage-state.ts';
import type { VolumeState } from '../../../model/volume-state.ts';
import { copyTree } from '../../host/copy-tree.ts';
import { readMountTable } from '../../host/mount-table.ts';
import { locate, StorageUserSearch } from '../../host/storage-users.ts';
import { type Backend, BackendError, type VolumeRecipe } from '../backend.ts';
import { describeFilePool } from '../file-pool.ts';
import { PoolLayout } from '../pool-layout.ts';
import { PoolSnapshots, type TakeCopy } from '../pool-snapshots.ts';
import { PoolSteps } from '../pool-steps.ts';
import type { Statements } from '../statements.ts';
import { planVolume, type VolumeDefaults, wholeUnits } from '../volume-plan.ts';
import { readVolumeRecord, writeVolumeRecord } from '../volume-record.ts';

/** Below the deadline of a step. */
const COPY_TIMEOUT_MS = 280_000;

export interface DirectoryOptions extends VolumeDefaults<object> {
  /** The pool. Several nodes may share it over a network filesystem that keeps rename(2) atomic. */
  readonly rootPath: string;
  /** Volumes are found at `<mountRoot>/<dataset id>`. */
  readonly mountRoot: string;
  /** Name of this node in the pool; the same after every restart. */
  readonly instance: string;
  readonly statements: Statements;
  readonly clock: Clock;
  readonly newUuid: NewUuid;
  readonly log: Logger;
}

/**
 * Opens the backend whose volumes are plain directories; mounting one makes a symlink to it. Needs no root. Sizes are
 * recorded and reported but not enforced. Whether a volume is in use is known only of processes that the agent's user
 * may inspect, which without root are that user's own.
 */
export async function openDirectory(options: DirectoryOptions): Promise<Backend> {
  const { rootPath, instance, mountRoot } = options;
  const pool = await PoolLayout.open({ rootPath, instance, kind: 'directory' }, options.newUuid, options.log);
  await mkdir(mountRoot, { recursive: true, mode: 0o700 });
  return new Directory(options, pool, await realpath(mountRoot));
}

class Directory implements Backend {
  readonly kind = 'directory';
  readonly pool: string;
  readonly profiles: readonly string[];
  readonly #options: DirectoryOptions;
  readonly #layout: PoolLayout;
  readonly #steps: PoolSteps;
  readonly #users = new StorageUserSearch();
  readonly #mountRoot: string;
  readonly snapshots: PoolSnapshots;

  constructor(options: DirectoryOptions, layout: PoolLayout, mountRoot: string) {
    this.pool = layout.id;
    this.profiles = Object.keys(options.profiles);
    this.#options = options;
    this.#layout = layout;
    this.#steps = new PoolSteps(layout);
    this.#mountRoot = mountRoot;
    this.snapshots = new PoolSnapshots(layout, (datasetId, copy, signal) => this.#takeCopy(datasetId, copy, signal));
  }

  async recover(): Promise<void> {
    await this.#steps.explainPool('recover', () => this.#layout.recover());
  }

  async listHere(): Promise<ReadonlyMap<DatasetId, VolumeState>> {
    return await this.#steps.explainPool('list', async () => {
      const look = async (datasetId: DatasetId): Promise<readonly [DatasetId, VolumeState]> => {
        try {
          return [datasetId, await this.#look(datasetId)];
        } catch (error) {
          // It is damaged, but it is here, and no other node may be told otherwise.
          this.#options.log.warn({ datasetId, problem: errorText(error) }, 'volume cannot be used');
          return [datasetId, { kind: 'attached', sizeBytes: 0 }];
        }
      };
      return new Map(await Promise.all((await this.#layout.listAttached()).map(look)));
    });
  }

  async discover(datasetId: DatasetId): Promise<VolumeState> {
    return await this.#steps.explain('look at', datasetId, null, async () => {
      const place = await this.#layout.find(datasetId);
      if (place.kind === 'absent' || place.kind === 'elsewhere') return place;
      if (place.kind === 'attached') return await this.#look(datasetId);
      return { kind: 'detached', sizeBytes: (await readVolumeRecord(place.directory, datasetId)).sizeBytes };
    });
  }

  async create(recipe: VolumeRecipe, signal: AbortSignal): Promise<void> {
    const { datasetId, metadata } = recipe;
    await this.#steps.create(datasetId, signal, async (directory) => {
      const source = recipe.source === undefined ? null : await this.snapshots.source(recipe.source);
      const { sizeBytes, profileName, name } = planVolume(recipe, this.#options, source?.record);
      const filesystem = metadata[FILESYSTEM_KEY];
      if (filesystem !== undefined) {
        const text = `volume ${datasetId} asks for the filesystem "${filesystem}": the directory backend has none to choose; leave it out or use the loopback backend`;
        throw new BackendError('no_such_profile', text);
      }
      if (source !== null) await this.#copy(source.directory, directory, signal);
      else {
        await mkdir(bytesPath(directory));
        // Tasks run as any user; mkdir's mode is cut by the umask.
        await chmod(bytesPath(directory), 0o777);
        await syncDirectory(bytesPath(directory));
      }
      await writeVolumeRecord(directory, { datasetId, sizeBytes, filesystem: null, profile: profileName, name });
    });
  }

  async attach(datasetId: DatasetId, signal: AbortSignal): Promise<void> {
    await this.#steps.attach(datasetId, signal);
  }

  async seize(datasetId: DatasetId, from: readonly string[], signal: AbortSignal): Promise<void> {
    await this.#steps.seize(datasetId, from, signal, async (directory, move) => {
      await this.#requireUnused(datasetId, directory);
      await move();
    });
  }

  async mount(datasetId: DatasetId, signal: AbortSignal): Promise<void> {
    await this.#steps.explain('mount', datasetId, signal, async () => {
      const directory = await this.#steps.attachedDirectory('mount', datasetId);
      await readVolumeRecord(directory, datasetId);
      const target = await this.#realBytesPath(datasetId, directory);
      const path = this.#mountPoint(datasetId);
      if ((await this.#linkTarget(datasetId)) === target) return;
      const draft = `${path}.new`;
      await rm(draft, { force: true });
      await symlink(target, draft);
      await rename(draft, path);
    });
  }

  async unmount(datasetId: DatasetId, signal: AbortSignal): Promise<void> {
    await this.#steps.explain('unmount', datasetId, signal, async () => {
      const directory = await this.#steps.attachedDirectory('unmount', datasetId);
      await this.#requireUnused(datasetId, directory);
      if ((await this.#linkTarget(datasetId)) === undefined) return;
      await unlink(this.#mountPoint(datasetId));
      // Someone may have come in between the look and the removal.
      await this.#requireUnused(datasetId, directory);
    });
  }

  async detach(datasetId: DatasetId, signal: AbortSignal): Promise<void> {
    await this.#steps.detach(datasetId, signal, async (directory, move) => {
      if ((await this.#linkTarget(datasetId)) !== undefined) {
        throw new BackendError('backend_failed', `volume ${datasetId} is still mounted; unmount it before the detach`);
      }
      await this.#requireUnused(datasetId, directory);
      await move();
    });
  }

  async destroy(datasetId: DatasetId, signal: AbortSignal): Promise<void> {
    await this.#steps.destroy(datasetId, signal);
  }

  describePool(signal: AbortSignal): Promise<PoolReport> {
    return this.#steps.explainPool('measure', () => describeFilePool(this.#layout, this.#options.statements, signal));
  }

  /** Sizes are not enforced, so it is a matter of record. */
  async grow(datasetId: DatasetId, sizeBytes: number, signal: AbortSignal): Promise<void> {
    await this.#steps.explain('grow', datasetId, signal, async () => {
      const directory = await this.#steps.attachedDirectory('grow', datasetId);
      const record = await readVolumeRecord(directory, datasetId);
      const grown = wholeUnits(datasetId, sizeBytes, this.#options.allocationUnitBytes);
      if (grown > record.sizeBytes) await writeVolumeRecord(directory, { ...record, sizeBytes: grown });
    });
  }

  /** What is written while it is copied may be in the copy or not: a plain directory has no instants. */
  async #takeCopy(datasetId: DatasetId, copy: string, signal: AbortSignal): ReturnType<TakeCopy> {
    const directory = await this.#steps.attachedDirectory('take a snapshot of', datasetId);
    const { sizeBytes } = await readVolumeRecord(directory, datasetId);
    await this.#realBytesPath(datasetId, directory);
    const takenAtMs = this.#options.clock.wallMs();
    await this.#copy(directory, copy, signal);
    return { sizeBytes, takenAtMs, filesystem: null };
  }

  async #copy(from: string, to: string, signal: AbortSignal): Promise<void> {
    const surroundings = { clock: this.#options.clock, signal, timeoutMs: COPY_TIMEOUT_MS };
    await copyTree(bytesPath(from), bytesPath(to), surroundings);
  }

  async #look(datasetId: DatasetId): Promise<VolumeState> {
    const directory = this.#layout.attachedPath(datasetId);
    const { sizeBytes } = await readVolumeRecord(directory, datasetId);
    if ((await this.#linkTarget(datasetId)) !== bytesPath(directory)) return { kind: 'attached', sizeBytes };
    return { kind: 'mounted', sizeBytes, path: join(this.#options.mountRoot, datasetId) };
  }

  async #realBytesPath(datasetId: DatasetId, directory: string): Promise<string> {
    const path = bytesPath(directory);
    const real = await realpath(path).catch((error: unknown) => {
      if (errorCode(error) === 'ENOENT') return undefined;
      throw error;
    });
    if (real === path) return path;
    const text = `volume ${datasetId} is not mounted: ${path} is ${real === undefined ? 'missing' : 'a symlink'}; restore it from a copy (an empty one is never put in its place)`;
    throw new BackendError('volume_lost', text);
  }

  /** Where the volume's symlink leads; undefined when there is none. */
  async #linkTarget(datasetId: DatasetId): Promise<string | undefined> {
    const path = this.#mountPoint(datasetId);
    try {
      return await readlink(path);
    } catch (error) {
      if (errorCode(error) === 'ENOENT') return undefined;
      if (errorCode(error) !== 'EINVAL') throw error;
      const text = `${path}, where volume ${datasetId} belongs, is something else than a symlink; move it away`;
      throw new BackendError('backend_failed', text, { cause: error });
    }
  }

  async #requireUnused(datasetId: DatasetId, directory: string): Promise<void> {
    const extent = locate(await readMountTable(), directory);
    if (extent === undefined) throw new Error(`no mount covers ${directory}`);
    const users = await this.#users.find(extent);
    if (users.length === 0) return;
    const who = users.map(({ text }) => text).join(', ');
    throw new BackendError(
      'volume_in_use',
      `volume ${datasetId} is still in use by ${who}; end that, then it unmounts by itself`,
    );
  }

  #mountPoint(datasetId: DatasetId): string {
    return join(this.#mountRoot, datasetId);
  }
}

/** The directory within a volume's directory that tasks get. */
function bytesPath(directory: string): string {
  return join(directory, 'data');
}

import { mkdir, readdir, realpath, rmdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { errorCode } from '../../kit/coded-error.ts';
import { KeyedQueue } from '../../kit/keyed-queue.ts';
import { type Kernel, MountFlag } from './kernel.ts';
import { readMountTable } from './mount-table.ts';
import { ensureSharedMountRoot, removeSharedMountRoot } from './shared-mount-root.ts';

/** MS_RDONLY, MS_NOSUID, MS_NODEV, MS_REMOUNT of mount(2): a bind mount becomes read-only only by a remount. */
const READ_ONLY_REMOUNT = 1 | 2 | 4 | 32 | MountFlag.bind;

/** Second mounts of volumes that nobody can write through, each at `<directory>/<name>`. Bind mounts of one stay read-only. */
export class ReadOnlyViews {
  readonly #kernel: Kernel;
  readonly #directory: string;
  readonly #queue = new KeyedQueue<string>();

  constructor(kernel: Kernel, directory: string) {
    this.#kernel = kernel;
    this.#directory = directory;
  }

  /** Shows what is at `path`; resolves with where. Doing it again changes nothing. */
  open(name: string, path: string): Promise<string> {
    return this.#queue.run(name, async () => {
      const root = await this.#queue.run('', () => ensureSharedMountRoot(this.#kernel, this.#directory));
      const target = join(root, name);
      await mkdir(target, { recursive: true, mode: 0o700 });
      const [volume, shown] = await Promise.all([stat(path), stat(target)]);
      if (volume.dev !== shown.dev || volume.ino !== shown.ino) {
        await this.#unmount(target);
        await this.#kernel.mount({ source: path, target, type: null, flags: MountFlag.bind, options: null });
      }
      await this.#kernel.mount({ source: null, target, type: null, flags: READ_ONLY_REMOUNT, options: null });
      return target;
    });
  }

  /** Ends a view; one that is not there is fine. Fails with `EBUSY` while something on the host uses it. */
  close(name: string): Promise<void> {
    return this.#queue.run(name, async () => {
      try {
        const target = join(await realpath(this.#directory), name);
        await this.#unmount(target);
        await rmdir(target);
      } catch (error) {
        if (errorCode(error) !== 'ENOENT') throw error;
      }
    });
  }

  /** Ends all views but those of `names`, as after a crash. */
  async closeOthers(names: ReadonlySet<string>): Promise<void> {
    const found = await readdir(this.#directory).catch((error: unknown) => {
      if (errorCode(error) === 'ENOENT') return [];
      throw error;
    });
    for (const name of found) if (!names.has(name)) await this.close(name);
  }

  /** Ends all views and what they were made in. */
  async remove(): Promise<void> {
    await this.closeOthers(new Set());
    await removeSharedMountRoot(this.#kernel, this.#directory);
  }

  async #unmount(target: string): Promise<void> {
    const table = await readMountTable();
    for (const _ of table.filter(({ mountPoint }) => mountPoint === target)) await this.#kernel.unmount(target);
  }
}

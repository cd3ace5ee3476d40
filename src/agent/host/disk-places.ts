import { chmod, mkdir, readdir, readlink, realpath, rmdir, stat, symlink, unlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { syncDirectory } from '../../kit/atomic-file.ts';
import { errorCode } from '../../kit/coded-error.ts';
import { KeyedQueue } from '../../kit/keyed-queue.ts';
import { type Kernel, MountFlag } from './kernel.ts';
import { mountsAt, readMountTable } from './mount-table.ts';
import { ensureSharedMountRoot } from './shared-mount-root.ts';

/**
 * Second mounts of volumes at `<root>/<id>/target`, where a Mesos agent looks for the disk `id`: it changes the owner of
 * that path without following links, so it has to be a mount point. A link in `directory` says where each is, before it is
 * made and until it is gone, so that none is forgotten.
 */
export class DiskPlaces {
  readonly #kernel: Kernel;
  readonly #directory: string;
  readonly #queue = new KeyedQueue<string>();

  constructor(kernel: Kernel, directory: string) {
    this.#kernel = kernel;
    this.#directory = directory;
  }

  /** Shows what is at `path`; resolves with where. Doing it again changes nothing. */
  open(id: string, path: string, root: string): Promise<string> {
    return this.#queue.run(id, async () => {
      const present = await this.#present(id, path, root);
      if (present !== undefined) return present;
      const shared = await this.#queue.run('', () => this.#ensureRoot(root));
      const target = join(shared, id, 'target');
      const before = await this.#recorded(id);
      if (before !== undefined && before !== target) await this.#close(id, before);
      if (before !== target) await this.#record(id, target);
      await mkdir(target, { recursive: true, mode: 0o755 });
      if (!(await isSame(path, target))) {
        await this.#unmount(target);
        await this.#kernel.mount({ source: path, target, type: null, flags: MountFlag.bind, options: null });
      }
      return target;
    });
  }

  /** Ends a mount; one that is not there is fine. Fails with `EBUSY` while something on the host uses it. */
  close(id: string): Promise<void> {
    return this.#queue.run(id, async () => {
      const target = await this.#recorded(id);
      if (target !== undefined) await this.#close(id, target);
    });
  }

  /** Ends all but those of `ids`, as after a crash. */
  async closeOthers(ids: ReadonlySet<string>): Promise<void> {
    const found = await readdir(this.#directory).catch((error: unknown) => {
      if (errorCode(error) === 'ENOENT') return [];
      throw error;
    });
    for (const id of found) if (!ids.has(id)) await this.close(id);
  }

  /** Where it is, when all is as it should be: every start of a task asks for all disks of its agent. */
  async #present(id: string, path: string, root: string): Promise<string | undefined> {
    try {
      const [target, shared] = await Promise.all([this.#recorded(id), realpath(root)]);
      if (target === undefined || target !== join(shared, id, 'target')) return undefined;
      return (await isSame(path, target)) ? target : undefined;
    } catch (error) {
      if (errorCode(error) === 'ENOENT') return undefined;
      throw error;
    }
  }

  /** Tasks of other users reach their disks through links in their sandboxes, so they have to get past the root. */
  async #ensureRoot(root: string): Promise<string> {
    await mkdir(dirname(root), { recursive: true, mode: 0o755 });
    const shared = await ensureSharedMountRoot(this.#kernel, root);
    await chmod(shared, 0o711);
    return shared;
  }

  async #recorded(id: string): Promise<string | undefined> {
    try {
      return await readlink(join(this.#directory, id));
    } catch (error) {
      if (errorCode(error) === 'ENOENT') return undefined;
      throw error;
    }
  }

  async #record(id: string, target: string): Promise<void> {
    await mkdir(this.#directory, { recursive: true, mode: 0o700 });
    await symlink(target, join(this.#directory, id));
    await syncDirectory(this.#directory);
  }

  async #close(id: string, target: string): Promise<void> {
    await this.#unmount(target);
    for (const path of [target, dirname(target)]) {
      await rmdir(path).catch((error: unknown) => {
        if (errorCode(error) !== 'ENOENT') throw error;
      });
    }
    await unlink(join(this.#directory, id));
  }

  async #unmount(target: string): Promise<void> {
    for (const _ of mountsAt(await readMountTable(), target)) await this.#kernel.unmount(target);
  }
}

async function isSame(path: string, other: string): Promise<boolean> {
  const [one, two] = await Promise.all([stat(path), stat(other)]);
  return one.dev === two.dev && one.ino === two.ino;
}

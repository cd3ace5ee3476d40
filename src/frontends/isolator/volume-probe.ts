import { opendir, stat, statfs } from 'node:fs/promises';
import { errorCode, errorText } from '../../kit/coded-error.ts';

/** Size and use of a mounted filesystem. */
export interface FilesystemUse {
  readonly limitBytes: number;
  readonly usedBytes: number;
  readonly inodes: number;
  readonly usedInodes: number;
}

/** What a look at a volume's root directory showed; `identity` is of that directory and no other. */
export type SeenRoot =
  | { readonly kind: 'seen'; readonly identity: string }
  | { readonly kind: 'gone'; readonly problem: string }
  | { readonly kind: 'unclear' };

/** What a filesystem that cannot be used any more answers. Others, as too many open files, say nothing about it. */
const GONE: ReadonlySet<string> = new Set([
  ...['EIO', 'ENXIO', 'ENODEV', 'ENOENT', 'ENOTDIR', 'ESTALE', 'ENOTCONN', 'ESHUTDOWN', 'EUCLEAN'],
]);

/**
 * Looks at mounted volumes. A look at storage that hangs occupies one of libuv's few threads, so there is never a second
 * one at the same path while the first has no answer.
 */
export class VolumeProbe {
  readonly #running = new Map<string, Promise<unknown>>();

  use(path: string): Promise<FilesystemUse> {
    return this.#once(`use ${path}`, async () => {
      const { bsize, blocks, bfree, files, ffree } = await statfs(path);
      return {
        limitBytes: blocks * bsize,
        usedBytes: (blocks - bfree) * bsize,
        inodes: files,
        usedInodes: files - ffree,
      };
    });
  }

  /** Reads the root directory of the volume that should be mounted at `path`. */
  root(path: string): Promise<SeenRoot> {
    return this.#once(`root ${path}`, async () => {
      try {
        const { dev, ino } = await stat(path);
        const directory = await opendir(path);
        try {
          await directory.read();
        } finally {
          await directory.close();
        }
        return { kind: 'seen', identity: `${dev}:${ino}` };
      } catch (error) {
        if (!GONE.has(errorCode(error) ?? '')) return { kind: 'unclear' };
        return { kind: 'gone', problem: errorText(error) };
      }
    });
  }

  #once<T>(key: string, work: () => Promise<T>): Promise<T> {
    const running = this.#running.get(key) as Promise<T> | undefined;
    if (running !== undefined) return running;
    const begun = work().finally(() => this.#running.delete(key));
    this.#running.set(key, begun);
    return begun;
  }
}

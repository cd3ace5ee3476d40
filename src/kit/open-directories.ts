import {
  closeSync,
  constants,
  fchmodSync,
  fchownSync,
  fstatSync,
  lstatSync,
  mkdirSync,
  openSync,
  readlinkSync,
  rmdirSync,
} from 'node:fs';
import { errorCode } from './coded-error.ts';

/** Throws the caller's own error; the words follow the path in a message. */
type Refuse = (problem: string) => never;

/** open(2); Node has no name for it. */
const O_PATH = 0o10000000;

/**
 * A directory and those on the way to it, all open, each opened within the one before: nothing that others change meanwhile can lead
 * elsewhere. Its calls are not asynchronous: each is a matter of microseconds, and libuv's pool would take longer.
 */
export class OpenDirectories {
  readonly #root: string;
  readonly #flags: number;
  readonly #refuse: Refuse;
  readonly #open: { readonly name: string; readonly fd: number }[];

  private constructor(root: string, fd: number, flags: number, refuse: Refuse) {
    this.#root = root;
    this.#flags = flags;
    this.#refuse = refuse;
    this.#open = [{ name: '', fd }];
  }

  /**
   * At a directory. `refuse` throws the caller's own error with these words about the path. `mayRead`: each directory has to be readable,
   * as what is made gets the owner of the directory it is in; otherwise only a way through them is needed.
   */
  static at(root: string, refuse: Refuse, mayRead: boolean): OpenDirectories {
    const flags = (mayRead ? constants.O_RDONLY : O_PATH) | constants.O_DIRECTORY;
    return new OpenDirectories(root, openSync(root, flags), flags | constants.O_NOFOLLOW, refuse);
  }

  get names(): string[] {
    return this.#open.slice(1).map(({ name }) => name);
  }

  /** The path of `name` in the present directory, for messages. */
  text(name: string): string {
    return [this.#root.replace(/\/$/, ''), ...this.names, name].join('/');
  }

  /** The path of `name` in the present directory, wherever that has been moved to: what openat(2) is for. */
  within(name: string): string {
    return `/proc/self/fd/${this.#open.at(-1)?.fd ?? -1}/${name}`;
  }

  enter(name: string): 'entered' | 'missing' | { readonly link: string } {
    try {
      this.#open.push({ name, fd: openSync(this.within(name), this.#flags) });
      return 'entered';
    } catch (error) {
      const code = errorCode(error);
      if (code === 'ENOENT') return 'missing';
      if (code !== 'ENOTDIR' && code !== 'ELOOP') throw error;
      const entry = lstatSync(this.within(name), { throwIfNoEntry: false });
      if (entry?.isSymbolicLink() === true) return { link: this.#linkAt(name) };
      if (entry?.isDirectory() !== false) return this.#changed(name);
      return this.#refuse(`is not possible: ${this.text(name)} is not a directory`);
    }
  }

  /** Makes a directory and enters it; one that came meanwhile is entered as it is. */
  make(name: string): void {
    try {
      mkdirSync(this.within(name), { mode: 0o755 });
    } catch (error) {
      if (errorCode(error) === 'ENOENT') this.#changed(name);
      if (errorCode(error) !== 'EEXIST') throw error;
    }
    if (this.enter(name) !== 'entered') this.#changed(name);
  }

  /** The same, with the owner of the directory it is in. */
  makeLikeParent(name: string): void {
    const parent = this.#open.at(-1)?.fd ?? -1;
    this.make(name);
    const made = this.#open.at(-1)?.fd ?? -1;
    const { uid, gid } = fstatSync(parent);
    fchownSync(made, uid, gid);
    fchmodSync(made, 0o755);
  }

  remove(name: string): void {
    rmdirSync(this.within(name));
  }

  leave(): void {
    if (this.#open.length < 2) this.#refuse('has a symbolic link that leads out of the image');
    const left = this.#open.pop();
    if (left !== undefined) closeSync(left.fd);
  }

  leaveAll(): void {
    while (this.#open.length > 1) this.leave();
  }

  close(): void {
    for (const { fd } of this.#open.splice(0)) closeSync(fd);
  }

  #linkAt(name: string): string {
    try {
      return readlinkSync(this.within(name));
    } catch {
      // It was a link a moment ago.
      return this.#changed(name);
    }
  }

  #changed(name: string): never {
    return this.#refuse(`was changed meanwhile, at ${this.text(name)}`);
  }
}

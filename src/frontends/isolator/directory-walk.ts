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
import { errorCode } from '../../kit/coded-error.ts';
import { IsolatorError } from './isolator-error.ts';

/** Where a walk along a path ended. */
export interface Walked {
  /** Names from the root to the deepest directory that exists, symbolic links resolved. */
  readonly present: readonly string[];
  /** Names that do not exist yet, below that. */
  readonly missing: readonly string[];
}

// The calls here are not asynchronous: each is a matter of microseconds in the Mesos agent's own directory, and through
// libuv's pool a dozen of them would take longer than everything else that a container needs.

const DIRECTORY_ONLY = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW;
const MOST_LINKS = 40;

interface Step {
  readonly name: string;
  readonly fromLink: boolean;
}

/**
 * Follows `names` below `root` directory by directory, each opened within the one before, so that nothing that changes
 * meanwhile can lead out. `links`: a symbolic link is refused, or followed as something with `root` as its root directory
 * would see it. Fails with `bad_path`; changes nothing.
 */
export function walk(root: string, names: readonly string[], links: 'refuse' | 'inside'): Walked {
  const open = OpenDirectories.at(root);
  try {
    const steps: Step[] = names.map((name) => ({ name, fromLink: false }));
    for (let linkCount = 0; ; ) {
      const step = steps.shift();
      if (step === undefined) return { present: open.names, missing: [] };
      if (step.name === '..') {
        open.leave();
        continue;
      }
      const found = open.enter(step.name);
      if (found === 'entered') continue;
      if (found === 'missing') {
        const rest = [step, ...steps];
        if (rest.some(({ name, fromLink }) => fromLink || name === '..'))
          refuse(`has a symbolic link that leads to nothing, at ${open.text(step.name)}`);
        return { present: open.names, missing: rest.map(({ name }) => name) };
      }
      linkCount += 1;
      if (links === 'refuse') refuse(`has a symbolic link in it, ${open.text(step.name)}`);
      if (linkCount > MOST_LINKS) refuse('has too many symbolic links in it');
      if (found.link.startsWith('/')) open.leaveAll();
      steps.unshift(...partsOf(found.link).map((name) => ({ name, fromLink: true })));
    }
  } finally {
    open.close();
  }
}

/** Makes directories `names` below `root`, each with the owner of the one it is in; those present are left as they are. */
export function makeDirectories(root: string, names: readonly string[]): void {
  const open = OpenDirectories.at(root);
  try {
    for (const name of names) {
      const found = open.enter(name);
      if (found === 'missing') open.make(name);
      else if (found !== 'entered') refuse(`was changed meanwhile, at ${open.text(name)}`);
    }
  } finally {
    open.close();
  }
}

/** Removes the directory `names` below `root` if it is reached without symbolic links. Fails unless it is empty. */
export function removeDirectory(root: string, names: readonly string[]): void {
  const last = names.at(-1);
  if (last === undefined) return;
  const open = OpenDirectories.at(root);
  try {
    for (const name of names.slice(0, -1)) if (open.enter(name) !== 'entered') return;
    rmdirSync(open.within(last));
  } finally {
    open.close();
  }
}

/** Names in a path; neither empty ones nor dots. */
export function partsOf(path: string): string[] {
  return path.split('/').filter((part) => part !== '' && part !== '.');
}

/** A directory and those on the way to it, all open. */
class OpenDirectories {
  readonly #root: string;
  readonly #open: { readonly name: string; readonly fd: number }[];

  private constructor(root: string, fd: number) {
    this.#root = root;
    this.#open = [{ name: '', fd }];
  }

  static at(root: string): OpenDirectories {
    return new OpenDirectories(root, openSync(root, constants.O_RDONLY | constants.O_DIRECTORY));
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
      this.#open.push({ name, fd: openSync(this.within(name), DIRECTORY_ONLY) });
      return 'entered';
    } catch (error) {
      const code = errorCode(error);
      if (code === 'ENOENT') return 'missing';
      if (code !== 'ENOTDIR' && code !== 'ELOOP') throw error;
      const entry = lstatSync(this.within(name), { throwIfNoEntry: false });
      if (entry?.isSymbolicLink() === true) return { link: readlinkSync(this.within(name)) };
      return refuse(`is not possible: ${this.text(name)} is not a directory`);
    }
  }

  make(name: string): void {
    const parent = this.#open.at(-1)?.fd ?? -1;
    try {
      mkdirSync(this.within(name), { mode: 0o755 });
    } catch (error) {
      if (errorCode(error) !== 'EEXIST') throw error;
    }
    if (this.enter(name) !== 'entered') refuse(`was changed meanwhile, at ${this.text(name)}`);
    const made = this.#open.at(-1)?.fd ?? -1;
    const { uid, gid } = fstatSync(parent);
    fchownSync(made, uid, gid);
    fchmodSync(made, 0o755);
  }

  leave(): void {
    if (this.#open.length < 2) refuse('has a symbolic link that leads out of the image');
    const left = this.#open.pop();
    if (left !== undefined) closeSync(left.fd);
  }

  leaveAll(): void {
    while (this.#open.length > 1) this.leave();
  }

  close(): void {
    for (const { fd } of this.#open.splice(0)) closeSync(fd);
  }
}

function refuse(problem: string): never {
  throw new IsolatorError('bad_path', problem);
}

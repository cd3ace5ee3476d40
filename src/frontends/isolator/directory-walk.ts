import { constants } from 'node:fs';
import { type FileHandle, lstat, mkdir, open, readlink, rmdir } from 'node:fs/promises';
import { errorCode } from '../../kit/coded-error.ts';
import { IsolatorError } from './isolator-error.ts';

/** Where a walk along a path ended. */
export interface Walked {
  /** Names from the root to the deepest directory that exists, symbolic links resolved. */
  readonly present: readonly string[];
  /** Names that do not exist yet, below that. */
  readonly missing: readonly string[];
}

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
export async function walk(root: string, names: readonly string[], links: 'refuse' | 'inside'): Promise<Walked> {
  const open = await OpenDirectories.at(root);
  try {
    const steps: Step[] = names.map((name) => ({ name, fromLink: false }));
    for (let linkCount = 0; ; ) {
      const step = steps.shift();
      if (step === undefined) return { present: open.names, missing: [] };
      if (step.name === '..') {
        await open.leave();
        continue;
      }
      const found = await open.enter(step.name);
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
      if (found.link.startsWith('/')) await open.leaveAll();
      steps.unshift(...partsOf(found.link).map((name) => ({ name, fromLink: true })));
    }
  } finally {
    await open.close();
  }
}

/** Makes directories `names` below `root`, each with the owner of the one it is in; those present are left as they are. */
export async function makeDirectories(root: string, names: readonly string[]): Promise<void> {
  const open = await OpenDirectories.at(root);
  try {
    for (const name of names) {
      const found = await open.enter(name);
      if (found === 'missing') await open.make(name);
      else if (found !== 'entered') refuse(`was changed meanwhile, at ${open.text(name)}`);
    }
  } finally {
    await open.close();
  }
}

/** Removes the directory `names` below `root` if it is there, empty, and reached without symbolic links. */
export async function removeDirectory(root: string, names: readonly string[]): Promise<void> {
  const last = names.at(-1);
  const open = await OpenDirectories.at(root).catch(() => undefined);
  if (open === undefined || last === undefined) return;
  try {
    for (const name of names.slice(0, -1)) if ((await open.enter(name)) !== 'entered') return;
    await rmdir(open.within(last)).catch(() => undefined);
  } finally {
    await open.close();
  }
}

/** Names in a path; neither empty ones nor dots. */
export function partsOf(path: string): string[] {
  return path.split('/').filter((part) => part !== '' && part !== '.');
}

/** A directory and those on the way to it, all open. */
class OpenDirectories {
  readonly #root: string;
  readonly #open: { readonly name: string; readonly handle: FileHandle }[];

  private constructor(root: string, handle: FileHandle) {
    this.#root = root;
    this.#open = [{ name: '', handle }];
  }

  static async at(root: string): Promise<OpenDirectories> {
    return new OpenDirectories(root, await open(root, constants.O_RDONLY | constants.O_DIRECTORY));
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
    return `/proc/self/fd/${this.#open.at(-1)?.handle.fd ?? -1}/${name}`;
  }

  async enter(name: string): Promise<'entered' | 'missing' | { readonly link: string }> {
    try {
      this.#open.push({ name, handle: await open(this.within(name), DIRECTORY_ONLY) });
      return 'entered';
    } catch (error) {
      const code = errorCode(error);
      if (code === 'ENOENT') return 'missing';
      if (code !== 'ENOTDIR' && code !== 'ELOOP') throw error;
      const entry = await lstat(this.within(name)).catch(() => undefined);
      if (entry?.isSymbolicLink() === true) return { link: await readlink(this.within(name)) };
      return refuse(`is not possible: ${this.text(name)} is not a directory`);
    }
  }

  async make(name: string): Promise<void> {
    const parent = this.#open.at(-1)?.handle;
    await mkdir(this.within(name), { mode: 0o755 }).catch((error: unknown) => {
      if (errorCode(error) !== 'EEXIST') throw error;
    });
    if ((await this.enter(name)) !== 'entered') refuse(`was changed meanwhile, at ${this.text(name)}`);
    const [owner, made] = [await parent?.stat(), this.#open.at(-1)?.handle];
    if (owner === undefined || made === undefined) return;
    await made.chown(owner.uid, owner.gid);
    await made.chmod(0o755);
  }

  async leave(): Promise<void> {
    if (this.#open.length < 2) refuse('has a symbolic link that leads out of the image');
    await this.#open.pop()?.handle.close();
  }

  async leaveAll(): Promise<void> {
    while (this.#open.length > 1) await this.leave();
  }

  async close(): Promise<void> {
    for (const { handle } of this.#open.splice(0)) await handle.close();
  }
}

function refuse(problem: string): never {
  throw new IsolatorError('bad_path', problem);
}

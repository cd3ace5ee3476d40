import { OpenDirectories } from '../../kit/open-directories.ts';
import { IsolatorError } from './isolator-error.ts';

/** Where a walk along a path ended. */
export interface Walked {
  /** Names from the root to the deepest directory that exists, symbolic links resolved. */
  readonly present: readonly string[];
  /** Names that do not exist yet, below that. */
  readonly missing: readonly string[];
}

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
  const open = OpenDirectories.at(root, refuse, true);
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
  const open = OpenDirectories.at(root, refuse, true);
  try {
    for (const name of names) {
      const found = open.enter(name);
      if (found === 'missing') open.makeLikeParent(name);
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
  const open = OpenDirectories.at(root, refuse, true);
  try {
    for (const name of names.slice(0, -1)) if (open.enter(name) !== 'entered') return;
    open.remove(last);
  } finally {
    open.close();
  }
}

/** Names in a path; neither empty ones nor dots. */
export function partsOf(path: string): string[] {
  return path.split('/').filter((part) => part !== '' && part !== '.');
}

function refuse(problem: string): never {
  throw new IsolatorError('bad_path', problem);
}

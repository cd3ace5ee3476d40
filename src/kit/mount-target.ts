import { normalize } from 'node:path';

/** Neither these nor anything below: what is there belongs to the system. */
const SYSTEM_TREES = /^\/(?:proc|sys|dev|etc|run|usr|bin|sbin|lib[^/]*|boot)(?:\/|$)/;
/** Not these themselves, as too much depends on what is in them; below them is fine. */
const SYSTEM_ROOTS: ReadonlySet<string> = new Set(['/', '/root', '/home', '/var', '/var/run', '/var/lib']);

/**
 * Why a volume must not be mounted at `path`, or undefined when it may. Only the text is looked at: a path with symbolic
 * links has to be checked again once they are resolved.
 */
export function targetProblem(path: string): string | undefined {
  if (!path.startsWith('/')) return 'is not an absolute path';
  if (path.length > 4095) return 'is longer than 4095 characters';
  if (/[\p{Cc}\p{Cs}]/u.test(path)) return 'has control characters';
  if (path.split('/').includes('..')) return 'has ".." in it';
  const plain = plainPath(path);
  if (SYSTEM_ROOTS.has(plain) || SYSTEM_TREES.test(plain))
    return 'belongs to the system; mount it elsewhere, as in /data';
  return undefined;
}

/** Without doubled slashes, single dots and a slash at the end. */
export function plainPath(path: string): string {
  const plain = normalize(path).replace(/\/+$/, '');
  return plain === '' ? '/' : plain;
}

/** Whether `path` is `ancestor` or below it. */
export function isWithin(path: string, ancestor: string): boolean {
  return path === ancestor || path.startsWith(ancestor === '/' ? '/' : `${ancestor}/`);
}

import { relative } from 'node:path';
import { bytesOf, type FileCall } from './file-calls.ts';
import { DiskFile, type DiskNode, type LossyDisk } from './lossy-disk.ts';

/** What a descriptor is of: something below the root, or standard output, on which a program says what it acknowledges. */
type Open =
  | { readonly node: DiskNode; readonly path: readonly string[]; offset: number; readonly appends: boolean }
  | 'output';

/** Something that happened: the disk changed, or the program acknowledged something. */
export type Happening =
  | { readonly kind: 'call'; readonly text: string }
  | { readonly kind: 'said'; readonly line: string };

/** Plays the calls of a program below `root` on a {@link LossyDisk}, and stops after each that changed it. */
export function* replay(calls: readonly FileCall[], root: string, disk: LossyDisk): Generator<Happening> {
  const descriptors = new Map<number, Open>([[1, 'output']]);
  /** What a descriptor meant when the call began: it may be another's when it ends. */
  const meant = new Map<FileCall, Open>();
  const instants = calls.flatMap((call) => [
    { at: call.began, call, ends: false },
    { at: call.ended, call, ends: true },
  ]);
  instants.sort((a, b) => a.at - b.at || Number(a.ends) - Number(b.ends));
  for (const { call, ends } of instants) {
    const number = Number(call.args[0]);
    if (ends) {
      const open = meant.get(call);
      const path = open === undefined ? onPath(call, root, disk, descriptors) : onDescriptor(call, open);
      if (path !== undefined) yield { kind: 'call', text: `${call.name} ${path.join('/')}` };
      continue;
    }
    const open = PATH_CALLS.has(call.name) ? undefined : descriptors.get(number);
    if (call.name === 'close') descriptors.delete(number);
    else if (open !== undefined) meant.set(call, open);
    if (open !== 'output' || call.name !== 'write') continue;
    for (const line of bytesOf(call.args[1]).toString().trimEnd().split('\n')) yield { kind: 'said', line };
  }
}

/** Symbolic links are left out: the store's only one leads to its lock, which has no content. */
const PATH_CALLS: ReadonlySet<string> = new Set(['open', 'openat', 'rename', 'link', 'unlink', 'rmdir', 'mkdir']);

/** The names below the root of what it changed. */
function onPath(
  { name, args, result, ended: at }: FileCall,
  root: string,
  disk: LossyDisk,
  descriptors: Map<number, Open>,
): readonly string[] | undefined {
  const paths = args.flatMap((arg) => (PATH_CALLS.has(name) || name.endsWith('at') ? (below(root, arg) ?? []) : []));
  const [first, second] = paths;
  if (first === undefined) return undefined;
  switch (name) {
    case 'open':
    case 'openat': {
      const flags = args.find((arg) => arg.startsWith('O_')) ?? '';
      const isNew = flags.includes('O_CREAT') && disk.find(first) === undefined;
      if (isNew) disk.create(first, 'file', at);
      const node = disk.find(first);
      if (node === undefined) throw new Error(`${first.join('/')} was opened and is not there in the model`);
      descriptors.set(result, { node, path: first, offset: 0, appends: flags.includes('O_APPEND') });
      if (isNew || !flags.includes('O_TRUNC')) return isNew ? first : undefined;
      (node as DiskFile).edit({ kind: 'truncate', size: 0, at });
      return first;
    }
    case 'rename':
    case 'link':
      if (second === undefined) throw new Error(`${name} from or to elsewhere is not modelled`);
      disk[name](first, second, at);
      return second;
    case 'unlink':
    case 'rmdir':
      disk.remove(first, at);
      return first;
    case 'mkdir':
      disk.create(first, 'directory', at);
      return first;
    default:
      throw new Error(`${name} is not modelled`);
  }
}

function onDescriptor({ name, args, result, began, ended: at }: FileCall, open: Open): readonly string[] | undefined {
  if (open === 'output') return undefined;
  const { node, path } = open;
  if (name === 'fsync' || name === 'fdatasync') node.sync(began);
  else if (!(node instanceof DiskFile)) throw new Error(`${name} of a directory is not modelled`);
  else if (name === 'ftruncate') node.edit({ kind: 'truncate', size: Number(args[1]), at });
  else if (name === 'write' || name === 'pwrite64') {
    const data = bytesOf(args[1]).subarray(0, result);
    const offset = name === 'pwrite64' ? Number(args[3]) : open.appends ? node.size : open.offset;
    if (name === 'write') open.offset = offset + result;
    node.edit({ kind: 'write', offset, data, at });
  } else throw new Error(`${name} is not modelled`);
  return path;
}

/** The names below the root that a path leads through, if the argument is such a path. */
function below(root: string, arg: string): [readonly string[]] | undefined {
  if (!arg.startsWith('"')) return undefined;
  const path = relative(root, bytesOf(arg).toString());
  if (path.startsWith('..') || path.startsWith('/')) return undefined;
  return [path === '' ? [] : path.split('/')];
}

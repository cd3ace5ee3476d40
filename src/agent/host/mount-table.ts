import { readFile } from 'node:fs/promises';

/** One line of a mountinfo file (proc(5)). */
export interface MountEntry {
  readonly id: number;
  readonly parentId: number;
  /** Device of the filesystem, `major:minor`. */
  readonly device: string;
  /** The path within the filesystem that is mounted; `/` unless it is a bind mount of a part. */
  readonly root: string;
  readonly mountPoint: string;
  /** Propagation peer group; null when the mount is not shared. */
  readonly peerGroup: number | null;
  readonly type: string;
  readonly source: string;
  /** Options of the filesystem, as the kernel writes them. */
  readonly options: string;
}

/** Mounts of a mount namespace in the order they were made; by default of this process. */
export async function readMountTable(path = '/proc/self/mountinfo'): Promise<readonly MountEntry[]> {
  return parseMountTable(await readFile(path, 'utf8'));
}

/** Entries of a mountinfo text; lines of an unknown shape are left out. */
export function parseMountTable(text: string): readonly MountEntry[] {
  return text.split('\n').flatMap((line) => parseLine(line) ?? []);
}

/** Mounts stacked at `mountPoint`, the topmost last. */
export function mountsAt(table: readonly MountEntry[], mountPoint: string): readonly MountEntry[] {
  return table.filter((entry) => entry.mountPoint === mountPoint);
}

function parseLine(line: string): MountEntry | undefined {
  const fields = line.split(' ');
  const separator = fields.indexOf('-', 6);
  const [id, parentId, device, root, mountPoint] = fields;
  const [type, source, options = ''] = fields.slice(separator + 1);
  if (separator < 0 || mountPoint === undefined || root === undefined || device === undefined) return undefined;
  if (type === undefined || source === undefined) return undefined;
  const shared = fields.slice(6, separator).find((field) => field.startsWith('shared:'));
  return {
    id: Number(id),
    parentId: Number(parentId),
    device,
    root: unescape(root),
    mountPoint: unescape(mountPoint),
    peerGroup: shared === undefined ? null : Number(shared.slice('shared:'.length)),
    type: unescape(type),
    source: unescape(source),
    options,
  };
}

/** The kernel writes space, tab, newline and backslash as three octal digits. */
function unescape(field: string): string {
  return field.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)));
}

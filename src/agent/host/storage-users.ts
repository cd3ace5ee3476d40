import { readdir, readFile, readlink, stat } from 'node:fs/promises';
import { type MountEntry, readMountTable } from './mount-table.ts';

/** A part of a filesystem: everything at and below `innerPath`, a path within the filesystem on `device`. */
export interface StorageExtent {
  /** `major:minor` as in {@link MountEntry}. */
  readonly device: string;
  readonly innerPath: string;
  /**
   * `st_dev` of all files in it and of no others, if there is such a number. With it, files are found that are open through
   * a mount that was detached from its namespace (`umount -l`): their paths say nothing any more.
   */
  readonly fileDevice?: bigint;
}

/** Who has a part of a filesystem in use, in words that tell a person what to stop. */
export interface StorageUser {
  /** `pid 12 (sleep)` or `mount at /mnt/x`, with the mount namespace when it is not ours. */
  readonly text: string;
  readonly mountPoint: string | null;
}

const PROCESSES_AT_ONCE = 16;

/**
 * Finds processes with an open file, working directory, root or program in the extent, and mounts of it, in all mount
 * namespaces that have a process this user may inspect. Reads links and tables under /proc, which never wait for a
 * filesystem, so a hung disk cannot hang the search. To find only the mounts costs a fraction of it.
 */
export async function findStorageUsers(
  extent: StorageExtent,
  what: 'all' | 'mounts' = 'all',
): Promise<readonly StorageUser[]> {
  return (await findUsersOfEach([extent], what)).get(extent) ?? [];
}

/** The same for several extents in one search, which costs hardly more than for one. */
export async function findUsersOfEach(
  extents: readonly StorageExtent[],
  what: 'all' | 'mounts' = 'all',
): Promise<ReadonlyMap<StorageExtent, readonly StorageUser[]>> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const ownNamespace = await link('/proc/self/ns/mnt');
  const tables = new Map<string, Promise<readonly MountEntry[]>>();
  const users = new Map(extents.map((extent): [StorageExtent, StorageUser[]] => [extent, []]));

  const inspect = async (pid: string): Promise<void> => {
    const namespace = await link(`/proc/${pid}/ns/mnt`);
    if (namespace === undefined) return;
    let reading = tables.get(namespace);
    if (reading === undefined) {
      reading = readMountTable(`/proc/${pid}/mountinfo`).catch(() => []);
      tables.set(namespace, reading);
      const where = namespace === ownNamespace ? '' : ` in the mount namespace of ${await processText(pid)}`;
      for (const { device, root, mountPoint } of await reading) {
        for (const [extent, found] of users) {
          if (!within({ device, innerPath: root }, extent)) continue;
          found.push({ text: `mount at ${mountPoint}${where}`, mountPoint });
        }
      }
    }
    if (what === 'mounts') return;
    for (const extent of await opened(pid, await reading, extents)) {
      users.get(extent)?.push({ text: await processText(pid), mountPoint: null });
    }
  };

  for (let first = 0; first < pids.length; first += PROCESSES_AT_ONCE) {
    await Promise.all(pids.slice(first, first + PROCESSES_AT_ONCE).map(inspect));
  }
  return users;
}

/** Where a real path lies in its filesystem; undefined when no mount of `table` covers it. */
export function locate(table: readonly MountEntry[], path: string): StorageExtent | undefined {
  let best: MountEntry | undefined;
  for (const entry of table) {
    const covers = isBelow(path, entry.mountPoint);
    if (covers && (best === undefined || entry.mountPoint.length >= best.mountPoint.length)) best = entry;
  }
  if (best === undefined) return undefined;
  const rest = best.mountPoint === '/' ? path : path.slice(best.mountPoint.length);
  const innerPath = best.root === '/' ? rest || '/' : `${best.root}${rest === '/' ? '' : rest}`;
  return { device: best.device, innerPath };
}

/** Those of `extents` in which a process has something open. */
async function opened(
  pid: string,
  table: readonly MountEntry[],
  extents: readonly StorageExtent[],
): Promise<ReadonlySet<StorageExtent>> {
  const devices = extents.flatMap((extent) => (extent.fileDevice === undefined ? [] : extent));
  const found = new Set<StorageExtent>();
  const look = async (name: string): Promise<void> => {
    const path = await link(`/proc/${pid}/${name}`);
    if (path === undefined || !path.startsWith('/')) return;
    const place = locate(table, path);
    for (const extent of extents) if (place !== undefined && within(place, extent)) found.add(extent);
    if (devices.length === 0 || !name.startsWith('fd/')) return;
    const device = await deviceThroughDetachedMount(pid, name.slice('fd/'.length), table);
    for (const extent of devices) if (extent.fileDevice === device) found.add(extent);
  };
  const files = await readdir(`/proc/${pid}/fd`).catch(() => []);
  await Promise.all(['cwd', 'root', 'exe', ...files.map((file) => `fd/${file}`)].map(look));
  return found;
}

/** `st_dev` of an open file whose mount is in no table; undefined for all others. */
async function deviceThroughDetachedMount(
  pid: string,
  fd: string,
  table: readonly MountEntry[],
): Promise<bigint | undefined> {
  const described = await readFile(`/proc/${pid}/fdinfo/${fd}`, 'utf8').catch(() => '');
  const mountId = /^mnt_id:\s*(\d+)$/m.exec(described)?.[1];
  if (mountId === undefined || table.some(({ id }) => id === Number(mountId))) return undefined;
  // Only now is the file itself looked at, which may wait for its filesystem.
  return (await stat(`/proc/${pid}/fd/${fd}`, { bigint: true }).catch(() => undefined))?.dev;
}

function within(place: StorageExtent, extent: StorageExtent): boolean {
  return place.device === extent.device && isBelow(place.innerPath, extent.innerPath);
}

function isBelow(path: string, directory: string): boolean {
  return directory === '/' ? path.startsWith('/') : path === directory || path.startsWith(`${directory}/`);
}

async function processText(pid: string): Promise<string> {
  const command = await readFile(`/proc/${pid}/comm`, 'utf8').catch(() => '?');
  return `pid ${pid} (${command.trim()})`;
}

/** Processes end and others forbid to look: both count as "not a user". */
function link(path: string): Promise<string | undefined> {
  return readlink(path).catch(() => undefined);
}

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
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const ownNamespace = await link('/proc/self/ns/mnt');
  const tables = new Map<string, Promise<readonly MountEntry[]>>();
  const users: StorageUser[] = [];

  const inspect = async (pid: string): Promise<void> => {
    const namespace = await link(`/proc/${pid}/ns/mnt`);
    if (namespace === undefined) return;
    let reading = tables.get(namespace);
    if (reading === undefined) {
      reading = readMountTable(`/proc/${pid}/mountinfo`).catch(() => []);
      tables.set(namespace, reading);
      const where = namespace === ownNamespace ? '' : ` in the mount namespace of ${await processText(pid)}`;
      for (const { device, root, mountPoint } of await reading) {
        if (within({ device, innerPath: root }, extent))
          users.push({ text: `mount at ${mountPoint}${where}`, mountPoint });
      }
    }
    const table = await reading;
    if (what === 'all' && (await opens(pid, table, extent)))
      users.push({ text: await processText(pid), mountPoint: null });
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

async function opens(pid: string, table: readonly MountEntry[], extent: StorageExtent): Promise<boolean> {
  const files = await readdir(`/proc/${pid}/fd`).catch(() => []);
  const links = ['cwd', 'root', 'exe', ...files.map((file) => `fd/${file}`)];
  const looks = links.map(async (name) => {
    const path = await link(`/proc/${pid}/${name}`);
    if (path === undefined || !path.startsWith('/')) return false;
    const place = locate(table, path);
    if (place !== undefined && within(place, extent)) return true;
    return (
      name.startsWith('fd/') &&
      extent.fileDevice !== undefined &&
      (await isThroughDetachedMount(pid, name.slice('fd/'.length), table, extent.fileDevice))
    );
  });
  return (await Promise.all(looks)).some(Boolean);
}

async function isThroughDetachedMount(
  pid: string,
  fd: string,
  table: readonly MountEntry[],
  fileDevice: bigint,
): Promise<boolean> {
  const described = await readFile(`/proc/${pid}/fdinfo/${fd}`, 'utf8').catch(() => '');
  const mountId = /^mnt_id:\s*(\d+)$/m.exec(described)?.[1];
  if (mountId === undefined || table.some(({ id }) => id === Number(mountId))) return false;
  // Only now is the file itself looked at, which may wait for its filesystem.
  const stats = await stat(`/proc/${pid}/fd/${fd}`, { bigint: true }).catch(() => undefined);
  return stats?.dev === fileDevice;
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

import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { readdir, readFile, readlink, stat } from 'node:fs/promises';
import { setImmediate as otherWork } from 'node:timers/promises';
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
const NO_DEVICES: ReadonlySet<bigint | undefined> = new Set();

/** Mounts only, which costs a fraction, or also what processes have open. */
type SearchFor = 'all' | 'mounts';
/** What a search found, by the extent that was asked for. */
type Found = ReadonlyMap<StorageExtent, readonly StorageUser[]>;

/**
 * Searches for many who ask: those who come while a search runs share the one after it. Every answer is of a search that
 * began after the question.
 */
export class StorageUserSearch {
  #last: Promise<unknown> = Promise.resolve();
  readonly #next = new Map<SearchFor, { readonly extents: StorageExtent[]; readonly found: Promise<Found> }>();

  /** As {@link findStorageUsers}. */
  async find(extent: StorageExtent, what: SearchFor = 'all'): Promise<readonly StorageUser[]> {
    const { extents, found } = this.#next.get(what) ?? this.#open(what);
    extents.push(extent);
    return (await found).get(extent) ?? [];
  }

  #open(what: SearchFor): { readonly extents: StorageExtent[]; readonly found: Promise<Found> } {
    const extents: StorageExtent[] = [];
    const found = this.#last.then(() => {
      this.#next.delete(what);
      return search(extents, what);
    });
    this.#last = found.catch(() => undefined);
    const next = { extents, found };
    this.#next.set(what, next);
    return next;
  }
}

/**
 * Finds processes with an open file, working directory, root or program in the extent, and mounts of it, in all mount
 * namespaces that have a process this user may inspect. Reads only links and tables under /proc, which never wait for
 * a filesystem, so a hung disk cannot hang the search.
 */
export async function findStorageUsers(extent: StorageExtent): Promise<readonly StorageUser[]> {
  return (await search([extent], 'all')).get(extent) ?? [];
}

async function search(extents: readonly StorageExtent[], what: SearchFor): Promise<Found> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const ownNamespace = await link('/proc/self/ns/mnt');
  const tables = new Map<string, Promise<readonly MountEntry[]>>();
  const found = new Map<StorageExtent, StorageUser[]>(extents.map((extent) => [extent, []]));

  const inspect = async (pid: string): Promise<void> => {
    const namespace = await link(`/proc/${pid}/ns/mnt`);
    if (namespace === undefined) return;
    let reading = tables.get(namespace);
    if (reading === undefined) {
      reading = readMountTable(`/proc/${pid}/mountinfo`).catch(() => []);
      tables.set(namespace, reading);
      const where = namespace === ownNamespace ? '' : ` in the mount namespace of ${await processText(pid)}`;
      for (const { device, root, mountPoint } of await reading) {
        for (const [extent, users] of found)
          if (within({ device, innerPath: root }, extent))
            users.push({ text: `mount at ${mountPoint}${where}`, mountPoint });
      }
    }
    if (what === 'mounts') return;
    const table = await reading;
    const links = linksOf(pid);
    const places = placesOf(links, table);
    const wantsDevices = extents.some(({ fileDevice }) => fileDevice !== undefined);
    const devices = wantsDevices ? await devicesThroughDetachedMounts(pid, links, table) : NO_DEVICES;
    for (const [extent, users] of found) {
      const isUser = places.some((place) => within(place, extent)) || devices.has(extent.fileDevice);
      if (isUser) users.push({ text: await processText(pid), mountPoint: null });
    }
  };

  for (let first = 0; first < pids.length; first += PROCESSES_AT_ONCE) {
    await Promise.all(pids.slice(first, first + PROCESSES_AT_ONCE).map(inspect));
    await otherWork();
  }
  return found;
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

/**
 * What a process has open, by the name of its link under /proc. Not asynchronous: a link under /proc is read in
 * microseconds, and there are thousands. Through libuv's pool each would cost ten times that, for every volume that leaves
 * this node.
 */
function linksOf(pid: string): ReadonlyMap<string, string> {
  const names = ['cwd', 'root', 'exe'];
  try {
    names.push(...readdirSync(`/proc/${pid}/fd`).map((file) => `fd/${file}`));
  } catch {
    // It has ended, or does not let us look.
  }
  const links = new Map<string, string>();
  for (const name of names) {
    try {
      const path = readlinkSync(`/proc/${pid}/${name}`);
      if (path.startsWith('/')) links.set(name, path);
    } catch {
      // As above, or the file was closed meanwhile.
    }
  }
  return links;
}

function placesOf(links: ReadonlyMap<string, string>, table: readonly MountEntry[]): StorageExtent[] {
  return [...new Set(links.values())].flatMap((path) => locate(table, path) ?? []);
}

/** `st_dev` of the files that a process has open through mounts that are in no table. */
async function devicesThroughDetachedMounts(
  pid: string,
  links: ReadonlyMap<string, string>,
  table: readonly MountEntry[],
): Promise<ReadonlySet<bigint | undefined>> {
  const attached = new Set(table.map(({ id }) => id));
  const devices = new Set<bigint | undefined>();
  for (const name of links.keys()) {
    if (!name.startsWith('fd/') || attached.has(mountIdOf(pid, name.slice('fd/'.length)))) continue;
    // Only now is the file itself looked at, which may wait for its filesystem.
    const stats = await stat(`/proc/${pid}/${name}`, { bigint: true }).catch(() => undefined);
    if (stats !== undefined) devices.add(stats.dev);
  }
  return devices;
}

function mountIdOf(pid: string, fd: string): number {
  try {
    return Number(/^mnt_id:\s*(\d+)$/m.exec(readFileSync(`/proc/${pid}/fdinfo/${fd}`, 'utf8'))?.[1]);
  } catch {
    return Number.NaN;
  }
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

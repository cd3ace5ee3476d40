import { readdirSync, readlinkSync } from 'node:fs';
import { readdir, readFile, readlink } from 'node:fs/promises';
import { setImmediate as otherWork } from 'node:timers/promises';
import { type MountEntry, readMountTable } from './mount-table.ts';

/** A part of a filesystem: everything at and below `innerPath`, a path within the filesystem on `device`. */
export interface StorageExtent {
  /** `major:minor` as in {@link MountEntry}. */
  readonly device: string;
  readonly innerPath: string;
}

/** Who has a part of a filesystem in use, in words that tell a person what to stop. */
export interface StorageUser {
  /** `pid 12 (sleep)` or `mount at /mnt/x`, with the mount namespace when it is not ours. */
  readonly text: string;
  readonly mountPoint: string | null;
}

const PROCESSES_AT_ONCE = 16;

/** What a search found, by the extent that was asked for. */
type Found = ReadonlyMap<StorageExtent, readonly StorageUser[]>;

/**
 * Searches for many who ask: those who come while a search runs share the one after it. Every answer is of a search that
 * began after the question.
 */
export class StorageUserSearch {
  #last: Promise<unknown> = Promise.resolve();
  #next: { readonly extents: StorageExtent[]; readonly found: Promise<Found> } | undefined;

  /** As {@link findStorageUsers}. */
  async find(extent: StorageExtent): Promise<readonly StorageUser[]> {
    if (this.#next === undefined) {
      const extents: StorageExtent[] = [];
      const found = this.#last.then(() => {
        this.#next = undefined;
        return search(extents);
      });
      this.#next = { extents, found };
      this.#last = found.catch(() => undefined);
    }
    const { extents, found } = this.#next;
    extents.push(extent);
    return (await found).get(extent) ?? [];
  }
}

/**
 * Finds processes with an open file, working directory, root or program in the extent, and mounts of it, in all mount
 * namespaces that have a process this user may inspect. Reads only links and tables under /proc, which never wait for
 * a filesystem, so a hung disk cannot hang the search.
 */
export async function findStorageUsers(extent: StorageExtent): Promise<readonly StorageUser[]> {
  return (await search([extent])).get(extent) ?? [];
}

async function search(extents: readonly StorageExtent[]): Promise<Found> {
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
    const table = await reading;
    const places = placesOf(pid, table);
    for (const [extent, users] of found) {
      if (places.some((place) => within(place, extent))) users.push({ text: await processText(pid), mountPoint: null });
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
 * Where the files are that a process has open. Not asynchronous: a link under /proc is read in microseconds, and there are
 * thousands. Through libuv's pool each would cost ten times that, for every volume that leaves this node.
 */
function placesOf(pid: string, table: readonly MountEntry[]): StorageExtent[] {
  const names = ['cwd', 'root', 'exe'];
  try {
    names.push(...readdirSync(`/proc/${pid}/fd`).map((file) => `fd/${file}`));
  } catch {
    // It has ended, or does not let us look.
  }
  const paths = new Set<string>();
  for (const name of names) {
    try {
      paths.add(readlinkSync(`/proc/${pid}/${name}`));
    } catch {
      // As above, or the file was closed meanwhile.
    }
  }
  return [...paths].flatMap((path) => (path.startsWith('/') ? (locate(table, path) ?? []) : []));
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

import { readdir, readFile, readlink, realpath, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { type MountEntry, readMountTable } from './mount-table.ts';

/** A physical disk as the kernel knows it. */
export interface Disk {
  readonly name: string;
  /** Bus of the device: `scsi`, `nvme`, `virtio`, … */
  readonly transport: string;
  readonly rotational: boolean;
}

/** Where the kernel tells of devices and mounts; another place in tests. */
export interface KernelTables {
  readonly sysPath: string;
  readonly mountTable: () => Promise<readonly MountEntry[]>;
  /** `major:minor` of the filesystem with the file at a path. */
  readonly deviceOf: (path: string) => Promise<string>;
}

const OWN_TABLES: KernelTables = { sysPath: '/sys', mountTable: readMountTable, deviceOf };
/** Loop devices on filesystems on loop devices: nobody stacks more than this but by mistake. */
const DEEPEST_STACK = 8;
/** Their drivers have no way to learn what is below: the flag is the kernel's preset, whatever the host has. */
const BLIND_TRANSPORTS: ReadonlySet<string> = new Set(['virtio', 'xen', 'xen-backend']);

/** What the disks below the directory at `path` are; null when they differ or the kernel does not say. */
export async function mediaOf(path: string, tables = OWN_TABLES): Promise<'ssd' | 'hdd' | 'nvme' | null> {
  return mediaOfDisks(await disksBelow(path, tables));
}

/** The media that all of `disks` have; null when there are none or one is unknown. */
export function mediaOfDisks(disks: readonly Disk[]): 'ssd' | 'hdd' | 'nvme' | null {
  const media = new Set(disks.map(mediaOfDisk));
  return media.size === 1 ? ([...media][0] ?? null) : null;
}

/**
 * The disks that hold the filesystem at `path`, looked up through partitions, loop devices, device mapper, RAID and btrfs.
 * Empty when there is one among them that is no disk of this machine: in memory, on the network, in an overlay.
 */
export async function disksBelow(path: string, tables = OWN_TABLES): Promise<readonly Disk[]> {
  const disks = await disksOfPath(path, tables, DEEPEST_STACK);
  return disks === undefined ? [] : [...new Map(disks.map((disk) => [disk.name, disk])).values()];
}

type Found = readonly Disk[] | undefined;

async function disksOfPath(path: string, tables: KernelTables, left: number): Promise<Found> {
  if (left === 0) return undefined;
  const device = await tables.deviceOf(path);
  if (!device.startsWith('0:')) return disksOfDevice(device, tables, left);
  // btrfs gives each subvolume a device number of its own that no block device has.
  const mount = covering(await tables.mountTable(), await realpath(path));
  if (mount?.type !== 'btrfs' || !mount.source.startsWith('/dev/')) return undefined;
  const member = basename(await realpath(mount.source));
  const filesystems = join(tables.sysPath, 'fs/btrfs');
  for (const filesystem of await names(filesystems)) {
    const devices = join(filesystems, filesystem, 'devices');
    const members = await names(devices);
    if (members.includes(member)) return all(members.map((name) => disksOfLink(join(devices, name), tables, left)));
  }
  return undefined;
}

async function disksOfLink(path: string, tables: KernelTables, left: number): Promise<Found> {
  const device = await text(join(path, 'dev'));
  return device === undefined ? undefined : disksOfDevice(device, tables, left);
}

async function disksOfDevice(device: string, tables: KernelTables, left: number): Promise<Found> {
  const directory = await realpath(join(tables.sysPath, 'dev/block', device)).catch(() => undefined);
  if (directory === undefined || left === 0) return undefined;
  const isPartition = (await text(join(directory, 'partition'))) !== undefined;
  const disk = isPartition ? dirname(directory) : directory;
  const backingFile = await text(join(disk, 'loop/backing_file'));
  if (backingFile !== undefined) {
    return disksOfPath(backingFile, tables, left - 1).catch(() => undefined);
  }
  const slaves = await names(join(disk, 'slaves'));
  if (slaves.length > 0) return all(slaves.map((name) => disksOfLink(join(disk, 'slaves', name), tables, left - 1)));
  const bus = await readlink(join(disk, 'device/subsystem')).catch(() => undefined);
  const rotational = await text(join(disk, 'queue/rotational'));
  // Only what hangs on a bus is a disk: zram, nbd and the like are not.
  if (bus === undefined || rotational === undefined) return undefined;
  return [{ name: basename(disk), transport: basename(bus), rotational: rotational !== '0' }];
}

function mediaOfDisk({ name, transport, rotational }: Disk): 'ssd' | 'hdd' | 'nvme' | null {
  if (name.startsWith('nvme')) return 'nvme';
  if (BLIND_TRANSPORTS.has(transport)) return null;
  return rotational ? 'hdd' : 'ssd';
}

async function all(looks: readonly Promise<Found>[]): Promise<Found> {
  const found = await Promise.all(looks);
  const known = found.flatMap((disks) => (disks === undefined ? [] : [disks]));
  return known.length === found.length ? known.flat() : undefined;
}

function covering(table: readonly MountEntry[], path: string): MountEntry | undefined {
  const covers = ({ mountPoint }: MountEntry): boolean =>
    mountPoint === '/' || path === mountPoint || path.startsWith(`${mountPoint}/`);
  return table.filter(covers).reduce<MountEntry | undefined>((best, entry) => {
    return best === undefined || entry.mountPoint.length >= best.mountPoint.length ? entry : best;
  }, undefined);
}

async function deviceOf(path: string): Promise<string> {
  const { dev } = await stat(path, { bigint: true });
  // As the C library packs both into one number.
  const major = ((dev >> 8n) & 0xfffn) | ((dev >> 32n) & ~0xfffn);
  const minor = (dev & 0xffn) | ((dev >> 12n) & 0xffffff00n);
  return `${major}:${minor}`;
}

/** Names in a directory of the kernel; none when it is not there. */
function names(directory: string): Promise<readonly string[]> {
  return readdir(directory).catch(() => []);
}

function text(path: string): Promise<string | undefined> {
  return readFile(path, 'utf8').then(
    (content) => content.trim(),
    () => undefined,
  );
}

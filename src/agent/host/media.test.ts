import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, open, readFile, realpath, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { geteuid } from 'node:process';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { disksBelow, mediaOf, mediaOfDisks } from './media.ts';
import type { MountEntry } from './mount-table.ts';

const run = promisify(execFile);
const canLoop = geteuid?.() === 0 && (await stat('/dev/loop-control').catch(() => undefined)) !== undefined;

let directory: string;
beforeEach(async () => {
  directory = await realpath(await mkdtemp(join(tmpdir(), 'media-')));
});
afterEach(() => rm(directory, { recursive: true }));

describe('media of disks', () => {
  const disk = (transport: string, rotational: boolean, name = 'sda'): Parameters<typeof mediaOfDisks>[0][number] => ({
    ...{ name, transport, rotational },
  });
  it.each([
    ['hdd', [disk('scsi', true)]],
    ['ssd', [disk('scsi', false)]],
    ['nvme', [disk('nvme', false, 'nvme0n1')]],
    ['ssd', [disk('scsi', false), disk('scsi', false, 'sdb')]],
    [null, [disk('scsi', false), disk('scsi', true, 'sdb')]],
    [null, [disk('virtio', true, 'vda')]],
    [null, [disk('virtio', false, 'vda')]],
    [null, []],
  ])('is %s for %j', (media, disks) => {
    expect(mediaOfDisks(disks)).toBe(media);
  });
});

describe('disks of this machine', () => {
  it('are those that the kernel names, with the flag it has', async () => {
    const disks = await disksBelow('/');
    for (const { name, transport, rotational } of disks) {
      const flag = await readFile(`/sys/block/${name}/queue/rotational`, 'utf8');
      expect(rotational).toBe(flag.trim() === '1');
      expect(transport).not.toBe('');
    }
  });

  it('are not told of memory', async () => {
    expect(await disksBelow('/proc')).toEqual([]);
    expect(await mediaOf('/proc')).toBeNull();
  });

  it.skipIf(!canLoop)('are found behind a loop device (skipped without root)', async () => {
    const image = join(directory, 'image');
    const target = join(directory, 'mounted');
    const file = await open(image, 'wx');
    await file.truncate(16 * 2 ** 20);
    await file.close();
    await mkdir(target);
    await run('mkfs.ext4', ['-q', image]);
    await run('mount', ['-o', 'loop', image, target]);
    try {
      expect((await stat(target)).dev).not.toBe((await stat(directory)).dev);
      expect(await disksBelow(target)).toEqual(await disksBelow(directory));
    } finally {
      await run('umount', [target]);
    }
  });
});

describe('disks of a machine with other devices', () => {
  const sysPath = (...rest: readonly string[]): string => join(directory, 'sys', ...rest);
  const put = async (path: string, content: string): Promise<void> => {
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, `${content}\n`);
  };
  const point = async (path: string, target: string): Promise<void> => {
    await mkdir(dirname(path), { recursive: true });
    await mkdir(target, { recursive: true });
    await symlink(relative(dirname(path), target), path);
  };
  /** A block device below /sys/devices with its number; returns its directory. */
  const device = async (name: string, number: string, parts: Readonly<Record<string, string>>): Promise<string> => {
    const place = sysPath('devices', name);
    await put(join(place, 'dev'), number);
    for (const [part, content] of Object.entries(parts)) await put(join(place, part), content);
    await point(sysPath('dev/block', number), place);
    return place;
  };
  const disk = async (name: string, number: string, bus: string, rotational: '0' | '1'): Promise<string> => {
    const place = await device(name, number, { 'queue/rotational': rotational });
    await point(join(place, 'device/subsystem'), sysPath('bus', bus));
    return place;
  };
  const media = (
    device: string,
    { mounts = [], path = directory }: { readonly mounts?: readonly MountEntry[]; readonly path?: string } = {},
  ): ReturnType<typeof mediaOf> =>
    mediaOf(path, {
      sysPath: sysPath(),
      mountTable: () => Promise.resolve(mounts),
      deviceOf: () => Promise.resolve(device),
    });

  it('looks through a partition', async () => {
    const whole = await disk('sda', '8:0', 'scsi', '1');
    await put(join(whole, 'sda1/partition'), '1');
    await point(sysPath('dev/block/8:1'), join(whole, 'sda1'));
    expect(await media('8:1')).toBe('hdd');
  });

  it('looks through the devices of a mapping, and says nothing when one of them is no disk', async () => {
    const [one, two] = [await disk('nvme0n1', '259:0', 'nvme', '0'), await disk('nvme1n1', '259:1', 'nvme', '0')];
    const mapping = await device('dm-0', '252:0', { 'queue/rotational': '0' });
    await point(join(mapping, 'slaves/nvme0n1'), one);
    await point(join(mapping, 'slaves/nvme1n1'), two);
    expect(await media('252:0')).toBe('nvme');
    await point(join(mapping, 'slaves/zram0'), await device('zram0', '253:0', { 'queue/rotational': '0' }));
    expect(await media('252:0')).toBeNull();
  });

  it('says nothing of devices that hang on no bus, and where the kernel tells nothing', async () => {
    expect(await media('43:0')).toBeNull();
    await device('nbd0', '43:0', { 'queue/rotational': '0' });
    expect(await media('43:0')).toBeNull();
  });

  it('does not follow a loop device into itself', async () => {
    await device('loop0', '7:0', { 'loop/backing_file': join(directory, 'image') });
    await writeFile(join(directory, 'image'), '');
    expect(await media('7:0')).toBeNull();
  });

  it('looks at every device of a btrfs, whose files have device numbers of their own', async () => {
    const entry = {
      id: 1,
      parentId: 0,
      device: '0:77',
      root: '/',
      mountPoint: directory,
      peerGroup: null,
      options: 'rw',
    };
    const mounts = [{ ...entry, type: 'btrfs', source: '/dev/null' }];
    const members = sysPath('fs/btrfs/53b74927-7931-44b8-90b3-c8ffd77bed55/devices');
    await point(join(members, 'null'), await disk('sda', '8:0', 'scsi', '0'));
    await point(join(members, 'sdb'), await disk('sdb', '8:16', 'scsi', '0'));
    expect(await media('0:78', { mounts })).toBe('ssd');
    await point(join(members, 'sdc'), await disk('sdc', '8:32', 'scsi', '1'));
    expect(await media('0:78', { mounts })).toBeNull();
    expect(await media('0:78', { mounts: [{ ...entry, type: 'nfs4', source: 'server:/pool' }] })).toBeNull();
  });
});

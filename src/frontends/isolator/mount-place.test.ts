import { execFile } from 'node:child_process';
import {
  chmod,
  chown,
  mkdir,
  mkdtemp,
  readdir,
  realpath,
  rename,
  rm,
  rmdir,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type MountPlace, makePlace, planPlace, type Surroundings, unmakePlaces } from './mount-place.ts';

const isRoot = process.getuid?.() === 0;
let base: string;
let directory: string;
let rootfs: string;

beforeEach(async () => {
  base = await mkdtemp(join(await realpath(tmpdir()), 'flocker-place-'));
  directory = join(base, 'sandbox');
  rootfs = join(base, 'rootfs');
  await mkdir(directory);
  await mkdir(join(rootfs, 'usr/share'), { recursive: true });
  await mkdir(join(rootfs, 'run'));
});
afterEach(() => rm(base, { recursive: true, force: true }));

function around(image: boolean, allowedPaths: readonly string[] = []): Surroundings {
  return { directory, rootfs: image ? rootfs : undefined, sandboxDirectory: '/mnt/mesos/sandbox', allowedPaths };
}

/** Plans, makes and says where it is; checks that planning changed nothing and that unmaking takes all away. */
async function place(path: string, surroundings: Surroundings): Promise<MountPlace> {
  const before = await everything();
  const planned = await planPlace(path, surroundings, false);
  expect(await everything()).toEqual(before);
  makePlace(planned);
  return planned;
}

async function everything(): Promise<string[]> {
  // readdir would follow links.
  const { stdout } = await promisify(execFile)('find', [base, '-printf', '%P %y %U\\n']);
  return stdout.split('\n').sort();
}

describe('planPlace', () => {
  it('follows the table of Mesos', async () => {
    const inSandbox = await place('a/b', around(false));
    expect(inSandbox.target).toBe(join(directory, 'a/b'));
    expect((await stat(join(directory, 'a/b'))).isDirectory()).toBe(true);

    const mapped = await place('c', around(true));
    expect(mapped.target).toBe(join(rootfs, 'mnt/mesos/sandbox/c'));
    expect((await stat(join(directory, 'c'))).isDirectory()).toBe(true);
    expect(await readdir(rootfs)).toEqual(['run', 'usr']);

    const inImage = await place('/usr/share/html/site', around(true));
    expect(inImage.target).toBe(join(rootfs, 'usr/share/html/site'));
    expect((await stat(inImage.target)).isDirectory()).toBe(true);

    const throughImage = await place('/mnt/mesos/sandbox/d/', around(true));
    expect(throughImage).toMatchObject({ target: mapped.target.replace(/c$/, 'd'), seenAt: '/mnt/mesos/sandbox/d' });
    expect((await stat(join(directory, 'd'))).isDirectory()).toBe(true);
  });

  it.skipIf(!isRoot)('takes a host path only where it exists already', async () => {
    const host = join(base, 'data');
    await expect(place(host, around(false))).rejects.toThrow('does not exist on this node');
    await mkdir(host);
    expect(await place(host, around(false))).toMatchObject({ target: host, missing: [] });
    await symlink(host, join(base, 'link'));
    expect(await place(join(base, 'link'), around(false))).toMatchObject({ target: host });
    await writeFile(join(base, 'file'), '');
    await expect(place(join(base, 'file'), around(false))).rejects.toThrow('is not a directory');
  });

  it.skipIf(!isRoot)('makes a missing host path in /tmp only where DVDI did, and leaves it', async () => {
    const host = join('/tmp', `flocker-place-${process.pid}`, 'deep');
    try {
      await expect(planPlace(host, around(false), false)).rejects.toThrow('does not exist');
      const planned = await planPlace(host, around(false), true);
      makePlace(planned);
      expect(planned.target).toBe(host);
      expect((await stat(host)).isDirectory()).toBe(true);
    } finally {
      await rm(join(host, '..'), { recursive: true, force: true });
    }
  });

  it('takes away what it made and nothing else', async () => {
    await mkdir(join(directory, 'a'));
    const places = [await place('a/b/c', around(false)), await place('/srv/x', around(true))];
    await writeFile(join(rootfs, 'srv/kept'), '');
    unmakePlaces(places);
    unmakePlaces(places);
    expect(await readdir(directory, { recursive: true })).toEqual(['a']);
    expect(await readdir(join(rootfs, 'srv'))).toEqual(['kept']);
  });

  it.each([
    ['..'],
    ['../other'],
    ['a/../../b'],
    ['/data/../etc'],
    ['.'],
    ['./'],
    ['a\0b'],
    ['a\nb'],
    ['x'.repeat(256)],
    ['a/'.repeat(1600)],
    ['link'],
    ['link/x'],
    ['out/x'],
    ['file'],
    ['file/x'],
    ['up/etc/x'],
  ])('refuses %j in a sandbox', async (path) => {
    await symlink('.', join(directory, 'link'));
    await symlink('/etc', join(directory, 'out'));
    await symlink('../../../../..', join(directory, 'up'));
    await writeFile(join(directory, 'file'), '');
    for (const image of [false, true]) {
      const before = await everything();
      await expect(place(path, around(image))).rejects.toMatchObject({ code: 'bad_path' });
      expect(await everything()).toEqual(before);
    }
  });

  it.each([
    ['/'],
    ['//'],
    ['/proc'],
    ['/proc/1'],
    ['/sys/fs'],
    ['/dev'],
    ['/dev/shm/x'],
    ['/etc'],
    ['/usr/'],
    ['/lib64'],
    ['/mnt'],
    ['/mnt/mesos'],
    ['/mnt/mesos/sandbox'],
    ['/to-etc'],
    ['/to-proc/x'],
    ['/climbs/x'],
    ['/dangling/x'],
    ['/round'],
    ['/file/x'],
  ])('refuses %j in an image', async (path) => {
    await mkdir(join(rootfs, 'etc'));
    await mkdir(join(rootfs, 'proc'));
    await symlink('/etc', join(rootfs, 'to-etc'));
    await symlink('/proc', join(rootfs, 'to-proc'));
    await symlink('../../..', join(rootfs, 'climbs'));
    await symlink(`${base}/outside`, join(rootfs, 'dangling'));
    await symlink('round', join(rootfs, 'round'));
    await writeFile(join(rootfs, 'file'), '');
    const before = await everything();
    await expect(place(path, around(true))).rejects.toMatchObject({ code: 'bad_path' });
    expect(await everything()).toEqual(before);
  });

  it('follows links of an image as the image sees them', async () => {
    await mkdir(join(rootfs, 'var'));
    await symlink('/run', join(rootfs, 'var/run'));
    await symlink('../usr/share', join(rootfs, 'var/share'));
    expect((await place('/var/run/app', around(true))).target).toBe(join(rootfs, 'run/app'));
    expect(await place('/var/share/x', around(true))).toMatchObject({ seenAt: '/usr/share/x' });
    expect(await readdir(join(rootfs, 'usr/share'))).toEqual(['x']);
  });

  it('refuses an image whose sandbox directory is a link', async () => {
    await symlink('/etc', join(rootfs, 'mnt'));
    await expect(place('data', around(true))).rejects.toThrow('symbolic link');
    await expect(place('/mnt/mesos/sandbox/data', around(true))).rejects.toThrow('symbolic link');
    expect(await readdir(directory)).toEqual([]);
  });

  it.each([
    ['/'],
    ['/etc'],
    ['/etc/x'],
    ['/usr/local/x'],
    ['/proc/self'],
    ['/var/lib'],
    ['/home'],
    ['/tmp'],
    ['/run/x'],
  ])('refuses %j of the host', async (path) => {
    await expect(place(path, around(false))).rejects.toMatchObject({ code: 'bad_path' });
  });

  it.skipIf(!isRoot)('lets the operator allow paths of the system', async () => {
    await expect(place('/etc', around(false, ['/etc/x']))).rejects.toThrow('belongs to the system');
    expect(await place('/etc', around(false, ['/etc/']))).toMatchObject({ target: '/etc' });
    expect(await place('/etc', around(true, ['/etc']))).toMatchObject({ target: join(rootfs, 'etc') });
    await expect(place('/', around(false, ['/']))).rejects.toThrow('belongs to the system');
  });

  it.skipIf(!isRoot)('refuses host paths that others than root could replace', async () => {
    const theirs = join(base, 'theirs');
    await mkdir(join(theirs, 'data'), { recursive: true });
    await place(join(theirs, 'data'), around(false));
    await chown(theirs, 1000, 1000);
    await expect(place(join(theirs, 'data'), around(false))).rejects.toThrow('others than root can replace');
    await chown(theirs, 0, 0);
    await chmod(theirs, 0o777);
    await expect(place(join(theirs, 'data'), around(false))).rejects.toThrow('others than root can replace');
    await chmod(theirs, 0o1777);
    await place(join(theirs, 'data'), around(false));
    await chown(join(theirs, 'data'), 1000, 1000);
    await expect(place(join(theirs, 'data'), around(false))).rejects.toThrow('others than root can replace');
  });

  it.skipIf(!isRoot)('gives directories it makes to the owner of what they are in', async () => {
    await chown(directory, 1234, 4321);
    await place('a/b', around(false));
    for (const path of ['a', 'a/b'])
      expect(await stat(join(directory, path))).toMatchObject({ uid: 1234, gid: 4321, mode: 0o40755 });
  });

  it('does not follow a link that was put there after the plan', async () => {
    const outside = join(base, 'outside');
    await mkdir(outside);
    await mkdir(join(directory, 'a'));
    const planned = await planPlace('a/b', around(false), false);
    await rename(join(directory, 'a'), join(directory, 'gone'));
    await symlink(outside, join(directory, 'a'));
    expect(() => makePlace(planned)).toThrow('was changed meanwhile');
    await mkdir(join(outside, 'b'));
    unmakePlaces([planned]);
    expect(await readdir(outside)).toEqual(['b']);
    await rmdir(join(outside, 'b'));
  });
});

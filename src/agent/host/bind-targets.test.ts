import { mkdir, mkdtemp, readFile, realpath, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { BindTargets } from './bind-targets.ts';
import { loadKernel } from './kernel.ts';

const NONE: ReadonlySet<string> = new Set();

describe.runIf(process.getuid?.() === 0)('BindTargets (needs root)', () => {
  const targets = new BindTargets(loadKernel());
  let directory: string;
  let source: string;
  let target: string;

  beforeEach(async () => {
    directory = await realpath(await mkdtemp(join(tmpdir(), 'flocker-bind-')));
    [source, target] = [join(directory, 'source'), join(directory, 'target')];
    await mkdir(source);
    await writeFile(join(source, 'text'), 'kept');
  });
  afterEach(async () => {
    await targets.unbind(target);
    await rm(directory, { recursive: true });
  });
  const optionsOf = async (path: string): Promise<string[]> => {
    const line = (await readFile('/proc/self/mountinfo', 'utf8')).split('\n').find((one) => one.includes(` ${path} `));
    return line?.split(' ')[5]?.split(',') ?? [];
  };

  it('sets the flags, and sets them again', async () => {
    await targets.bind(source, target, new Set(['ro', 'nosuid', 'nodev', 'noexec', 'noatime']));
    expect(await optionsOf(target)).toEqual(expect.arrayContaining(['ro', 'nosuid', 'nodev', 'noexec', 'noatime']));
    await expect(writeFile(join(target, 'text'), 'lost')).rejects.toMatchObject({ code: 'EROFS' });
    await targets.bind(source, target, NONE);
    await writeFile(join(target, 'text'), 'changed');
    expect(await optionsOf(target)).not.toContain('nosuid');
  });

  it('leaves the source writable where a target is read-only', async () => {
    await targets.bind(source, target, new Set(['ro']));
    await writeFile(join(source, 'text'), 'changed');
    expect(await readFile(join(target, 'text'), 'utf8')).toBe('changed');
  });

  it.each([
    ['a file', (path: string) => writeFile(path, '')],
    ['a symbolic link', (path: string) => symlink('/usr', path)],
    ['a directory that is not empty', async (path: string) => mkdir(join(path, 'full'), { recursive: true })],
  ])('refuses %s', async (_what, make) => {
    await make(target);
    await expect(targets.bind(source, target, NONE)).rejects.toMatchObject({ code: 'bad_target' });
    expect(await targets.isMounted(target)).toBe(false);
    await rm(target, { recursive: true });
  });

  it('refuses what leads into the system through a symbolic link', async () => {
    await symlink('/etc', join(directory, 'link'));
    await expect(targets.bind(source, join(directory, 'link', 'data'), NONE)).rejects.toMatchObject({
      code: 'bad_target',
    });
    await expect(targets.unbind(join(directory, 'link', 'data'))).rejects.toMatchObject({ code: 'bad_target' });
    await expect(stat('/etc/data')).rejects.toMatchObject({ code: 'ENOENT' });
  });

  it('refuses a place where something else is mounted, and a parent that is not there', async () => {
    const other = join(directory, 'other');
    await mkdir(other);
    await targets.bind(other, target, NONE);
    await expect(targets.bind(source, target, NONE)).rejects.toMatchObject({ code: 'bad_target' });
    await expect(targets.bind(source, join(directory, 'none', 'target'), NONE)).rejects.toMatchObject({
      code: 'no_parent',
    });
    await targets.unbind(join(directory, 'none', 'target'));
  });

  it('removes a directory that was made for a mount that never came, and keeps one that has something in it', async () => {
    await mkdir(target);
    await targets.unbind(target);
    await expect(stat(target)).rejects.toMatchObject({ code: 'ENOENT' });
    await mkdir(join(target, 'full'), { recursive: true });
    await targets.unbind(target);
    expect((await stat(join(target, 'full'))).isDirectory()).toBe(true);
  });
});

import { chmod, mkdtemp, open, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { systemClock } from '../../kit/clock.ts';
import { makeFilesystem } from './filesystem.ts';

const MIB = 2 ** 20;

describe('makeFilesystem', () => {
  let directory: string;
  let path: string;
  const surroundings = { clock: systemClock, signal: new AbortController().signal };

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'filesystem-'));
    path = join(directory, 'image');
  });
  afterEach(() => rm(directory, { recursive: true }));

  const sparse = async (sizeBytes: number): Promise<void> => {
    const file = await open(path, 'wx');
    await file.truncate(sizeBytes);
    await file.close();
  };
  const fakeProgram = async (script: string): Promise<string> => {
    await writeFile(join(directory, 'mkfs.ext4'), `#!/bin/sh\n${script}\n`);
    await chmod(join(directory, 'mkfs.ext4'), 0o755);
    return directory;
  };

  it('makes an ext4 filesystem', async () => {
    await sparse(16 * MIB);
    await makeFilesystem(path, 'ext4', surroundings);
    expect((await readFile(path)).readUInt16LE(1024 + 56)).toBe(0xef53);
  });

  it('refuses a file that holds anything, and leaves it as it is', async () => {
    await sparse(16 * MIB);
    await makeFilesystem(path, 'ext4', surroundings);
    const before = await readFile(path);
    await expect(makeFilesystem(path, 'ext4', surroundings)).rejects.toMatchObject({ code: 'not_blank' });
    expect((await readFile(path)).equals(before)).toBe(true);
  });

  it('names the package of a program that is missing', async () => {
    await sparse(16 * MIB);
    const nowhere = { ...surroundings, searchPath: join(directory, 'nowhere') };
    const making = makeFilesystem(path, 'xfs', nowhere);
    await expect(making).rejects.toMatchObject({ code: 'program_missing' });
    await expect(making).rejects.toThrow('xfsprogs');
  });

  it('repeats what mkfs says', async () => {
    await sparse(512);
    const making = makeFilesystem(path, 'ext4', surroundings);
    await expect(making).rejects.toMatchObject({ code: 'mkfs_failed' });
    await expect(making).rejects.toThrow('mkfs.ext4');
  });

  it('knows a full disk from other failures', async () => {
    await sparse(MIB);
    const searchPath = `${await fakeProgram('echo "write failed: No space left on device" >&2; exit 1')}:/bin`;
    await expect(makeFilesystem(path, 'ext4', { ...surroundings, searchPath })).rejects.toMatchObject({
      code: 'no_space',
    });
  });

  it('kills mkfs on abort and waits until it has ended', async () => {
    await sparse(MIB);
    const searchPath = `${await fakeProgram(`echo $$ > ${directory}/pid; exec sleep 60`)}:/bin`;
    const controller = new AbortController();
    const making = makeFilesystem(path, 'ext4', { ...surroundings, searchPath, signal: controller.signal });
    const pid = await expect
      .poll(() => readFile(join(directory, 'pid'), 'utf8').catch(() => ''))
      .toMatch(/^\d+\n$/)
      .then(() => readFile(join(directory, 'pid'), 'utf8'));
    const reason = new Error('enough');
    controller.abort(reason);
    await expect(making).rejects.toBe(reason);
    await expect(readFile(`/proc/${pid.trim()}/cmdline`, 'utf8')).rejects.toThrow('ENOENT');
  });
});

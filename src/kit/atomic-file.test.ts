import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { writeFileDurably } from './atomic-file.ts';

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'atomic-file-'));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

it('makes and replaces a file, and leaves nothing beside it', async () => {
  const path = join(directory, 'x');
  await writeFileDurably(path, 'one', 0o600);
  await writeFileDurably(path, 'two', 0o600);
  expect(await readFile(path, 'utf8')).toBe('two');
  expect((await stat(path)).mode & 0o777).toBe(0o600);
  expect(await readdir(directory)).toEqual(['x']);
});

it('overwrites what a crash left beside it', async () => {
  const path = join(directory, 'x');
  await writeFile(`${path}.new`, 'half of something long');
  await writeFileDurably(path, 'one', 0o600);
  expect(await readFile(path, 'utf8')).toBe('one');
});

it('keeps the old content when it cannot write', async () => {
  const path = join(directory, 'x');
  await writeFileDurably(path, 'one', 0o600);
  await mkdir(`${path}.new`);
  await expect(writeFileDurably(path, 'two', 0o600)).rejects.toThrow('EISDIR');
  expect(await readFile(path, 'utf8')).toBe('one');
  await expect(writeFileDurably(join(directory, 'no', 'x'), '', 0o600)).rejects.toThrow('ENOENT');
});

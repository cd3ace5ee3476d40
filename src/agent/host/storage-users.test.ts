import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, realpath, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parseMountTable, readMountTable } from './mount-table.ts';
import { findStorageUsers, locate, StorageUserSearch } from './storage-users.ts';

describe('locate', () => {
  const table = parseMountTable(
    ['1 0 8:1 / / rw - ext4 a rw', '2 1 8:2 /inner /mnt rw - ext4 b rw', '3 2 8:3 / /mnt/deep rw - ext4 c rw'].join(
      '\n',
    ),
  );

  it('finds the place within the filesystem behind the longest mount point', () => {
    expect(locate(table, '/etc/passwd')).toEqual({ device: '8:1', innerPath: '/etc/passwd' });
    expect(locate(table, '/')).toEqual({ device: '8:1', innerPath: '/' });
    expect(locate(table, '/mnt')).toEqual({ device: '8:2', innerPath: '/inner' });
    expect(locate(table, '/mnt/x/y')).toEqual({ device: '8:2', innerPath: '/inner/x/y' });
    expect(locate(table, '/mnt/deep')).toEqual({ device: '8:3', innerPath: '/' });
    expect(locate(table, '/mnt/deeper')).toEqual({ device: '8:2', innerPath: '/inner/deeper' });
    expect(locate(table.slice(1), '/etc')).toBeUndefined();
  });
});

describe('findStorageUsers', () => {
  let directory: string;
  const children: ChildProcess[] = [];

  beforeEach(async () => {
    directory = await realpath(await mkdtemp(join(tmpdir(), 'users-')));
    await mkdir(join(directory, 'data'));
    await writeFile(join(directory, 'data', 'file'), 'text\n');
    await mkdir(join(directory, 'data-too'));
  });
  afterEach(async () => {
    for (const child of children.splice(0)) {
      child.kill('SIGKILL');
      if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
    }
    await rm(directory, { recursive: true });
  });

  const hold = async (script: string): Promise<number | undefined> => {
    const child = spawn('sh', ['-c', `${script} && echo in && read line`], { stdio: ['pipe', 'pipe', 'inherit'] });
    children.push(child);
    await once(child.stdout, 'data');
    return child.pid;
  };
  const users = async (): Promise<readonly string[]> => {
    const extent = locate(await readMountTable(), join(directory, 'data'));
    if (extent === undefined) throw new Error('not on any mount');
    return (await findStorageUsers(extent)).map(({ text }) => text);
  };

  it('names processes with an open file or their working directory there, and nobody else', async () => {
    expect(await users()).toEqual([]);
    await hold(`cd ${directory}/data-too`);
    expect(await users()).toEqual([]);
    const reader = await hold(`exec 3< ${directory}/data/file`);
    const inside = await hold(`cd ${directory}/data`);
    expect([...(await users())].sort()).toEqual([`pid ${reader} (sh)`, `pid ${inside} (sh)`].sort());
  });

  it('answers many who ask at once, and each by what was there when it asked', async () => {
    const table = await readMountTable();
    const extentOf = (name: string) => {
      const extent = locate(table, join(directory, name));
      if (extent === undefined) throw new Error('not on any mount');
      return extent;
    };
    const search = new StorageUserSearch();
    const early = search.find(extentOf('data'));
    const inside = await hold(`cd ${directory}/data`);
    const asked = ['data', 'data-too', 'data', 'data-too'].map((name) => search.find(extentOf(name)));
    const texts = (await Promise.all(asked)).map((users) => users.map(({ text }) => text));
    expect(texts).toEqual([[`pid ${inside} (sh)`], [], [`pid ${inside} (sh)`], []]);
    await early;
  });
});

import { mkdtemp, open, realpath, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { readMountTable } from './mount-table.ts';
import { locate, type StorageExtent } from './storage-users.ts';
import { UserSearch } from './user-search.ts';

it('answers each of many who ask at once, and sees what came to be before they asked', async () => {
  const directory = await realpath(await mkdtemp(join(tmpdir(), 'search-')));
  const table = await readMountTable();
  const extentOf = (name: string): StorageExtent => {
    const extent = locate(table, join(directory, name));
    if (extent === undefined) throw new Error('no mount covers it');
    return extent;
  };
  const search = new UserSearch();
  const isUsed = async (name: string): Promise<boolean> => (await search.find(extentOf(name), 'all')).length > 0;
  const one = await open(join(directory, 'one'), 'w');
  const first = isUsed('one');
  const two = await open(join(directory, 'two'), 'w');
  const [isOne, ...others] = await Promise.all([first, isUsed('one'), isUsed('two'), isUsed('three')]);
  expect(isOne).toBe(true);
  expect(others).toEqual([true, true, false]);
  await one.close();
  await two.close();
  expect(await isUsed('one')).toBe(false);
  await rm(directory, { recursive: true });
});

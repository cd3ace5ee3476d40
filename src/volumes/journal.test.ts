import {
  appendFile,
  type FileHandle,
  mkdir,
  mkdtemp,
  open,
  readFile,
  rm,
  stat,
  truncate,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { openJournal } from './journal.ts';

let directory: string;
let path: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'flocker-journal-'));
  path = join(directory, 'ledger', 'holders.journal');
});
afterEach(() => rm(directory, { recursive: true, force: true }));

async function entriesOnDisk(): Promise<Record<string, unknown>> {
  const journal = await openJournal(path);
  const entries = Object.fromEntries(journal.entries());
  await journal.close();
  return entries;
}

describe('openJournal', () => {
  it('keeps what was committed', async () => {
    const journal = await openJournal(path);
    await journal.commit([
      ['a', 1],
      ['b', { c: [2] }],
    ]);
    await journal.commit([['a', null]]);
    await journal.close();
    expect(await entriesOnDisk()).toEqual({ b: { c: [2] } });
    expect((await stat(path)).mode & 0o777).toBe(0o600);
  });

  it('lets commits that wait share one line', async () => {
    const journal = await openJournal(path);
    await Promise.all(Array.from({ length: 100 }, (_, index) => journal.commit([[`key${index}`, index]])));
    await journal.close();
    const lines = (await readFile(path, 'utf8')).trimEnd().split('\n');
    expect(lines.length).toBeLessThan(6);
    expect(Object.keys(await entriesOnDisk())).toHaveLength(100);
  });

  it('stays small', async () => {
    const journal = await openJournal(path);
    const value = 'x'.repeat(50_000);
    for (let index = 0; index < 60; index += 1) await journal.commit([['key', `${index} ${value}`]]);
    await journal.close();
    expect((await stat(path)).size).toBeLessThan(1_300_000);
    expect(Object.values(await entriesOnDisk())).toEqual([`59 ${value}`]);
  });

  it('cuts off a torn tail and goes on', async () => {
    const journal = await openJournal(path);
    await journal.commit([['a', 1]]);
    await journal.close();
    await appendFile(path, '12345678 [3,"chang');
    const again = await openJournal(path);
    await again.commit([['b', 2]]);
    await again.close();
    expect(await entriesOnDisk()).toEqual({ a: 1, b: 2 });
  });

  it('refuses a damaged file and leaves it as it is', async () => {
    const journal = await openJournal(path);
    await journal.commit([['a', 1]]);
    await journal.commit([['b', 2]]);
    await journal.close();
    const damaged = (await readFile(path, 'utf8')).replace('["a",1]', '["a",2]');
    await writeFile(path, damaged);
    await expect(openJournal(path)).rejects.toMatchObject({ code: 'ledger_damaged' });
    expect(await readFile(path, 'utf8')).toBe(damaged);
    await truncate(path, 0);
    await expect(openJournal(path)).rejects.toMatchObject({ code: 'ledger_damaged' });
  });

  it('says so when the disk refuses, and works again when it does not', async () => {
    const journal = await openJournal(path);
    await journal.commit([['a', 'x'.repeat(1_100_000)]]);
    await rm(join(directory, 'ledger'), { recursive: true });
    await expect(journal.commit([['b', 2]])).rejects.toMatchObject({ code: 'ledger_failed' });
    expect([...journal.entries().keys()]).toEqual(['a']);
    await writeFile(join(directory, 'ledger'), 'in the way');
    await expect(journal.commit([['b', 2]])).rejects.toMatchObject({ code: 'ledger_failed' });
    await rm(join(directory, 'ledger'));
    await mkdir(join(directory, 'ledger'));
    await journal.commit([['c', 3]]);
    await journal.close();
    expect(Object.keys(await entriesOnDisk())).toEqual(['a', 'c']);
  });
  it('goes on after the directory could not be synced once its file was replaced', async () => {
    const journal = await openJournal(path);
    const handle = await open(path, 'r');
    const prototype = Object.getPrototypeOf(handle) as FileHandle;
    await handle.close();
    const sync = Object.getOwnPropertyDescriptor(prototype, 'sync')?.value as (this: FileHandle) => Promise<void>;
    const datasyncs = vi.spyOn(prototype, 'datasync').mockRejectedValueOnce(new Error('EIO: append'));
    const syncs = vi
      .spyOn(prototype, 'sync')
      .mockImplementationOnce(function (this: FileHandle) {
        return sync.call(this);
      })
      .mockRejectedValueOnce(new Error('EIO: directory'));
    try {
      await expect(journal.commit([['a', 1]])).rejects.toThrow('EIO: append');
      await expect(journal.commit([['a', 2]])).rejects.toThrow('EIO: directory');
      await journal.commit([['a', 3]]);
    } finally {
      datasyncs.mockRestore();
      syncs.mockRestore();
      await journal.close();
    }
    expect(await entriesOnDisk()).toEqual({ a: 3 });
  });

  it('stops writing when another process has opened it', async () => {
    const journal = await openJournal(path);
    await journal.commit([['a', 1]]);
    const other = await openJournal(path);
    await other.commit([['b', 2]]);
    for (let attempt = 0; attempt < 2; attempt += 1) {
      await expect(journal.commit([['c', 3]])).rejects.toThrow('another process');
    }
    await journal.close();
    await other.close();
    expect(await entriesOnDisk()).toEqual({ a: 1, b: 2 });
  });
});

import { cp, mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { errorCode } from '../../../kit/coded-error.ts';
import type { Json } from '../store.ts';
import { backUpStore, readBackup } from './back-up-store.ts';
import { backupText, parseBackup } from './backup-file.ts';
import { restoreStore } from './restore-store.ts';
import { inDirectory, openStore } from './testing/store-directory.ts';

const AT_MS = 1_800_000_000_000;
const RESTORED = { atMs: AT_MS, doubted: false };

interface Place {
  readonly store: string;
  readonly file: string;
  readonly backUp: () => ReturnType<typeof backUpStore>;
  readonly restore: (force?: boolean) => ReturnType<typeof restoreStore>;
}

function inPlace(work: (place: Place) => Promise<void>): Promise<void> {
  return inDirectory(async (directory) => {
    const store = join(directory, 'store');
    const file = join(directory, 'backup');
    await work({
      store,
      file,
      backUp: () => backUpStore({ directory: store, path: file, scratchParent: directory, wallMs: AT_MS }),
      restore: async (force = false) =>
        restoreStore({ directory: store, backup: await readBackup(file), force, wallMs: AT_MS }),
    });
    expect((await readdir(directory)).filter((name) => name.startsWith('.'))).toEqual([]);
  });
}

async function fill(directory: string, values: Readonly<Record<string, Json>>): Promise<void> {
  const store = await openStore(directory);
  for (const [key, value] of Object.entries(values)) await store.commit([{ kind: 'put', key, value }]);
  await store.close();
}

async function contentsOf(directory: string): Promise<Record<string, Json>> {
  const store = await openStore(directory);
  await store.close();
  return Object.fromEntries(store.entries());
}

describe('a backup of a store', () => {
  it('is restored where there is none, marked as an old copy, with a witness of its own', () =>
    inPlace(async ({ store, file, backUp, restore }) => {
      await fill(store, { a: 1, b: { c: [true, null, 'ü\n'] } });
      expect(await backUp()).toMatchObject({ revision: 2, takenAtMs: AT_MS });
      expect((await stat(file)).mode & 0o777).toBe(0o600);
      await rm(store, { recursive: true });
      expect(await restore()).toEqual({ entries: 3, replaced: undefined });
      expect(await readFile(join(store, 'acknowledged'), 'utf8')).toContain(' 0000000000000003 ');
      expect(await contentsOf(store)).toEqual({ a: 1, b: { c: [true, null, 'ü\n'] }, restored: RESTORED });
    }));

  it('is made while the store is open and written to, and has all that was acknowledged before', () =>
    inPlace(async ({ store: directory, file, backUp }) => {
      const store = await openStore(directory);
      const stop = new AbortController();
      let acknowledged = 0;
      const writing = (async () => {
        // Long values, so that the database often makes new files and removes old ones.
        for (let i = 1; !stop.signal.aborted; i += 1) {
          const value = `${i} ${'x'.repeat(20_000)}`;
          await store.commit([
            { kind: 'put', key: `key-${i % 300}`, value },
            { kind: 'put', key: 'last', value: i },
          ]);
          acknowledged = i;
        }
      })();
      for (let round = 0; round < 15; round += 1) {
        const before = acknowledged;
        const { values } = await backUp();
        const last = Number(values.get('last') ?? 0);
        expect(last).toBeGreaterThanOrEqual(before);
        if (last !== 0) expect(values.get(`key-${last % 300}`)).toMatch(new RegExp(`^${last} `));
        await rm(file);
      }
      stop.abort();
      await writing;
      await store.close();
    }));

  it('does not replace a file, nor a store that has something unless it is forced, and keeps that', () =>
    inPlace(async ({ store, backUp, restore }) => {
      await fill(store, { a: 1 });
      await backUp();
      expect(errorCode(await backUp().catch((error: unknown) => error))).toBe('backup_exists');
      await fill(store, { a: 2, b: 3 });
      await expect(restore()).rejects.toMatchObject({ code: 'store_not_empty' });
      expect(await contentsOf(store)).toEqual({ a: 2, b: 3 });
      const { replaced = '' } = await restore(true);
      expect(await contentsOf(store)).toEqual({ a: 1, restored: RESTORED });
      expect(await contentsOf(replaced)).toEqual({ a: 2, b: 3 });
    }));

  it('is restored over a store that is empty, and with force over one that is damaged', () =>
    inPlace(async ({ store, backUp, restore }) => {
      await fill(store, { a: 1 });
      await backUp();
      await rm(store, { recursive: true });
      await (await openStore(store)).close();
      await restore();
      await rm(join(store, 'entries', 'CURRENT'));
      await expect(restore()).rejects.toMatchObject({ code: 'store_damaged' });
      await restore(true);
      expect(await contentsOf(store)).toEqual({ a: 1, restored: RESTORED });
    }));

  it('is not restored while somebody has the store open', () =>
    inPlace(async ({ store: directory, backUp, restore }) => {
      await fill(directory, { a: 1 });
      await backUp();
      const store = await openStore(directory);
      await expect(restore(true)).rejects.toMatchObject({ code: 'store_locked' });
      await store.commit([{ kind: 'put', key: 'a', value: 2 }]);
      await store.close();
      expect(await contentsOf(directory)).toEqual({ a: 2 });
    }));

  it('is restored again when a restore was cut off before the database was in place, and nothing starts empty meanwhile', () =>
    inPlace(async ({ store, backUp, restore }) => {
      await fill(store, { a: 1 });
      await backUp();
      await restore(true);
      await cp(join(store, 'entries'), join(store, 'creating-cut', 'entries'), { recursive: true });
      await rm(join(store, 'entries'), { recursive: true });
      await expect(openStore(store)).rejects.toMatchObject({ code: 'store_damaged' });
      await rm(join(store, 'acknowledged'));
      await expect(openStore(store)).rejects.toMatchObject({ code: 'store_failed' });
      await restore();
      expect(await contentsOf(store)).toEqual({ a: 1, restored: RESTORED });
    }));

  it('is not restored into a directory of something else', () =>
    inPlace(async ({ store, file, backUp, restore }) => {
      await fill(store, { a: 1 });
      await backUp();
      await rm(store, { recursive: true });
      await mkdir(store);
      await writeFile(join(store, 'thesis.txt'), 'mine');
      await expect(restore(true)).rejects.toMatchObject({ code: 'store_failed' });
      expect(await readdir(store)).toEqual(['thesis.txt']);
      expect((await readFile(file, 'utf8')).length).toBeGreaterThan(0);
    }));

  it('is refused when any byte of it is altered or missing', async () => {
    const text = backupText({
      clusterId: '3f5f4c7e-0000-4000-8000-000000000000',
      revision: 7,
      takenAtMs: AT_MS,
      values: new Map<string, Json>([
        ['dataset/x', { deleted: false }],
        ['lease/x', 'text'],
      ]),
    });
    expect(parseBackup(text, 'file').revision).toBe(7);
    await fc.assert(
      fc.asyncProperty(fc.nat({ max: text.length - 1 }), fc.integer({ min: 1, max: 127 }), async (at, by) => {
        const changed = String.fromCharCode((text.charCodeAt(at) + by) % 128);
        const altered = text.slice(0, at) + changed + text.slice(at + 1);
        expect(() => parseBackup(altered, 'file')).toThrow(/file is no backup that can be restored/);
        expect(() => parseBackup(text.slice(0, at), 'file')).toThrow(/file is no backup that can be restored/);
      }),
      { numRuns: 300 },
    );
  });

  it('is refused when a newer version wrote it', () => {
    expect(() => parseBackup('{"flockerStoreBackup":2}\n', 'file')).toThrow('a newer version of this program wrote it');
  });
});

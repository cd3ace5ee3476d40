import { execFileSync } from 'node:child_process';
import { chmod, cp, mkdir, mkdtemp, readdir, readFile, rename, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { storeContract } from '../../../../test/contract/store.ts';
import type { StoreErrorCode } from '../store.ts';
import { HEAD_KEY, openDatabase } from './database.ts';
import { expectStoreError, inDirectory, openStore, recordingLogger } from './testing/store-directory.ts';

const asRoot = process.getuid?.() === 0;

storeContract('level', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'level-store-'));
  return { open: () => openStore(directory), dispose: () => rm(directory, { recursive: true, force: true }) };
});

async function fill(directory: string, keys: readonly string[]): Promise<void> {
  const store = await openStore(directory);
  for (const key of keys) await store.commit([{ kind: 'put', key, value: key }]);
  await store.close();
}

/** Names and bytes of the files of a store, without LevelDB's diary and the lock file, which hold no data. */
async function bytesOf(directory: string): Promise<Record<string, string>> {
  const files: Record<string, string> = {};
  for (const entry of await readdir(directory, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    if (entry.isFile() && !/\/LO(?:CK|G|G\.old)$/.test(path)) files[path] = await readFile(path, 'hex');
  }
  return files;
}

/** Opens, expects the refusal `code`, and that not a byte was changed for it. */
async function expectRefusal(directory: string, code: StoreErrorCode, text: RegExp, options = {}): Promise<void> {
  const before = await bytesOf(directory);
  await expectStoreError(openStore(directory, options), code, text);
  expect(await bytesOf(directory)).toEqual(before);
}

async function setHead(directory: string, change: (head: string) => string): Promise<void> {
  const database = await openDatabase(join(directory, 'entries'), false);
  await database.put(HEAD_KEY, change((await database.get(HEAD_KEY)) ?? ''), { sync: true });
  await database.close();
}

describe('openLevelStore', () => {
  it('creates the directory for its owner only', () =>
    inDirectory(async (parent) => {
      const directory = join(parent, 'var', 'store');
      await (await openStore(directory)).close();
      expect((await stat(directory)).mode & 0o777).toBe(0o700);
      expect((await readdir(directory)).sort()).toEqual(['acknowledged', 'entries']);
    }));

  it('starts over after a creation that was killed', () =>
    inDirectory(async (directory) => {
      await mkdir(join(directory, 'creating-x7'));
      await writeFile(join(directory, 'creating-x7', 'MANIFEST-000001'), 'half');
      const store = await openStore(directory);
      expect(store.revision).toBe(0);
      await store.close();
      expect((await readdir(directory)).sort()).toEqual(['acknowledged', 'entries']);
    }));

  it.each([
    ['entries/CURRENT', /CURRENT" is missing/],
    ['entries/MANIFEST', /MANIFEST-\d+" is missing/],
    ['entries/.ldb', /missing files/],
    ['entries', /"entries" is missing/],
  ])('refuses a store that lost %s, even when the loss is accepted', (lost, text) =>
    inDirectory(async (directory) => {
      await fill(directory, ['a', 'b']);
      await fill(directory, ['c']);
      for (const name of ['entries', ...(await readdir(join(directory, 'entries'))).map((file) => `entries/${file}`)]) {
        if (
          name === lost ||
          (lost.length > 8 && name.startsWith(lost)) ||
          (lost.endsWith('.ldb') && name.endsWith('.ldb'))
        ) {
          await rm(join(directory, name), { recursive: true });
        }
      }
      await expectRefusal(directory, 'store_damaged', text);
      await expectRefusal(directory, 'store_damaged', /restore a backup/, { acceptLoss: true });
    }),
  );

  it('refuses a store whose directory was emptied', () =>
    inDirectory(async (directory) => {
      await fill(directory, ['a']);
      await rm(join(directory, 'entries'), { recursive: true });
      await mkdir(join(directory, 'entries'));
      await expectRefusal(directory, 'store_damaged', /"entries" is empty/);
    }));

  it.each([
    ['lost', (database: Map<string, string>) => database.delete('entry/a'), /had 3 entries, now 2 are left/],
    ['altered', (database: Map<string, string>) => database.set('entry/a', '"other"'), /not the ones of revision 3/],
    ['extra', (database: Map<string, string>) => database.set('entry/d', '"d"'), /had 3 entries, now 4/],
    ['foreign', (database: Map<string, string>) => database.set('alien', '"d"'), /foreign key "alien"/],
  ] as const)('finds an entry that is %s though every checksum of LevelDB is right', (_, alter, text) =>
    inDirectory(async (directory) => {
      await fill(directory, ['a', 'b', 'c']);
      const database = await openDatabase(join(directory, 'entries'), false);
      const content = new Map(await database.iterator().all());
      await database.clear();
      alter(content);
      await database.batch([...content].map(([key, value]) => ({ type: 'put', key, value })));
      await database.close();
      await expectRefusal(directory, 'store_damaged', text);
    }),
  );

  it('refuses an old copy, and opens it when the loss is accepted', () =>
    inDirectory(async (directory) => {
      await fill(directory, ['a', 'b']);
      await cp(join(directory, 'entries'), `${directory}-copy`, { recursive: true });
      await fill(directory, ['c']);
      await rm(join(directory, 'entries'), { recursive: true });
      await rename(`${directory}-copy`, join(directory, 'entries'));
      await expectRefusal(
        directory,
        'store_rolled_back',
        /it is at revision 2, but revision 3 was confirmed.*acceptLoss/,
      );
      const { logger, lines } = recordingLogger();
      const store = await openStore(directory, { logger, acceptLoss: true });
      expect([...store.entries().keys()]).toEqual(['a', 'b', 'restored']);
      expect(store.revision).toBe(3);
      expect(lines).toEqual([expect.stringMatching(/^error: .*revision 3 was confirmed/)]);
      await store.close();
      await (await openStore(directory)).close();
    }));

  it('refuses the database of another cluster', () =>
    inDirectory(async (directory) => {
      await fill(join(directory, 'one'), ['a']);
      await fill(join(directory, 'two'), ['a', 'b']);
      await rm(join(directory, 'one', 'entries'), { recursive: true });
      await rename(join(directory, 'two', 'entries'), join(directory, 'one', 'entries'));
      await expectRefusal(join(directory, 'one'), 'store_rolled_back', /of cluster/);
    }));

  it.each([
    ['missing', undefined],
    ['unreadable', '1 1f3c2b90-5a3a'],
    ['unreadable', ''],
  ])('writes a witness that is %s (%j) again and says so', (state, content) =>
    inDirectory(async (directory) => {
      await fill(directory, ['a', 'b']);
      const path = join(directory, 'acknowledged');
      const whole = await readFile(path, 'utf8');
      if (content === undefined) await rm(path);
      else await writeFile(path, content);
      const { logger, lines } = recordingLogger();
      const store = await openStore(directory, { logger });
      expect(store.revision).toBe(2);
      await store.close();
      expect(await readFile(path, 'utf8')).toBe(whole);
      expect(lines).toEqual([expect.stringContaining(`warn: the file "acknowledged" is ${state}`)]);
    }),
  );

  it('refuses a newer format and an unreadable head', () =>
    inDirectory(async (directory) => {
      await fill(directory, ['a']);
      await setHead(directory, (head) => head.replace('"format":1', '"format":2'));
      await expectRefusal(directory, 'store_unsupported', /newer version/);
      await setHead(directory, () => '{"format":1}');
      await expectRefusal(directory, 'store_damaged', /unreadable/);
    }));

  it('refuses a directory that holds something else, and warns of it beside a store', () =>
    inDirectory(async (directory) => {
      await writeFile(join(directory, 'passwd'), '');
      await expectRefusal(directory, 'store_failed', /it holds "passwd", which is no part of a store/);
      await rm(join(directory, 'passwd'));
      await mkdir(join(directory, 'lost+found'));
      await fill(directory, ['a']);
      await writeFile(join(directory, 'notes.txt'), '');
      const { logger, lines } = recordingLogger();
      await (await openStore(directory, { logger })).close();
      expect(lines).toEqual([expect.stringMatching(/^warn: .*no part of it/)]);
    }));

  it('refuses a file in place of a directory', () =>
    inDirectory(async (directory) => {
      await writeFile(join(directory, 'file'), '');
      await expectRefusal(directory, 'store_failed', /no part of a store/);
      await expectStoreError(openStore(join(directory, 'file')), 'store_failed', /not a directory/);
      await expectStoreError(openStore(join(directory, 'file', 'x')), 'store_failed', /not a directory/);
      await rename(join(directory, 'file'), join(directory, 'entries'));
      await expectRefusal(directory, 'store_damaged', /"entries" is not a directory/);
    }));

  it('refuses a directory it may not write to', () =>
    inDirectory(async (directory) => {
      await fill(directory, ['a']);
      await chmod(directory, 0o500);
      // Root may write everywhere, so it becomes the owner for a moment.
      if (asRoot) {
        execFileSync('chown', ['-R', 'nobody', directory]);
        process.seteuid?.('nobody');
      }
      try {
        await expectStoreError(openStore(directory), 'store_failed', /no permission/);
      } finally {
        if (asRoot) process.seteuid?.(0);
        await chmod(directory, 0o700);
      }
    }));

  it.skipIf(!asRoot)('refuses a read-only disk, and survives a full one (needs root to mount)', () =>
    inDirectory(async (directory) => {
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=2m', 'tmpfs', directory]);
      try {
        const store = await openStore(directory);
        const value = 'x'.repeat(20_000);
        let acknowledged = 0;
        const filling = (async () => {
          for (; acknowledged < 1000; acknowledged += 1) {
            await store.commit([{ kind: 'put', key: `k/${acknowledged}`, value }]);
          }
        })();
        await expectStoreError(filling, 'store_failed', /Could not write to the store/);
        await expectStoreError(store.commit([]), 'store_failed', /Could not write/);
        expect(store.revision).toBe(acknowledged);
        await store.close();
        execFileSync('mount', ['-o', 'remount,size=20m', directory]);
        const again = await openStore(directory);
        expect(again.entries().size).toBeGreaterThanOrEqual(acknowledged);
        await again.close();
        execFileSync('mount', ['-o', 'remount,ro', directory]);
        await expectRefusal(directory, 'store_failed', /the disk is mounted read-only/);
      } finally {
        // Lazily: after a failure the store may still be open.
        execFileSync('umount', ['--lazy', directory]);
      }
    }),
  );

  it('refuses a store that this process has open, by any path', () =>
    inDirectory(async (directory) => {
      const store = await openStore(join(directory, 'store'));
      await symlink(join(directory, 'store'), join(directory, 'alias'));
      const text = new RegExp(`^The store in ${join(directory, 'store')} is in use by this process`);
      await expectStoreError(openStore(join(directory, 'store')), 'store_locked', text);
      await expectStoreError(openStore(join(directory, 'alias')), 'store_locked', text);
      await store.commit([{ kind: 'put', key: 'k', value: 1 }]);
      await store.close();
      await (await openStore(join(directory, 'alias'))).close();
    }));
});

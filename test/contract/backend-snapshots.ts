import { randomBytes, randomUUID } from 'node:crypto';
import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Backend, SnapshotEngine } from '../../src/agent/backends/backend.ts';
import { type DatasetId, newDatasetId, parseSnapshotId, type SnapshotId } from '../../src/kit/ids.ts';
import type { BackendSubject } from './backend.ts';
import { BackendWorld, killsOf, testsOfPool } from './backend-world.ts';
import { expectCode } from './expect-code.ts';

const MIB = 2 ** 20;
const SIZE_BYTES = 16 * MIB;

/** What a `SnapshotEngine` promises; nothing where a backend has none. */
export function snapshotContract(name: string, subject: BackendSubject): void {
  describe.skipIf(subject.skip !== null)(`${name} keeps the contract on snapshots${subject.skip ?? ''}`, () => {
    let world: BackendWorld;
    let a: Backend;
    let engine: SnapshotEngine;

    beforeEach(async (context) => {
      world = await BackendWorld.make(subject.section, subject.place);
      a = await world.node('a');
      if (a.snapshots === undefined) context.skip(`${name} has no snapshots`);
      else engine = a.snapshots;
    });

    afterEach(async () => {
      const problems: unknown[] = [];
      for (const instance of ['a', 'b']) problems.push(...(await world.teardown(instance)));
      expect([...problems, ...(await world.close())]).toEqual([]);
    });

    const itOfPool = testsOfPool(subject);
    const mounted = async (
      more: { source?: SnapshotId; sizeBytes?: number | null } = {},
      backend = a,
    ): Promise<DatasetId> => {
      const id = newDatasetId(randomUUID);
      const sizeBytes = more.source === undefined ? SIZE_BYTES : null;
      await backend.create({ datasetId: id, sizeBytes, metadata: {}, ...more }, world.signal);
      await backend.attach(id, world.signal);
      await backend.mount(id, world.signal);
      return id;
    };
    const gone = async (id: DatasetId, backend = a): Promise<void> => {
      await backend.unmount(id, world.signal);
      await backend.detach(id, world.signal);
      await backend.destroy(id, world.signal);
    };
    const file = (id: DatasetId, path: string, instance = 'a'): string => join(world.mountRoot(instance), id, path);
    const read = (id: DatasetId, path = 'file', instance = 'a'): Promise<string> =>
      readFile(file(id, path, instance), 'utf8');

    it('are what the volume had when they were taken, and make volumes that are their own', async () => {
      const id = await mounted();
      await writeFile(file(id, 'file'), 'before', { mode: 0o640 });
      const snapshotId = someSnapshot();
      const beforeMs = Date.now();
      const taken = await engine.take(snapshotId, id, world.signal);
      expect(taken.sizeBytes).toBe(SIZE_BYTES);
      expect(taken.takenAtMs).toBeGreaterThanOrEqual(beforeMs - 1);
      expect(taken.takenAtMs).toBeLessThanOrEqual(Date.now());
      expect(await engine.find(snapshotId)).toEqual(taken);
      await writeFile(file(id, 'file'), 'after');
      const [one, two] = [await mounted({ source: snapshotId }), await mounted({ source: snapshotId })];
      expect(await Promise.all([id, one, two].map((each) => read(each)))).toEqual(['after', 'before', 'before']);
      expect((await stat(file(one, 'file'))).mode & 0o7777).toBe(0o640);
      expect((await stat(join(world.mountRoot('a'), one))).mode & 0o7777).toBe(0o777);
      await writeFile(file(one, 'file'), 'of one');
      await writeFile(file(one, 'more'), Buffer.alloc(4 * MIB, 1));
      const three = await mounted({ source: snapshotId });
      const all = [id, one, two, three];
      expect(await Promise.all(all.map((each) => read(each)))).toEqual(['after', 'of one', 'before', 'before']);
      expect([...(await a.listHere()).keys()].sort()).toEqual(all.sort());
    });

    it('live by themselves', async () => {
      const id = await mounted();
      const bytes = randomBytes(3 * MIB);
      await writeFile(file(id, 'bytes'), bytes);
      const [first, second] = [someSnapshot(), someSnapshot()];
      await engine.take(first, id, world.signal);
      await engine.take(second, id, world.signal);
      await engine.destroy(first, world.signal);
      expect((await readFile(file(id, 'bytes'))).equals(bytes)).toBe(true);
      await gone(id);
      const copy = await mounted({ source: second });
      await engine.destroy(second, world.signal);
      expect(await engine.find(second)).toBeUndefined();
      await a.unmount(copy, world.signal);
      await a.mount(copy, world.signal);
      expect((await readFile(file(copy, 'bytes'))).equals(bytes)).toBe(true);
      await gone(copy);
      expect(await readdir(join(world.rootPath, 'creating', 'a'))).toEqual([]);
      expect(await readdir(join(world.rootPath, 'destroying', 'a'))).toEqual([]);
    });

    it('are there for every node of the pool', async () => {
      const b = await world.node('b');
      const id = await mounted();
      await writeFile(file(id, 'file'), 'before');
      const snapshotId = someSnapshot();
      const taken = await engine.take(snapshotId, id, world.signal);
      expect(await b.snapshots?.find(snapshotId)).toEqual(taken);
      const copy = await mounted({ source: snapshotId }, b);
      expect(await read(copy, 'file', 'b')).toBe('before');
      await expectCode(must(b.snapshots).take(someSnapshot(), id, world.signal), 'volume_elsewhere', id);
      await b.snapshots?.destroy(snapshotId, world.signal);
      expect(await engine.find(snapshotId)).toBeUndefined();
    });

    it('are taken and destroyed once, however often that is asked for', async () => {
      const id = await mounted();
      await writeFile(file(id, 'file'), 'before');
      const snapshotId = someSnapshot();
      const taken = await engine.take(snapshotId, id, world.signal);
      await writeFile(file(id, 'file'), 'after');
      expect(await engine.take(snapshotId, id, world.signal)).toEqual(taken);
      expect(await read(await mounted({ source: snapshotId }))).toBe('before');
      await engine.destroy(snapshotId, world.signal);
      await engine.destroy(snapshotId, world.signal);
      expect(await engine.find(snapshotId)).toBeUndefined();
    });

    it('are taken of volumes that are not mounted, also before the first mount', async () => {
      const id = newDatasetId(randomUUID);
      await a.create({ datasetId: id, sizeBytes: SIZE_BYTES, metadata: {} }, world.signal);
      await a.attach(id, world.signal);
      const [empty, full] = [someSnapshot(), someSnapshot()];
      await engine.take(empty, id, world.signal);
      await a.mount(id, world.signal);
      await writeFile(file(id, 'file'), 'kept');
      await a.unmount(id, world.signal);
      await engine.take(full, id, world.signal);
      const copies = [await mounted({ source: empty }), await mounted({ source: full })];
      const lists = await Promise.all(copies.map((copy) => readdir(join(world.mountRoot('a'), copy))));
      expect(lists).toEqual([[], ['file']]);
      for (const copy of copies) {
        expect((await stat(join(world.mountRoot('a'), copy))).mode & 0o7777).toBe(0o777);
      }
    });

    it('make volumes as large as they are, or larger, and none smaller', async () => {
      const id = await mounted();
      const snapshotId = someSnapshot();
      await engine.take(snapshotId, id, world.signal);
      const [same, larger] = [
        await mounted({ source: snapshotId }),
        await mounted({ source: snapshotId, sizeBytes: 64 * MIB }),
      ];
      expect(await a.discover(same)).toMatchObject({ sizeBytes: SIZE_BYTES });
      expect(await a.discover(larger)).toMatchObject({ sizeBytes: 64 * MIB });
      await writeFile(file(larger, 'large'), Buffer.alloc(40 * MIB, 1));
      const refused = newDatasetId(randomUUID);
      const recipe = { datasetId: refused, sizeBytes: 8 * MIB, metadata: {}, source: snapshotId };
      await expectCode(a.create(recipe, world.signal), 'bad_size', refused);
      expect(await a.discover(refused)).toEqual({ kind: 'absent' });
    });

    itOfPool('say what is missing', async () => {
      const id = newDatasetId(randomUUID);
      const snapshotId = someSnapshot();
      expect(await engine.find(snapshotId)).toBeUndefined();
      await expectCode(engine.take(snapshotId, id, world.signal), 'volume_lost', id);
      const recipe = { datasetId: id, sizeBytes: null, metadata: {}, source: snapshotId };
      expect(await expectCode(a.create(recipe, world.signal), 'volume_lost', null)).toContain(snapshotId);
      await a.create({ datasetId: id, sizeBytes: SIZE_BYTES, metadata: {} }, world.signal);
      await expectCode(engine.take(snapshotId, id, world.signal), 'backend_failed', id);
      await a.attach(id, world.signal);
      const reason = new Error('shutting down');
      await expect(engine.take(snapshotId, id, AbortSignal.abort(reason))).rejects.toBe(reason);
      await expect(engine.destroy(snapshotId, AbortSignal.abort(reason))).rejects.toBe(reason);
      expect(await engine.find(snapshotId)).toBeUndefined();
      expect(await readdir(join(world.rootPath, 'creating', 'a'))).toEqual([]);
    });

    itOfPool('are not absent when the pool is gone', async () => {
      const id = await mounted();
      const snapshotId = someSnapshot();
      await engine.take(snapshotId, id, world.signal);
      await gone(id);
      const away = `${world.rootPath}-away`;
      await rename(world.rootPath, away);
      await mkdir(world.rootPath);
      await expectCode(engine.find(snapshotId), 'pool_unreachable', null);
      await expectCode(engine.destroy(snapshotId, world.signal), 'pool_unreachable', null);
      await rm(world.rootPath, { recursive: true });
      await rename(away, world.rootPath);
      expect(await engine.find(snapshotId)).toMatchObject({ sizeBytes: SIZE_BYTES });
    });

    // Not there instead of skipped, where the backend does not promise it.
    if (subject.snapshotsAreInstants) {
      it('are of one instant while somebody writes', async () => {
        const id = await mounted();
        const [first, second] = [file(id, 'first'), file(id, 'second')];
        // What is in the second file was in the first one before.
        const script = `
        const { writeSync, openSync, fdatasyncSync } = await import('node:fs');
        const files = ${JSON.stringify([first, second])}.map((path) => openSync(path, 'w'));
        for (let count = 1; ; count += 1) {
          for (const file of files) writeSync(file, String(count).padStart(12), 0);
          if (count % 16 === 0) for (const file of files) fdatasyncSync(file);
          if (count === 64) process.stdout.write('writes\\n');
        }`;
        const writer = await world.hold(process.execPath, ['--input-type=module', '-e', script]);
        const snapshots = [someSnapshot(), someSnapshot(), someSnapshot()];
        for (const snapshotId of snapshots) await engine.take(snapshotId, id, world.signal);
        await world.end(writer);
        let before = 0;
        for (const snapshotId of snapshots) {
          const copy = await mounted({ source: snapshotId });
          const [ahead, behind] = [Number(await read(copy, 'first')), Number(await read(copy, 'second'))];
          expect(ahead - behind).toBeGreaterThanOrEqual(0);
          expect(ahead - behind).toBeLessThanOrEqual(1);
          expect(behind).toBeGreaterThan(before);
          before = behind;
        }
      });
    }

    it('are whole or not there when an agent is killed, and the volume can be written to', async () => {
      const id = await mounted();
      await writeFile(file(id, 'bytes'), randomBytes(10 * MIB));
      for (const afterMs of killsOf(subject, [0, 3, 6, 10, 15, 20, 30, 40, 60, 80])) {
        const snapshots = Array.from({ length: 20 }, someSnapshot);
        const child = await world.agentThat(
          'a',
          `for (const each of ${JSON.stringify(snapshots)}) await backend.snapshots.take(each, '${id}', signal);`,
        );
        child.stdin?.write('go\n');
        await sleep(afterMs);
        await world.end(child);
        a = await world.node('a');
        engine = must(a.snapshots);
        await writeFile(file(id, 'alive'), String(afterMs), { signal: AbortSignal.timeout(20_000) });
        expect(await readdir(join(world.rootPath, 'creating', 'a'))).toEqual([]);
        const [first = someSnapshot(), ...others] = snapshots;
        const found = await engine.find(first);
        const taken = await engine.take(first, id, world.signal);
        if (found !== undefined) expect(taken).toEqual(found);
        const copy = await mounted({ source: first });
        expect((await stat(file(copy, 'bytes'))).size).toBe(10 * MIB);
        await gone(copy);
        for (const each of [first, ...others]) await engine.destroy(each, world.signal);
      }
      expect(await readdir(join(world.rootPath, 'destroying', 'a'))).toEqual([]);
    });
  });
}

function someSnapshot(): SnapshotId {
  return must(parseSnapshotId(randomUUID()));
}

function must<T>(value: T | undefined): T {
  if (value === undefined) throw new Error('a value is missing');
  return value;
}

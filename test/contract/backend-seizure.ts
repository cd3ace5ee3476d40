import { randomBytes, randomUUID } from 'node:crypto';
import { appendFile, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Backend } from '../../src/agent/backends/backend.ts';
import { type DatasetId, newDatasetId } from '../../src/kit/ids.ts';
import type { BackendSubject } from './backend.ts';
import { BackendWorld } from './backend-world.ts';
import { expectCode } from './expect-code.ts';

const SIZE_BYTES = 16 * 2 ** 20;

/** What `Backend.seize` promises: the volumes of a node that was declared dead go to another. */
export function seizureContract(name: string, subject: BackendSubject): void {
  describe.skipIf(subject.skip !== null)(`${name} takes over from dead nodes${subject.skip ?? ''}`, () => {
    let world: BackendWorld;
    let a: Backend;
    let b: Backend;

    beforeEach(async () => {
      world = await BackendWorld.make(subject.section, subject.place);
      a = await world.node('a');
      b = await world.node('b');
    });

    afterEach(async () => {
      const problems: unknown[] = [];
      for (const instance of ['a', 'b']) problems.push(...(await world.teardown(instance)));
      expect([...problems, ...(await world.close())]).toEqual([]);
    });

    const seize = async (id: DatasetId, from: readonly string[]): Promise<void> => b.seize?.(id, from, world.signal);
    const mountedOnA = async (): Promise<DatasetId> => {
      const id = newDatasetId(randomUUID);
      await a.create({ datasetId: id, sizeBytes: SIZE_BYTES, metadata: {} }, world.signal);
      await a.attach(id, world.signal);
      await a.mount(id, world.signal);
      return id;
    };
    const fileIn = (instance: string, id: DatasetId): string => join(world.mountRoot(instance), id, 'file');
    const releaseOn = async (node: Backend, id: DatasetId): Promise<void> => {
      await node.unmount(id, world.signal);
      await node.detach(id, world.signal);
    };

    it('what they had, byte for byte, and the dead node has it no more', async () => {
      const id = await mountedOnA();
      const bytes = randomBytes(1_000_000);
      await writeFile(fileIn('a', id), bytes, { flush: true });
      if (subject.mountsEndWithTheMachine) await world.loseMounts();
      else await a.unmount(id, world.signal);
      // The pool itself may be mounted with its first node.
      b = await world.node('b');
      expect(await b.discover(id)).toEqual({ kind: 'elsewhere', instance: 'a' });
      await seize(id, ['c', 'a']);
      await seize(id, ['a']);
      expect((await b.discover(id)).kind).toBe('attached');
      await b.mount(id, world.signal);
      expect((await readFile(fileIn('b', id))).equals(bytes)).toBe(true);
      const back = await world.node('a');
      expect(await back.listHere()).toEqual(new Map());
      expect(await back.discover(id)).toEqual({ kind: 'elsewhere', instance: 'b' });
      expect(await readdir(world.mountRoot('a'))).toEqual([]);
      await releaseOn(b, id);
    });

    it('only from those that were declared dead', async () => {
      const id = await mountedOnA();
      await a.unmount(id, world.signal);
      await expectCode(seize(id, ['c']), 'volume_elsewhere', id);
      expect((await a.discover(id)).kind).toBe('attached');
      await a.detach(id, world.signal);
      await expectCode(seize(id, ['a']), 'backend_failed', id);
      await expectCode(seize(newDatasetId(randomUUID), ['a']), 'volume_lost', null);
    });

    it('not before whatever uses it is cut off, or has ended', async () => {
      const id = await mountedOnA();
      await writeFile(fileIn('a', id), 'line\n', { flush: true });
      const holder = await world.hold('tail', ['-f', fileIn('a', id)]);
      if (subject.fences === true) {
        await seize(id, ['a']);
        await expect(appendFile(fileIn('a', id), 'late\n', { flush: true })).rejects.toThrow(
          /ESHUTDOWN|ENOTCONN|EIO|EROFS/,
        );
        await b.mount(id, world.signal);
        expect(await readFile(fileIn('b', id), 'utf8')).toBe('line\n');
        await world.end(holder);
        expect(await a.listHere()).toEqual(new Map());
        return await releaseOn(b, id);
      }
      await expectCode(seize(id, ['a']), 'volume_in_use', id);
      expect((await a.discover(id)).kind).toBe('mounted');
      await world.end(holder);
      await a.unmount(id, world.signal);
      await seize(id, ['a']);
      await b.mount(id, world.signal);
      expect(await readFile(fileIn('b', id), 'utf8')).toBe('line\n');
      await releaseOn(b, id);
    });
  });
}

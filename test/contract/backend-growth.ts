import { randomBytes, randomUUID } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Backend, BackendError } from '../../src/agent/backends/backend.ts';
import { type DatasetId, newDatasetId } from '../../src/kit/ids.ts';
import type { BackendSubject } from './backend.ts';
import { BackendWorld, killsOf, testsOfPool } from './backend-world.ts';
import { expectCode } from './expect-code.ts';

const MIB = 2 ** 20;
const SIZE_BYTES = 16 * MIB;

type Grow = NonNullable<Backend['grow']>;

/** What `Backend.grow` promises; nothing where a backend has none. */
export function growthContract(name: string, subject: BackendSubject): void {
  describe.skipIf(subject.skip !== null)(`${name} keeps the contract on growth${subject.skip ?? ''}`, () => {
    let world: BackendWorld;
    let a: Backend;
    let grow: Grow;

    beforeEach(async (context) => {
      world = await BackendWorld.make(subject.section, subject.place);
      a = await world.node('a');
      if (a.grow === undefined) context.skip(`${name} does not grow volumes`);
      else grow = a.grow.bind(a);
    });

    afterEach(async () => {
      const problems: unknown[] = [];
      for (const instance of ['a', 'b']) problems.push(...(await world.teardown(instance)));
      expect([...problems, ...(await world.close())]).toEqual([]);
    });

    const itOfPool = testsOfPool(subject);
    const attached = async (): Promise<DatasetId> => {
      const id = newDatasetId(randomUUID);
      await a.create({ datasetId: id, sizeBytes: SIZE_BYTES, metadata: {} }, world.signal);
      await a.attach(id, world.signal);
      return id;
    };
    const mounted = async (): Promise<DatasetId> => {
      const id = await attached();
      await a.mount(id, world.signal);
      return id;
    };
    const file = (id: DatasetId, path: string, instance = 'a'): string => join(world.mountRoot(instance), id, path);
    const sizeOf = async (id: DatasetId): Promise<number | undefined> => {
      const state = await a.discover(id);
      return 'sizeBytes' in state ? state.sizeBytes : undefined;
    };
    /** Grows a mounted volume as an agent does: where that is not possible, it is unmounted for it. */
    const growMounted = async (id: DatasetId, sizeBytes: number): Promise<void> => {
      try {
        await grow(id, sizeBytes, world.signal);
      } catch (error) {
        if (!(error instanceof BackendError) || error.code !== 'volume_in_use') throw error;
        expect(error.message).toContain(id);
        expect((await a.discover(id)).kind).toBe('mounted');
        await a.unmount(id, world.signal);
        await grow(id, sizeBytes, world.signal);
        await a.mount(id, world.signal);
      }
    };

    it('gives a mounted volume more room and keeps what is in it', async () => {
      const id = await mounted();
      const bytes = randomBytes(3 * MIB);
      await writeFile(file(id, 'kept'), bytes);
      await growMounted(id, 64 * MIB);
      const path = join(world.mountRoot('a'), id);
      expect(await a.discover(id)).toEqual({ kind: 'mounted', sizeBytes: 64 * MIB, path });
      expect((await readFile(file(id, 'kept'))).equals(bytes)).toBe(true);
      await writeFile(file(id, 'large'), Buffer.alloc(40 * MIB, 1));
      await a.unmount(id, world.signal);
      await a.mount(id, world.signal);
      expect((await readFile(file(id, 'kept'))).equals(bytes)).toBe(true);
    });

    it('gives an attached volume more room before it is mounted, here or elsewhere', async () => {
      const id = await mounted();
      await writeFile(file(id, 'kept'), 'kept');
      await a.unmount(id, world.signal);
      await grow(id, 64 * MIB, world.signal);
      expect(await a.discover(id)).toEqual({ kind: 'attached', sizeBytes: 64 * MIB });
      await a.detach(id, world.signal);
      const b = await world.node('b');
      expect(await b.discover(id)).toEqual({ kind: 'detached', sizeBytes: 64 * MIB });
      await b.attach(id, world.signal);
      await b.mount(id, world.signal);
      expect(await readFile(file(id, 'kept', 'b'), 'utf8')).toBe('kept');
      await writeFile(file(id, 'large', 'b'), Buffer.alloc(40 * MIB, 1));
    });

    it('does nothing for a volume that has as much, and never takes anything away', async () => {
      const id = await attached();
      await grow(id, 64 * MIB, world.signal);
      for (const sizeBytes of [64 * MIB, 32 * MIB, 1]) {
        await grow(id, sizeBytes, world.signal);
        expect(await sizeOf(id)).toBe(64 * MIB);
      }
    });

    itOfPool('rounds up to whole allocation units', async () => {
      const inUnits = await world.node('a', { allocation_unit: '10MiB' });
      const id = await attached();
      await inUnits.grow?.(id, 22 * MIB, world.signal);
      expect(await sizeOf(id)).toBe(30 * MIB);
    });

    itOfPool('refuses what is not here, and what is no size', async () => {
      const id = newDatasetId(randomUUID);
      await expectCode(grow(id, 64 * MIB, world.signal), 'volume_lost', id);
      await a.create({ datasetId: id, sizeBytes: SIZE_BYTES, metadata: {} }, world.signal);
      await expectCode(grow(id, 64 * MIB, world.signal), 'backend_failed', id);
      await a.attach(id, world.signal);
      for (const sizeBytes of [0, -1, 0.5, Number.NaN, 2 ** 60]) {
        await expectCode(grow(id, sizeBytes, world.signal), 'bad_size', id);
      }
      const reason = new Error('shutting down');
      await expect(grow(id, 64 * MIB, AbortSignal.abort(reason))).rejects.toBe(reason);
      expect(await sizeOf(id)).toBe(SIZE_BYTES);
      const b = await world.node('b');
      await expectCode(Promise.resolve(b.grow?.(id, 64 * MIB, world.signal)), 'volume_elsewhere', id);
    });

    it('goes on from wherever it was killed, and has at every moment what it says', async () => {
      const id = await mounted();
      await writeFile(file(id, 'kept'), 'kept');
      await a.unmount(id, world.signal);
      let beforeBytes = SIZE_BYTES;
      for (const afterMs of killsOf(subject, [0, 4, 8, 12, 16, 20, 26, 32, 40, 60])) {
        const child = await world.agentThat(
          'a',
          `for (let size = ${beforeBytes}; ; size += ${MIB}) await backend.grow('${id}', size, signal);`,
        );
        child.stdin?.write('go\n');
        await sleep(afterMs);
        await world.end(child);
        a = await world.node('a');
        const nowBytes = (await sizeOf(id)) ?? 0;
        expect(nowBytes).toBeGreaterThanOrEqual(beforeBytes);
        await a.mount(id, world.signal);
        expect(await readFile(file(id, 'kept'), 'utf8')).toBe('kept');
        await a.unmount(id, world.signal);
        beforeBytes = nowBytes + MIB;
        await expect
          .poll(() => a.grow?.(id, beforeBytes, world.signal).then(() => 'grown', String), { timeout: 10_000 })
          .toBe('grown');
        beforeBytes = (await sizeOf(id)) ?? 0;
        expect(beforeBytes).toBeGreaterThan(nowBytes);
      }
      await a.mount(id, world.signal);
      await writeFile(file(id, 'large'), Buffer.alloc(beforeBytes - SIZE_BYTES, 1));
    });
  });
}

import { randomBytes, randomUUID } from 'node:crypto';
import { chmod, mkdir, readdir, readFile, rename, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Backend } from '../../src/agent/backends/backend.ts';
import { teardownNode } from '../../src/agent/backends/teardown.ts';
import { type DatasetId, newDatasetId } from '../../src/kit/ids.ts';
import { expectSoundFigures } from './backend-figures.ts';
import { growthContract } from './backend-growth.ts';
import { seizureContract } from './backend-seizure.ts';
import { snapshotContract } from './backend-snapshots.ts';
import { BackendWorld, killsOf, type Thrift, testsOfPool, type WorldPlace } from './backend-world.ts';
import { expectCode } from './expect-code.ts';

const SIZE_BYTES = 16 * 2 ** 20;
/** Of tests that start an agent many times: on a loaded machine each takes seconds. */
const MANY_STARTS_TIMEOUT_MS = 110_000;

export interface BackendSubject extends Thrift {
  /** The `dataset` section of `agent.yml`, without `root_path`. */
  readonly section: Readonly<Record<string, unknown>>;
  /** The file or directory with the bytes, within a volume's directory. */
  readonly bytesName: string;
  /** Why the suite cannot run here; null when it can. */
  readonly skip: string | null;
  /** Whether a restart of the machine unmounts volumes. */
  readonly mountsEndWithTheMachine: boolean;
  /** Where its pool is; by default a directory. */
  readonly place?: (directory: string) => WorldPlace;
  /** What is mounted, and which files are loop devices, on a machine whose node `a` runs with no volume mounted. */
  readonly mountedWithoutVolumes: (world: BackendWorld) => readonly string[];
  /** Whether taking over cuts off who still writes, instead of waiting for it. */
  readonly fences?: boolean;
  /** Whether a snapshot is of one instant even while somebody writes. */
  readonly snapshotsAreInstants: boolean;
}

/** Everything that the `Backend` interface promises, against the real thing. */
export function backendContract(name: string, subject: BackendSubject): void {
  growthContract(name, subject);
  snapshotContract(name, subject);
  seizureContract(name, subject);
  describe.skipIf(subject.skip !== null)(`${name} keeps the backend contract${subject.skip ?? ''}`, () => {
    let world: BackendWorld;
    let a: Backend;

    beforeEach(async () => {
      world = await BackendWorld.make(subject.section, subject.place);
      a = await world.node('a');
    });

    afterEach(async () => {
      const problems: unknown[] = [];
      for (const instance of ['a', 'b']) problems.push(...(await world.teardown(instance)));
      expect([...problems, ...(await world.close())]).toEqual([]);
    });

    const itOfPool = testsOfPool(subject);
    const signalOf = (): AbortSignal => world.signal;
    const create = (backend: Backend, datasetId: DatasetId, metadata: Record<string, string> = {}): Promise<void> =>
      backend.create({ datasetId, sizeBytes: SIZE_BYTES, metadata }, signalOf());
    const mounted = async (backend: Backend, datasetId = newDatasetId(randomUUID)): Promise<DatasetId> => {
      await create(backend, datasetId);
      await backend.attach(datasetId, signalOf());
      await backend.mount(datasetId, signalOf());
      return datasetId;
    };
    const released = async (backend: Backend, datasetId: DatasetId): Promise<void> => {
      await backend.unmount(datasetId, signalOf());
      await backend.detach(datasetId, signalOf());
    };
    const fileIn = (instance: string, datasetId: DatasetId, file: string): string =>
      join(world.mountRoot(instance), datasetId, file);

    it('leads a volume from absent to mounted and back', async () => {
      const id = newDatasetId(randomUUID);
      const path = join(world.mountRoot('a'), id);
      expect(await a.discover(id)).toEqual({ kind: 'absent' });
      await create(a, id);
      expect(await a.discover(id)).toEqual({ kind: 'detached', sizeBytes: SIZE_BYTES });
      expect((await a.listHere()).size).toBe(0);
      await a.attach(id, signalOf());
      expect(await a.discover(id)).toEqual({ kind: 'attached', sizeBytes: SIZE_BYTES });
      await a.mount(id, signalOf());
      expect(await a.discover(id)).toEqual({ kind: 'mounted', sizeBytes: SIZE_BYTES, path });
      expect(await a.listHere()).toEqual(new Map([[id, { kind: 'mounted', sizeBytes: SIZE_BYTES, path }]]));
      expect(await readdir(path)).toEqual([]);
      expect((await stat(path)).mode & 0o7777).toBe(0o777);
      await writeFile(join(path, 'file'), 'kept');
      await a.unmount(id, signalOf());
      expect(await a.discover(id)).toEqual({ kind: 'attached', sizeBytes: SIZE_BYTES });
      expect(await readdir(world.mountRoot('a'))).toEqual([]);
      expect((await world.leftovers()).toSorted()).toEqual([...subject.mountedWithoutVolumes(world)].sort());
      await a.detach(id, signalOf());
      expect(await a.discover(id)).toEqual({ kind: 'detached', sizeBytes: SIZE_BYTES });
      await a.destroy(id, signalOf());
      expect(await a.discover(id)).toEqual({ kind: 'absent' });
      expect(await readdir(join(world.rootPath, 'destroying', 'a'))).toEqual([]);
    });

    it('does nothing when a step has been done already', async () => {
      const id = newDatasetId(randomUUID);
      await create(a, id);
      await create(a, id);
      await a.attach(id, signalOf());
      await a.attach(id, signalOf());
      await a.mount(id, signalOf());
      await writeFile(fileIn('a', id, 'file'), 'kept');
      await a.mount(id, signalOf());
      expect(await readFile(fileIn('a', id, 'file'), 'utf8')).toBe('kept');
      await a.unmount(id, signalOf());
      await a.unmount(id, signalOf());
      await a.detach(id, signalOf());
      await a.detach(id, signalOf());
      await create(a, id);
      await a.attach(id, signalOf());
      await a.mount(id, signalOf());
      expect(await readFile(fileIn('a', id, 'file'), 'utf8')).toBe('kept');
      await released(a, id);
      await a.destroy(id, signalOf());
      await a.destroy(id, signalOf());
    });

    itOfPool('refuses steps out of order', async () => {
      const id = newDatasetId(randomUUID);
      await expectCode(a.attach(id, signalOf()), 'volume_lost', id);
      await expectCode(a.mount(id, signalOf()), 'volume_lost', id);
      await expectCode(a.unmount(id, signalOf()), 'volume_lost', id);
      await expectCode(a.detach(id, signalOf()), 'volume_lost', id);
      await create(a, id);
      await expectCode(a.mount(id, signalOf()), 'backend_failed', id);
      await expectCode(a.unmount(id, signalOf()), 'backend_failed', id);
      await a.attach(id, signalOf());
      await expectCode(a.destroy(id, signalOf()), 'backend_failed', id);
      await expectCode(create(a, id), 'backend_failed', id);
      await a.mount(id, signalOf());
      await writeFile(fileIn('a', id, 'file'), 'kept');
      await expectCode(a.destroy(id, signalOf()), 'backend_failed', id);
      await expectCode(a.detach(id, signalOf()), 'backend_failed', id);
      expect(await readFile(fileIn('a', id, 'file'), 'utf8')).toBe('kept');
    });

    it('keeps volumes and pool identity over a restart of the agent', async () => {
      const id = await mounted(a);
      await writeFile(fileIn('a', id, 'file'), 'kept');
      const again = await world.node('a');
      expect(again.pool).toBe(a.pool);
      expect((await again.discover(id)).kind).toBe('mounted');
      expect(await readFile(fileIn('a', id, 'file'), 'utf8')).toBe('kept');
      await released(again, id);
    });

    it('leaves no mount point behind when a volume goes away after a restart of the machine', async () => {
      const id = newDatasetId(randomUUID);
      await create(a, id);
      await a.attach(id, signalOf());
      await a.mount(id, signalOf());
      await world.loseMounts();
      const after = await world.start('a');
      if ((await after.discover(id)).kind === 'mounted') await after.unmount(id, signalOf());
      await after.detach(id, signalOf());
      expect(await readdir(world.mountRoot('a'))).toEqual([]);
      await after.destroy(id, signalOf());
    });

    it('keeps volumes attached over a restart of the machine', async () => {
      const id = await mounted(a);
      await writeFile(fileIn('a', id, 'file'), 'kept');
      await world.loseMounts();
      const again = await world.node('a');
      expect((await again.discover(id)).kind).toBe(subject.mountsEndWithTheMachine ? 'attached' : 'mounted');
      await again.mount(id, signalOf());
      expect(await readFile(fileIn('a', id, 'file'), 'utf8')).toBe('kept');
    });

    it('prepares the root of a volume once and never again', async () => {
      const id = await mounted(a);
      const path = join(world.mountRoot('a'), id);
      await chmod(path, 0o750);
      await a.unmount(id, signalOf());
      await a.mount(id, signalOf());
      expect((await stat(path)).mode & 0o7777).toBe(0o750);
    });

    it('moves a volume between two nodes, byte for byte, and lets only one have it', async () => {
      const b = await world.node('b');
      expect(b.pool).toBe(a.pool);
      const id = await mounted(a);
      const bytes = randomBytes(3_000_000);
      await writeFile(fileIn('a', id, 'bytes'), bytes);
      expect(await b.discover(id)).toEqual({ kind: 'elsewhere', instance: 'a' });
      expect((await b.listHere()).size).toBe(0);
      await expectCode(b.attach(id, signalOf()), 'volume_elsewhere', id);
      await expectCode(b.mount(id, signalOf()), 'volume_elsewhere', id);
      await expectCode(b.unmount(id, signalOf()), 'volume_elsewhere', id);
      await expectCode(b.detach(id, signalOf()), 'volume_elsewhere', id);
      await expectCode(b.destroy(id, signalOf()), 'volume_elsewhere', id);
      await expectCode(create(b, id), 'volume_elsewhere', id);
      await released(a, id);
      await b.attach(id, signalOf());
      await b.mount(id, signalOf());
      expect((await readFile(fileIn('b', id, 'bytes'))).equals(bytes)).toBe(true);
      expect(await a.discover(id)).toEqual({ kind: 'elsewhere', instance: 'b' });
      await released(b, id);
    });

    itOfPool('gives a detached volume to exactly one of two nodes that ask at once', async () => {
      const b = await world.node('b');
      for (let round = 0; round < 10; round += 1) {
        const id = newDatasetId(randomUUID);
        await create(a, id);
        const results = await Promise.allSettled([a.attach(id, signalOf()), b.attach(id, signalOf())]);
        expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
        const loser = results[0].status === 'fulfilled' ? b : a;
        await expectCode(loser.attach(id, signalOf()), 'volume_elsewhere', id);
      }
    });

    itOfPool('agrees on one pool identity when several nodes start at once', async () => {
      await rm(world.rootPath, { recursive: true });
      const nodes = await Promise.all(['a', 'b', 'c', 'd', 'e'].map((instance) => world.start(instance)));
      expect(new Set(nodes.map(({ pool }) => pool)).size).toBe(1);
      for (const instance of ['c', 'd', 'e']) expect(await world.teardown(instance)).toEqual([]);
    });

    it('leaves nothing that counts as a volume when it is killed in mid-create', {
      timeout: MANY_STARTS_TIMEOUT_MS,
    }, async () => {
      const outcomes = new Set<string>();
      for (const afterMs of killsOf(subject, [0, 1, 2, 3, 4, 5, 6, 8, 10, 14, 20])) {
        const id = newDatasetId(randomUUID);
        const child = await world.agent('a', id, ['create']);
        child.stdin?.write('go\n');
        await sleep(afterMs);
        await world.end(child);
        const again = await world.start('a');
        const found = await again.discover(id);
        outcomes.add(found.kind);
        expect(['absent', 'detached']).toContain(found.kind);
        await again.recover();
        expect(await readdir(join(world.rootPath, 'creating', 'a'))).toEqual([]);
        expect(await again.discover(id)).toEqual(found);
        await mounted(again, id);
        await writeFile(fileIn('a', id, 'file'), 'works');
        await released(again, id);
      }
      expect(outcomes).toContain('absent');
    });

    it('goes on from wherever it was killed', { timeout: MANY_STARTS_TIMEOUT_MS }, async () => {
      const id = newDatasetId(randomUUID);
      for (const afterMs of killsOf(subject, [5, 12, 19, 26, 33, 40, 55, 70, 85, 100])) {
        const child = await world.agent('a', id, ['create', 'attach', 'mount', 'unmount', 'detach', 'destroy']);
        child.stdin?.write('go\n');
        await sleep(afterMs);
        await world.end(child);
        const again = await world.node('a');
        const found = await again.discover(id);
        if (found.kind === 'absent') await create(again, id);
        if (found.kind !== 'attached' && found.kind !== 'mounted') await again.attach(id, signalOf());
        await again.mount(id, signalOf());
        expect((await stat(join(world.mountRoot('a'), id))).mode & 0o7777).toBe(0o777);
        await writeFile(fileIn('a', id, 'file'), 'works');
        await released(again, id);
        await again.destroy(id, signalOf());
        expect(await readdir(world.mountRoot('a'))).toEqual([]);
        expect((await world.leftovers()).toSorted()).toEqual([...subject.mountedWithoutVolumes(world)].sort());
      }
    });

    itOfPool('cleans up after its own node only', async () => {
      const id = newDatasetId(randomUUID);
      for (const instance of ['a', 'b']) {
        for (const part of ['creating', 'destroying']) {
          await mkdir(join(world.rootPath, part, instance, id), { recursive: true });
          await writeFile(join(world.rootPath, part, instance, id, 'half'), 'half');
        }
      }
      await (await world.start('a')).recover();
      expect(await readdir(join(world.rootPath, 'creating', 'a'))).toEqual([]);
      expect(await readdir(join(world.rootPath, 'destroying', 'a'))).toEqual([]);
      expect(await readdir(join(world.rootPath, 'creating', 'b'))).toEqual([id]);
      expect(await readdir(join(world.rootPath, 'destroying', 'b'))).toEqual([id]);
    });

    it('works on twenty volumes at once', async () => {
      const ids = Array.from({ length: 20 }, () => newDatasetId(randomUUID));
      await Promise.all(
        ids.map(async (id) => {
          await mounted(a, id);
          await writeFile(fileIn('a', id, 'id'), id);
        }),
      );
      const here = await a.listHere();
      expect([...here.keys()].sort()).toEqual([...ids].sort());
      expect([...here.values()].every(({ kind }) => kind === 'mounted')).toBe(true);
      for (const id of ids) expect(await readFile(fileIn('a', id, 'id'), 'utf8')).toBe(id);
      await Promise.all(
        ids.map(async (id) => {
          await released(a, id);
          await a.destroy(id, signalOf());
        }),
      );
      expect(await readdir(join(world.rootPath, 'unattached'))).toEqual([]);
    });

    it('does not unmount what a process has open, and names the process', async () => {
      const id = await mounted(a);
      await writeFile(fileIn('a', id, 'log'), 'line\n');
      const holder = await world.hold('tail', ['-f', fileIn('a', id, 'log')]);
      const refusal = await expectCode(a.unmount(id, signalOf()), 'volume_in_use', id);
      expect(refusal).toContain(`pid ${holder.pid} (tail)`);
      expect((await a.discover(id)).kind).toBe('mounted');
      const problems = await teardownNode({ backend: a, mountRoot: world.mountRoot('a'), signal: signalOf() });
      expect(problems.map(({ code }) => code)).toEqual(['volume_in_use']);
      await world.end(holder);
      await a.unmount(id, signalOf());
      expect((await a.discover(id)).kind).toBe('attached');
    });

    it('sees a working directory as use', async () => {
      const id = await mounted(a);
      const cd = `cd ${join(world.mountRoot('a'), id)} && echo in && read line`;
      const holder = await world.hold('sh', ['-c', cd]);
      expect(await expectCode(a.unmount(id, signalOf()), 'volume_in_use', id)).toContain(`pid ${holder.pid} (sh)`);
      await world.end(holder);
    });

    it('knows its profiles', async () => {
      expect(a.profiles).toEqual(['gold', 'silver', 'bronze']);
      const id = newDatasetId(randomUUID);
      await create(a, id, { 'clusterhq:flocker:profile': 'silver', name: 'db' });
      const record: unknown = JSON.parse(await readFile(join(world.rootPath, 'unattached', id, 'volume.json'), 'utf8'));
      expect(record).toMatchObject({ datasetId: id, profile: 'silver', name: 'db', sizeBytes: SIZE_BYTES });
      const other = newDatasetId(randomUUID);
      const refused = create(a, other, { 'clusterhq:flocker:profile': 'platinum' });
      expect(await expectCode(refused, 'no_such_profile', other)).toContain('bronze, gold, silver');
      await expectCode(create(a, other, { 'clusterhq:flocker:profile': 'constructor' }), 'no_such_profile', other);
      expect(await a.discover(other)).toEqual({ kind: 'absent' });
      expect(await readdir(join(world.rootPath, 'creating', 'a'))).toEqual([]);
    });

    it('gives the default size when none is asked for, and whole allocation units', async () => {
      const byDefault = newDatasetId(randomUUID);
      await a.create({ datasetId: byDefault, sizeBytes: null, metadata: {} }, signalOf());
      expect(await a.discover(byDefault)).toEqual({ kind: 'detached', sizeBytes: SIZE_BYTES });
      const inUnits = await world.node('a', { allocation_unit: '10MiB' });
      const rounded = newDatasetId(randomUUID);
      await inUnits.create({ datasetId: rounded, sizeBytes: SIZE_BYTES, metadata: {} }, signalOf());
      expect(await a.discover(rounded)).toEqual({ kind: 'detached', sizeBytes: 20 * 2 ** 20 });
      for (const sizeBytes of [0, -1, 0.5, Number.NaN, 2 ** 60]) {
        const id = newDatasetId(randomUUID);
        await expectCode(a.create({ datasetId: id, sizeBytes, metadata: {} }, signalOf()), 'bad_size', id);
        expect(await a.discover(id)).toEqual({ kind: 'absent' });
      }
    });

    itOfPool('ignores what is no volume, and says so when asked for it', async () => {
      const [id, other] = [newDatasetId(randomUUID), newDatasetId(randomUUID)];
      const own = join(world.rootPath, 'attached', 'a');
      await symlink('/etc', join(own, id));
      await mkdir(join(own, 'lost+found'));
      await writeFile(join(own, other), 'a file');
      await mkdir(join(world.rootPath, 'attached', '..odd name'));
      expect(await a.listHere()).toEqual(new Map());
      for (const odd of [id, other]) {
        expect(await expectCode(a.discover(odd), 'backend_failed', odd)).toContain('is no directory');
        await expectCode(a.mount(odd, signalOf()), 'backend_failed', odd);
        await expectCode(create(a, odd), 'backend_failed', odd);
      }
      await rm(join(own, id));
      expect(await readdir('/etc')).not.toEqual([]);
    });

    it('never takes a lost volume for a new one', async () => {
      const id = newDatasetId(randomUUID);
      await create(a, id);
      await a.attach(id, signalOf());
      const directory = join(world.rootPath, 'attached', 'a', id);
      await rm(join(directory, subject.bytesName), { recursive: true });
      await expectCode(a.mount(id, signalOf()), 'volume_lost', id);
      await expectCode(create(a, id), 'backend_failed', id);
      expect(await readdir(directory)).not.toContain(subject.bytesName);
      await rm(join(directory, 'volume.json'));
      expect(await expectCode(a.discover(id), 'backend_failed', id)).toContain('volume.json');
      expect([...(await a.listHere()).keys()]).toEqual([id]);
    });

    itOfPool('calls no volume absent when the pool is gone', async () => {
      const id = newDatasetId(randomUUID);
      await create(a, id);
      await a.attach(id, signalOf());
      const away = `${world.rootPath}-away`;
      await rename(world.rootPath, away);
      await mkdir(join(world.rootPath, 'attached', 'a'), { recursive: true });
      await expectCode(a.discover(id), 'pool_unreachable', null);
      await expectCode(a.listHere(), 'pool_unreachable', null);
      await expectCode(create(a, newDatasetId(randomUUID)), 'pool_unreachable', null);
      await expectCode(a.destroy(id, signalOf()), 'pool_unreachable', null);
      await rm(world.rootPath, { recursive: true });
      await rename(away, world.rootPath);
      expect((await a.discover(id)).kind).toBe('attached');
      await rename(join(world.rootPath, 'pool.json'), away);
      await expectCode(world.start('a'), 'pool_unreachable', null);
      await rename(away, join(world.rootPath, 'pool.json'));
    });

    itOfPool('does not begin when it is aborted already', async () => {
      const id = newDatasetId(randomUUID);
      const reason = new Error('shutting down');
      const aborted = AbortSignal.abort(reason);
      await expect(a.create({ datasetId: id, sizeBytes: null, metadata: {} }, aborted)).rejects.toBe(reason);
      expect(await a.discover(id)).toEqual({ kind: 'absent' });
      await create(a, id);
      await expect(a.attach(id, aborted)).rejects.toBe(reason);
      expect((await a.discover(id)).kind).toBe('detached');
    });

    it('says what its pool is like, and how full it and its mounted volumes are, as far as it can tell', async () => {
      const id = newDatasetId(randomUUID);
      await create(a, id);
      expect(await a.usage?.(id, signalOf())).toBeUndefined();
      await mounted(a, id);
      await expectSoundFigures(a, id, signalOf());
    });

    it('tears a node down to what its pool remembers', async () => {
      const id = await mounted(a);
      await writeFile(fileIn('a', id, 'file'), 'kept');
      expect(await teardownNode({ backend: a, mountRoot: world.mountRoot('a'), signal: signalOf() })).toEqual([]);
      expect(await world.leftovers()).toEqual([]);
      await expect(stat(world.mountRoot('a'))).rejects.toThrow('ENOENT');
      const again = await world.node('a');
      expect((await again.discover(id)).kind).toBe('attached');
      await again.mount(id, signalOf());
      expect(await readFile(fileIn('a', id, 'file'), 'utf8')).toBe('kept');
    });
  });
}

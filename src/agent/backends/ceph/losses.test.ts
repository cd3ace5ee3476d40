import type { ChildProcess } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest';
import { BackendWorld } from '../../../../test/contract/backend-world.ts';
import { CephCluster, cephSkipReason } from '../../../../test/support/ceph-cluster.ts';
import { type DatasetId, newDatasetId } from '../../../kit/ids.ts';
import type { Backend } from '../backend.ts';
import { askSocket } from './admin-socket.ts';

const skip = await cephSkipReason();
const cluster = skip === null ? await CephCluster.start() : undefined;
const TIMEOUT_MS = 180_000;
const WAIT_MS = 80_000;

afterAll(async () => {
  await cluster?.stop();
});

/** Bytes of each record, its number in front. */
const RECORD_BYTES = 2 ** 20;
/** Appends numbered records, each on disk before its number is said; at an error, says its code and waits to be told to go on. */
const WRITER = `
  const { openSync, writeSync, fsyncSync } = await import('node:fs');
  const record = Buffer.alloc(${RECORD_BYTES}, '.');
  const lines = process.stdin[Symbol.asyncIterator]();
  const file = openSync(process.argv[1], 'w');
  for (let count = 1; ; count += 1) {
    record.write(String(count).padEnd(8));
    for (;;) {
      try {
        for (let done = 0; done < record.length; )
          done += writeSync(file, record, done, record.length - done, (count - 1) * record.length + done);
        fsyncSync(file);
        break;
      } catch (error) {
        process.stdout.write(error.code + '\\n');
        await lines.next();
      }
    }
    process.stdout.write(count + '\\n');
    await new Promise(setImmediate);
  }`;

async function appended(path: string): Promise<unknown> {
  return await writeFile(path, 'more', { flush: true }).then(
    () => 'on disk',
    (error: unknown) => error,
  );
}

describe.skipIf(skip !== null)(`a Ceph that loses something${skip ?? ''}`, () => {
  let world: BackendWorld;
  let a: Backend;
  let b: Backend;
  let id: DatasetId;

  const ceph = (): CephCluster => {
    if (cluster === undefined) throw new Error('there is no cluster');
    return cluster;
  };

  beforeEach(async () => {
    world = await BackendWorld.make({ backend: 'ceph' }, (directory) => ceph().place(directory));
    a = await world.node('a');
    b = await world.node('b');
    id = newDatasetId(randomUUID);
    await a.create({ datasetId: id, sizeBytes: 2 * 2 ** 30, metadata: {} }, world.signal);
    await a.attach(id, world.signal);
    await a.mount(id, world.signal);
  }, TIMEOUT_MS);

  afterEach(async () => {
    const problems: unknown[] = [];
    for (const instance of ['a', 'b']) problems.push(...(await world.teardown(instance)));
    expect([...problems, ...(await world.close())]).toEqual([]);
  }, TIMEOUT_MS);

  const writing = async (): Promise<ChildProcess & { readonly said: () => string; readonly told: () => number }> => {
    const child = await world.hold(process.execPath, [
      ...['--input-type=module', '-e', WRITER],
      join(world.mountRoot('a'), id, 'records'),
    ]);
    let text = '';
    child.stdout?.setEncoding('utf8').on('data', (part: string) => {
      text += part;
    });
    const told = (): number => Number(text.match(/^\d+$/gm)?.at(-1) ?? 0);
    return Object.assign(child, { said: () => text, told });
  };
  const pastBy = async (writer: { readonly told: () => number }, more: number): Promise<void> => {
    const from = writer.told();
    await expect.poll(writer.told, { timeout: WAIT_MS }).toBeGreaterThan(from + more);
  };
  const expectAll = async (instance: string, count: number): Promise<void> => {
    const bytes = await readFile(join(world.mountRoot(instance), id, 'records'));
    expect(bytes.length).toBeGreaterThanOrEqual(count * RECORD_BYTES);
    const numbers = Array.from({ length: count }, (_, at) =>
      Number(bytes.toString('latin1', at * RECORD_BYTES, at * RECORD_BYTES + 8)),
    );
    expect(numbers).toEqual(numbers.map((_, at) => at + 1));
  };
  const clean = async (): Promise<void> => {
    const states = async (): Promise<string[]> => {
      const stat = await ceph().mon<{ pg_summary: { num_pg_by_state: { name: string }[] } }>('pg stat');
      return stat.pg_summary.num_pg_by_state.map(({ name }) => name);
    };
    await expect.poll(states, { timeout: WAIT_MS }).toEqual(['active+clean']);
  };

  it('lets others have what a node had that it cut off by itself', { timeout: TIMEOUT_MS }, async () => {
    const file = (instance: string): string => join(world.mountRoot(instance), id, 'file');
    await writeFile(file('a'), 'on disk', { flush: true });
    const sockets = join(world.directory, 'ceph/run/a');
    for (const name of (await readdir(sockets)).filter((each) => each.endsWith('.asok'))) {
      const status = await askSocket(join(sockets, name), { prefix: 'status' }, world.signal);
      const { addr_str: addr } = JSON.parse(status) as { addr_str: string };
      // As the metadata server does with who is silent: for as long as the monitors have it by default.
      await ceph().mon('osd blocklist', { blocklistop: 'add', addr });
    }
    await b.seize?.(id, ['a'], world.signal);
    await b.mount(id, world.signal);
    expect(await readFile(file('b'), 'utf8')).toBe('on disk');
    await expect(writeFile(file('a'), 'late', { flush: true })).rejects.toThrow(/ESHUTDOWN|ENOTCONN|Unknown/);
  });

  it('goes on without one storage daemon, and then without another', { timeout: TIMEOUT_MS }, async () => {
    const writer = await writing();
    await pastBy(writer, 5);
    await ceph().halt('osd.1');
    await pastBy(writer, 30);
    await ceph().resume('osd.1');
    await pastBy(writer, 5);
    await world.end(writer);
    await clean();
    await ceph().halt('osd.2');
    try {
      await a.unmount(id, world.signal);
      await a.detach(id, world.signal);
      await b.attach(id, world.signal);
      await b.mount(id, world.signal);
      await expectAll('b', writer.told());
    } finally {
      await ceph().resume('osd.2');
      await clean();
    }
  });

  it('says so when it is full, loses nothing, and goes on when there is room', { timeout: TIMEOUT_MS }, async () => {
    const other = newDatasetId(randomUUID);
    await a.create({ datasetId: other, sizeBytes: 2 ** 24, metadata: {} }, world.signal);
    const writer = await writing();
    await pastBy(writer, 5);
    const { stats } = await ceph().mon<{ stats: { total_bytes: number; total_used_raw_bytes: number } }>('df');
    const used = stats.total_used_raw_bytes / stats.total_bytes;
    for (const [at, name] of ['nearfull', 'backfillfull', 'full'].entries()) {
      await ceph().mon(`osd set-${name}-ratio`, { ratio: used + 0.01 + at * 0.001 });
    }
    try {
      await expect.poll(writer.said, { timeout: WAIT_MS }).toContain('ENOSPC');
      const told = writer.told();
      const none = b.create({ datasetId: newDatasetId(randomUUID), sizeBytes: 2 ** 24, metadata: {} }, world.signal);
      await expect(none).rejects.toMatchObject({ code: 'no_space' });
      // Ceph counts every few seconds.
      const available = async (): Promise<unknown> => (await b.describePool?.(world.signal))?.figures?.availableBytes;
      await expect.poll(available, { timeout: WAIT_MS }).toBe(0);
      // A node may be lost just then: volumes move, and are there.
      await world.end(writer);
      await a.unmount(id, world.signal);
      await a.detach(id, world.signal);
      await b.attach(id, world.signal);
      await b.mount(id, world.signal);
      await expectAll('b', told);
      await b.unmount(id, world.signal);
      await a.seize?.(id, ['b'], world.signal);
      await a.mount(id, world.signal);
      await expectAll('a', told);
      // What is destroyed makes room.
      await a.destroy(other, world.signal);
      expect(await a.discover(other)).toEqual({ kind: 'absent' });
    } finally {
      for (const [name, ratio] of [
        ['full', 0.95],
        ['backfillfull', 0.9],
        ['nearfull', 0.85],
      ] as const) {
        await ceph().mon(`osd set-${name}-ratio`, { ratio });
      }
    }
    await expect.poll(() => appended(join(world.mountRoot('a'), id, 'more')), { timeout: WAIT_MS }).toBe('on disk');
  });
});

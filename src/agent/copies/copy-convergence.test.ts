import { randomBytes, randomUUID } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { BackendWorld } from '../../../test/contract/backend-world.ts';
import { btrfsPlace, btrfsSkipReason } from '../../../test/support/btrfs.ts';
import type { CopyOrder, CopyReport } from '../../api/copy-channel.ts';
import { systemClock } from '../../kit/clock.ts';
import {
  type DatasetId,
  type NodeId,
  newDatasetId,
  parseNodeId,
  parseSnapshotId,
  type SnapshotId,
} from '../../kit/ids.ts';
import { silentLogger } from '../../kit/logger.ts';
import { type Backend, BackendError, type CopyBases } from '../backends/backend.ts';
import { CopyConvergence } from './copy-convergence.ts';
import type { OpenCopy } from './open-copy.ts';

const MIB = 2 ** 20;
const skip = await btrfsSkipReason();
const nodeId = (): NodeId => parseNodeId(randomUUID()) as NodeId;

describe.skipIf(skip !== null)(`copies as ordered${skip ?? ''}`, () => {
  const [to, dead] = [nodeId(), nodeId()];
  const copy = randomUUID();
  let world: BackendWorld;
  let backend: Backend;
  let copies: CopyConvergence;
  let reports: CopyReport[];
  let open: (signal: AbortSignal, bases: CopyBases | undefined) => Promise<OpenCopy>;
  let id: DatasetId;

  beforeEach(async () => {
    world = await BackendWorld.make({ backend: 'btrfs' }, btrfsPlace);
    backend = await world.node('a');
    id = newDatasetId(randomUUID);
    reports = [];
    copies = new CopyConvergence({
      ...{ backend, clock: systemClock, random: Math.random, logger: silentLogger },
      between: (_, work) => work(),
      open: ({ signal, bases }) => open(signal, bases),
      report: (report) => void reports.push(report),
    });
  });

  afterEach(async () => {
    await copies.halt();
    const problems: unknown[] = [...(await world.teardown('a')), ...(await world.teardown(dead))];
    expect([...problems, ...(await world.close())]).toEqual([]);
  });

  const give = (order = 1, leftBy: string[] = []): CopyOrder => ({
    want: 'given',
    datasetId: id,
    order,
    copy,
    to,
    leftBy,
  });
  const fetch = (order: number, copyId: string = copy): CopyOrder => {
    const from = { node: to, host: '127.0.0.1', port: 1 };
    return { want: 'fetched', datasetId: id, order, copy: copyId, from };
  };
  const clear = (order: number): CopyOrder => ({ want: 'cleared', datasetId: id, order });
  const reported = (order: number): Promise<CopyReport> =>
    expect
      .poll(() => reports.find((report) => report.order === order && !report.busy), { timeout: 20_000 })
      .toBeDefined()
      .then(() => reports.findLast((report) => report.order === order) as CopyReport);
  const made = async (node = backend): Promise<void> => {
    await node.create({ datasetId: id, sizeBytes: 16 * MIB, metadata: {} }, world.signal);
  };
  const opened = (bytes: Readable): OpenCopy => ({
    ...{ record: { sizeBytes: 16 * MIB, profile: null, name: null }, totalBytes: null, bytes },
    ...{ against: null, along: null },
  });
  const endless = (signal: AbortSignal): Readable =>
    Readable.from(
      (async function* () {
        while (!signal.aborted) {
          await new Promise((resolve) => setTimeout(resolve, 5));
          yield Buffer.alloc(0);
        }
      })(),
    );

  it('are given to the node that was named, while the order holds', async () => {
    await made();
    expect(await copies.give(id, copy, to)).toBeUndefined();
    copies.takeOrders([give()], [], true);
    expect(await copies.give(id, randomUUID(), to)).toBeUndefined();
    expect(await copies.give(id, copy, nodeId())).toBeUndefined();
    const gift = await copies.give(id, copy, to);
    if (gift === undefined) throw new Error('not given');
    // Whoever asks again has lost what was given before.
    const second = await copies.give(id, copy, to);
    expect(gift.bytes.destroyed).toBe(true);
    expect(second?.bytes.destroyed).toBe(false);
    copies.takeOrders([], [id], false);
    expect(second?.bytes.destroyed).toBe(true);
    await Promise.all([gift.close(), second?.close()]);
    copies.takeOrders([give(2)], [], false);
    copies.forgetOrders();
    expect(await copies.give(id, copy, to)).toBeUndefined();
  });

  it('of a volume that a dead node had are given when it was taken over from there', async () => {
    const other = await world.node(dead);
    await made(other);
    await other.attach(id, world.signal);
    await other.mount(id, world.signal);
    await writeFile(join(world.mountRoot(dead), id, 'file'), 'kept');
    await other.unmount(id, world.signal);
    copies.takeOrders([give()], [], true);
    await expect(copies.give(id, copy, to)).rejects.toMatchObject({ code: 'volume_elsewhere' });
    copies.takeOrders([], [], true);
    copies.takeOrders([give(1, [dead])], [], true);
    const gift = await copies.give(id, copy, to);
    expect((await buffer(gift?.bytes ?? Readable.from([]))).length).toBeGreaterThan(0);
    await gift?.close();
    expect(await backend.discover(id)).toMatchObject({ kind: 'detached' });
  });

  it('are fetched, told of, and found again', async () => {
    const source = newDatasetId(randomUUID);
    await backend.create({ datasetId: source, sizeBytes: 16 * MIB, metadata: {} }, world.signal);
    await backend.attach(source, world.signal);
    await backend.mount(source, world.signal);
    const bytes = randomBytes(MIB);
    await writeFile(join(world.mountRoot('a'), source, 'bytes'), bytes);
    await backend.unmount(source, world.signal);
    await backend.detach(source, world.signal);
    let tries = 0;
    open = async (signal) => {
      tries += 1;
      if (tries === 1) throw new BackendError('in_progress', 'not yet');
      const given = await backend.copies?.give(source, signal);
      given?.bytes.once('close', () => void given.close());
      return opened(given?.bytes ?? Readable.from([]));
    };
    copies.takeOrders([fetch(1)], [], true);
    await expect.poll(() => reports.at(-1)?.state.kind, { timeout: 20_000 }).toBe('whole');
    expect(reports.map(({ problem, state }) => problem?.message ?? state.kind)).toEqual(['not yet', 'whole']);
    // A new connection asks again.
    copies.forgetOrders();
    copies.takeOrders([fetch(2)], [], true);
    expect(await reported(2)).toMatchObject({ copy, state: { kind: 'whole', sizeBytes: 16 * MIB } });
    expect(tries).toBe(2);
    await backend.attach(id, world.signal);
    await backend.mount(id, world.signal);
    expect((await readFile(join(world.mountRoot('a'), id, 'bytes'))).equals(bytes)).toBe(true);
  });

  it('bring all when one that builds on something failed', async () => {
    await made();
    await backend.attach(id, world.signal);
    await backend.snapshots?.take(parseSnapshotId(randomUUID()) as SnapshotId, id, world.signal);
    await backend.detach(id, world.signal);
    const given = await backend.copies?.give(id, world.signal);
    const stream = await buffer(given?.bytes ?? Readable.from([]));
    await given?.close();
    await backend.destroy(id, world.signal);
    const asked: (CopyBases | undefined)[] = [];
    open = (_, bases) => {
      asked.push(bases);
      if (asked.length === 1) return Promise.reject(new BackendError('in_progress', 'not yet'));
      const against = bases?.known[0] ?? null;
      const bytes = Readable.from([against === null ? stream : Buffer.from('something else')]);
      return Promise.resolve({ ...opened(bytes), against });
    };
    copies.takeOrders([fetch(1)], [], true);
    await expect.poll(() => reports.at(-1)?.state.kind, { timeout: 60_000 }).toBe('whole');
    const bases = { known: [expect.any(String) as string], keepsOne: true };
    expect(asked).toEqual([bases, bases, undefined]);
  });

  it('go on without a connection, and end when another one is wanted, or none', async () => {
    const signals: AbortSignal[] = [];
    open = (signal) => {
      signals.push(signal);
      return Promise.resolve(opened(endless(signal)));
    };
    const begun = (count: number): Promise<void> => expect.poll(() => signals.length).toBe(count);
    copies.takeOrders([fetch(1)], [], true);
    await begun(1);
    copies.forgetOrders();
    copies.takeOrders([fetch(2)], [], true);
    expect(signals.map(({ aborted }) => aborted)).toEqual([false]);
    copies.takeOrders([fetch(3, randomUUID())], [], false);
    await begun(2);
    expect(signals.map(({ aborted }) => aborted)).toEqual([true, false]);
    copies.takeOrders([], [], true);
    expect(signals.map(({ aborted }) => aborted)).toEqual([true, true]);
    await copies.halt();
  });

  it('that remain are destroyed after what made them has ended, and never while somebody has them', async () => {
    open = (signal) => Promise.resolve(opened(endless(signal)));
    copies.takeOrders([fetch(1)], [], true);
    copies.takeOrders([clear(2)], [], false);
    expect(await reported(2)).toMatchObject({ state: { kind: 'absent' }, problem: null });
    copies.takeOrders([], [id], false);
    await made();
    await backend.attach(id, world.signal);
    copies.takeOrders([clear(3)], [], false);
    expect(await reported(3)).toMatchObject({ problem: { code: 'conflict' } });
    expect(await backend.discover(id)).toMatchObject({ kind: 'attached' });
    await backend.detach(id, world.signal);
    await expect.poll(() => backend.discover(id), { timeout: 10_000 }).toEqual({ kind: 'absent' });
  });
});

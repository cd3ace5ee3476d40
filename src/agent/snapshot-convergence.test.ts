import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Order, Report, SnapshotOrder, SnapshotReport } from '../api/agent-channel.ts';
import { systemClock } from '../kit/clock.ts';
import type { DatasetId, SnapshotId } from '../kit/ids.ts';
import { silentLogger } from '../kit/logger.ts';
import { type Backend, BackendError, type SnapshotEngine } from './backends/backend.ts';
import { openBackend } from './backends/open-backend.ts';
import { Convergence } from './convergence.ts';
import { SnapshotConvergence } from './snapshot-convergence.ts';

const ID = '3d7e2f10-9a4b-4c8e-8f21-0a1b2c3d4e5f' as DatasetId;
const COPY = '3d7e2f10-9a4b-4c8e-8f21-0a1b2c3d4e60' as DatasetId;
const SNAPSHOT = '9d7e2f10-9a4b-4c8e-8f21-0a1b2c3d4e5f' as SnapshotId;
const MIB = 2 ** 20;

let directory: string;
let backend: Backend;
let engine: SnapshotEngine;
let convergence: Convergence;
let snapshots: SnapshotConvergence;
let reports: SnapshotReport[];
let told: ((report: Report | SnapshotReport) => void)[];

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'flocker-snapshots-'));
  [reports, told] = [[], []];
  const section = { backend: 'directory', root_path: join(directory, 'pool') };
  backend = await openBackend(section, { mountRoot: join(directory, 'mounts'), instance: 'one' });
  if (backend.snapshots === undefined) throw new Error('the directory backend has snapshots');
  engine = backend.snapshots;
  const tell = (report: Report | SnapshotReport): void => {
    for (const each of told) each(report);
  };
  const surroundings = { backend, clock: systemClock, random: Math.random, logger: silentLogger };
  convergence = new Convergence({
    ...{ ...surroundings, usedBy: () => undefined },
    report: (report) => {
      tell(report);
      snapshots.noteReport(report);
    },
  });
  snapshots = new SnapshotConvergence({
    ...{ ...surroundings, between: (id, work) => convergence.between(id, work) },
    report: (report) => {
      reports.push(report);
      tell(report);
    },
  });
  await convergence.start();
});

afterEach(async () => {
  convergence.forgetOrders();
  snapshots.forgetOrders();
  await Promise.all([convergence.idle(), snapshots.idle()]);
  await rm(directory, { recursive: true, force: true });
});

function firstTold<R extends Report | SnapshotReport>(fits: (report: R) => boolean): Promise<R> {
  return new Promise((resolve) => {
    told.push((report) => {
      if (fits(report as R)) resolve(report as R);
    });
  });
}

const reported = (fits: (report: SnapshotReport) => boolean): Promise<SnapshotReport> =>
  firstTold<SnapshotReport>((report) => 'snapshotId' in report && fits(report));

async function ordered(order: Order): Promise<Report> {
  const done = firstTold<Report>((report) => 'datasetId' in report && report.order === order.order && !report.busy);
  convergence.takeOrders([order], []);
  return done;
}

const mounted = (order: number, datasetId = ID, source?: SnapshotId): Order => ({
  ...{ want: 'mounted', datasetId, order, mayCreate: true, sizeBytes: 64 * MIB, metadata: {} },
  ...(source === undefined ? {} : { source }),
});
const taken = (order: number): SnapshotOrder => ({ want: 'taken', snapshotId: SNAPSHOT, datasetId: ID, order });
const destroyed = (order: number): SnapshotOrder => ({ want: 'destroyed', snapshotId: SNAPSHOT, order });
const path = (id: DatasetId, name: string): string => join(directory, 'mounts', id, name);

describe('snapshots on a node', () => {
  it('are taken, make datasets, and are destroyed on order', async () => {
    await ordered(mounted(1));
    await writeFile(path(ID, 'file'), 'before');
    const done = reported(({ order }) => order === 1);
    snapshots.takeOrders([taken(1)], []);
    expect(await done).toMatchObject({
      ...{ snapshotId: SNAPSHOT, busy: false, problem: null },
      state: { kind: 'present', sizeBytes: 64 * MIB },
    });
    await writeFile(path(ID, 'file'), 'after');
    expect(await ordered(mounted(2, COPY, SNAPSHOT))).toMatchObject({ state: { kind: 'mounted' }, problem: null });
    expect(await readFile(path(COPY, 'file'), 'utf8')).toBe('before');
    const gone = reported(({ order }) => order === 2);
    snapshots.takeOrders([destroyed(2)], []);
    expect(await gone).toMatchObject({ busy: false, state: { kind: 'absent' }, problem: null });
    expect(await engine.find(SNAPSHOT)).toBeUndefined();
  });

  it('wait for their dataset without a clock, and say so', async () => {
    const early = reported(({ order }) => order === 1);
    snapshots.takeOrders([taken(1)], []);
    const report = await early;
    expect(report).toMatchObject({ busy: false, state: { kind: 'absent' }, problem: { code: 'in_progress' } });
    expect(report.problem?.message).toContain(ID);
    const done = reported(({ state }) => state.kind === 'present');
    await ordered(mounted(1));
    expect(await done).toMatchObject({ order: 1, busy: false, problem: null });
  });

  it('tell when their dataset went away', async () => {
    await ordered(mounted(1));
    const failure = new BackendError('backend_failed', 'the disk failed');
    let fail: (() => void) | undefined;
    const began = new Promise<void>((resolve) => {
      engine.take = () => {
        if (fail !== undefined) return Promise.reject(failure);
        resolve();
        return new Promise((_, reject) => {
          fail = () => reject(failure);
        });
      };
    });
    snapshots.takeOrders([taken(1)], []);
    await began;
    const released = ordered({ want: 'released', datasetId: ID, order: 2 });
    // The volume stays until the step of its snapshot has ended.
    expect((await backend.discover(ID)).kind).toBe('mounted');
    const waiting = reported(({ problem }) => problem?.code === 'in_progress');
    fail?.();
    expect(await released).toMatchObject({ state: { kind: 'detached' } });
    expect(await waiting).toMatchObject({ order: 1, busy: false, state: { kind: 'absent' } });
  });

  it('are tried again after a failure, with the reason meanwhile', async () => {
    await ordered(mounted(1));
    const take = engine.take.bind(engine);
    engine.take = () => Promise.reject(new BackendError('no_space', 'the pool is full'));
    const failed = reported(({ problem }) => problem !== null);
    snapshots.takeOrders([taken(1)], []);
    expect(await failed).toMatchObject({ busy: false, state: { kind: 'absent' }, problem: { code: 'no_space' } });
    engine.take = take;
    expect(await reported(({ problem }) => problem === null)).toMatchObject({ state: { kind: 'present' } });
  });

  it('confirm nothing while they cannot be looked at', async () => {
    const find = engine.find.bind(engine);
    engine.find = () => Promise.reject(new Error('I/O error'));
    const failed = reported(({ order }) => order === 1);
    snapshots.takeOrders([destroyed(1)], []);
    expect(await failed).toMatchObject({ busy: true, problem: { code: 'backend_failed' } });
    engine.find = find;
    expect(await reported(({ busy }) => !busy)).toMatchObject({ state: { kind: 'absent' }, problem: null });
  });

  it('are not destroyed before a step that was under way has ended, also on a new connection', async () => {
    await ordered(mounted(1));
    const take = engine.take.bind(engine);
    let goOn: (() => void) | undefined;
    const began = new Promise<void>((resolve) => {
      engine.take = async (...parameters) => {
        resolve();
        await new Promise<void>((resume) => {
          goOn = resume;
        });
        return take(...parameters);
      };
    });
    snapshots.takeOrders([taken(1)], []);
    await began;
    snapshots.forgetOrders();
    const gone = reported(({ order }) => order === 7);
    snapshots.takeOrders([destroyed(7)], []);
    goOn?.();
    expect(await gone).toMatchObject({ busy: false, state: { kind: 'absent' }, problem: null });
    expect(await engine.find(SNAPSHOT)).toBeUndefined();
    expect(reports.map(({ order }) => order)).toEqual([7]);
  });

  it('cannot be had from a backend without them, and are gone from it at once', async () => {
    await ordered(mounted(1));
    Object.assign(backend, { snapshots: undefined });
    const refused = reported(({ order }) => order === 1);
    snapshots.takeOrders([taken(1)], []);
    expect(await refused).toMatchObject({ busy: false, problem: { code: 'no_such_profile' } });
    const gone = reported(({ order }) => order === 2);
    snapshots.takeOrders([destroyed(2)], []);
    expect(await gone).toMatchObject({ busy: false, state: { kind: 'absent' }, problem: null });
  });
});

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Order, Report } from '../api/agent-channel.ts';
import { systemClock } from '../kit/clock.ts';
import type { DatasetId } from '../kit/ids.ts';
import { silentLogger } from '../kit/logger.ts';
import { type Backend, BackendError } from './backends/backend.ts';
import { openBackend } from './backends/open-backend.ts';
import { Convergence } from './convergence.ts';

const ID = '3d7e2f10-9a4b-4c8e-8f21-0a1b2c3d4e5f' as DatasetId;
const MIB = 2 ** 20;

let directory: string;
let backend: Backend;
let convergence: Convergence;
let user: string | undefined;
let told: ((report: Report) => void)[];

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'flocker-growth-'));
  [user, told] = [undefined, []];
  const section = { backend: 'directory', root_path: join(directory, 'pool') };
  backend = await openBackend(section, { mountRoot: join(directory, 'mounts'), instance: 'one' });
  convergence = new Convergence({
    backend,
    usedBy: () => user,
    clock: systemClock,
    random: Math.random,
    logger: silentLogger,
    report: (report) => {
      for (const tell of told) tell(report);
    },
  });
  await convergence.start();
});

afterEach(async () => {
  convergence.forgetOrders();
  await convergence.idle();
  await rm(directory, { recursive: true, force: true });
});

/** Gives an order and waits for the first report on it that `fits`. */
function ordered(order: Order, fits: (report: Report) => boolean = () => true): Promise<Report> {
  const report = new Promise<Report>((resolve) => {
    told.push((each) => {
      if (each.order === order.order && !each.busy && fits(each)) resolve(each);
    });
  });
  convergence.takeOrders([order], []);
  return report;
}

const mounted = (order: number, sizeBytes: number): Order => ({
  ...{ want: 'mounted', datasetId: ID, order, mayCreate: true, sizeBytes, metadata: {} },
});

/** The steps that the backend is asked for from now on. */
function steps(): string[] {
  const taken: string[] = [];
  for (const step of ['mount', 'unmount'] as const) {
    const original = backend[step].bind(backend);
    backend[step] = (id, signal) => {
      taken.push(step);
      return original(id, signal);
    };
  }
  const original = backend.grow?.bind(backend);
  backend.grow = async (id, sizeBytes, signal) => {
    taken.push('grow');
    await original?.(id, sizeBytes, signal);
  };
  return taken;
}

/** A backend that grows only what is not mounted, as ext4 without CAP_SYS_RESOURCE. */
function growsOffline(): void {
  const original = backend.grow?.bind(backend);
  backend.grow = async (id, sizeBytes, signal) => {
    if ((await backend.discover(id)).kind === 'mounted') {
      throw new BackendError('volume_in_use', `volume ${id} cannot grow while it is mounted`);
    }
    await original?.(id, sizeBytes, signal);
  };
}

describe('growth', () => {
  it('happens in place where the backend can', async () => {
    await ordered(mounted(1, 64 * MIB));
    const taken = steps();
    const report = await ordered(mounted(2, 96 * MIB));
    expect(report).toMatchObject({ state: { kind: 'mounted', sizeBytes: 96 * MIB }, problem: null });
    expect(taken).toEqual(['grow']);
    expect(await ordered(mounted(3, 96 * MIB))).toMatchObject({ problem: null });
    expect(await ordered(mounted(4, 64 * MIB))).toMatchObject({ state: { sizeBytes: 96 * MIB }, problem: null });
    expect(taken).toEqual(['grow']);
  });

  it('comes before the mount', async () => {
    await ordered(mounted(1, 64 * MIB));
    await ordered({ want: 'released', datasetId: ID, order: 2 });
    const taken = steps();
    const report = await ordered(mounted(3, 96 * MIB));
    expect(report).toMatchObject({ state: { kind: 'mounted', sizeBytes: 96 * MIB }, problem: null });
    expect(taken).toEqual(['grow', 'mount']);
  });

  it('unmounts what cannot grow otherwise and nobody uses', async () => {
    await ordered(mounted(1, 64 * MIB));
    growsOffline();
    const taken = steps();
    const report = await ordered(mounted(2, 96 * MIB));
    expect(report).toMatchObject({ state: { kind: 'mounted', sizeBytes: 96 * MIB }, problem: null });
    expect(taken).toEqual(['grow', 'unmount', 'grow', 'mount']);
  });

  it('waits for whoever uses it, and leaves it mounted', async () => {
    await ordered(mounted(1, 64 * MIB));
    growsOffline();
    const taken = steps();
    user = 'task web.1';
    const refused = await ordered(mounted(2, 96 * MIB), ({ problem }) => problem !== null);
    expect(refused).toMatchObject({
      state: { kind: 'mounted', sizeBytes: 64 * MIB },
      problem: { code: 'volume_in_use' },
    });
    expect(refused.problem?.message).toContain('task web.1');
    expect(taken).not.toContain('unmount');
    const grown = new Promise<Report>((resolve) => {
      told.push((report) => {
        if (!report.busy && report.problem === null) resolve(report);
      });
    });
    user = undefined;
    expect(await grown).toMatchObject({ state: { kind: 'mounted', sizeBytes: 96 * MIB } });
  });

  it('that fails does not keep a volume from being mounted', async () => {
    await ordered(mounted(1, 64 * MIB));
    await ordered({ want: 'released', datasetId: ID, order: 2 });
    backend.grow = (id) => Promise.reject(new BackendError('no_space', `no room for ${id}`));
    const report = await ordered(mounted(3, 96 * MIB));
    expect(report).toMatchObject({
      state: { kind: 'mounted', sizeBytes: 64 * MIB },
      problem: { code: 'no_space' },
    });
    expect(await ordered(mounted(4, 64 * MIB))).toMatchObject({ problem: null });
  });

  it('is not done over and over when it changes nothing', async () => {
    await ordered(mounted(1, 64 * MIB));
    let calls = 0;
    backend.grow = () => {
      calls += 1;
      return Promise.resolve();
    };
    const report = await ordered(mounted(2, 96 * MIB));
    expect(report).toMatchObject({ state: { kind: 'mounted' }, problem: { code: 'backend_failed' } });
    expect(calls).toBe(1);
  });

  it('says so where the backend has none', async () => {
    await ordered(mounted(1, 64 * MIB));
    Object.assign(backend, { grow: undefined });
    const report = await ordered(mounted(2, 96 * MIB));
    expect(report).toMatchObject({ state: { kind: 'mounted' }, problem: { code: 'bad_size' } });
    expect(report.problem?.message).toContain('96 MiB');
  });
});

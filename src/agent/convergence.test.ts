import { mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Order, Report } from '../api/agent-channel.ts';
import { systemClock } from '../kit/clock.ts';
import type { DatasetId } from '../kit/ids.ts';
import { silentLogger } from '../kit/logger.ts';
import type { Backend } from './backends/backend.ts';
import { openBackend } from './backends/open-backend.ts';
import { Convergence } from './convergence.ts';

const ID = '3d7e2f10-9a4b-4c8e-8f21-0a1b2c3d4e5f' as DatasetId;

let directory: string;
let reports: Report[];
let told: ((report: Report) => void)[];
let users: Map<DatasetId, string>;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'flocker-convergence-'));
  reports = [];
  told = [];
  users = new Map();
});

afterEach(async () => {
  await rm(directory, { recursive: true, force: true });
});

const pool = (): string => join(directory, 'pool');

async function node(name: string): Promise<{ backend: Backend; convergence: Convergence }> {
  const backend = await openBackend(
    { backend: 'directory', root_path: pool() },
    { mountRoot: join(directory, name), instance: name },
  );
  const convergence = new Convergence({
    backend,
    usedBy: (id) => users.get(id),
    clock: systemClock,
    random: Math.random,
    logger: silentLogger,
    report: (report) => {
      reports.push(report);
      for (const tell of told) tell(report);
    },
  });
  await convergence.start();
  return { backend, convergence };
}

/** The first report from now on that `fits`. */
function reported(fits: (report: Report) => boolean): Promise<Report> {
  return new Promise((resolve) => {
    told.push((report) => {
      if (fits(report)) resolve(report);
    });
  });
}

const mounted = (order: number, mayCreate = true): Order => ({
  want: 'mounted',
  datasetId: ID,
  order,
  mayCreate,
  sizeBytes: 64 * 2 ** 20,
  metadata: { name: 'webapp' },
});

describe('Convergence', () => {
  it('makes, attaches and mounts, and reports once it is done', async () => {
    const { convergence } = await node('one');
    const done = reported(({ order }) => order === 1);
    convergence.replaceOrders([mounted(1)]);
    expect(await done).toMatchObject({ busy: false, problem: null, state: { kind: 'mounted' } });
    expect(reports).toHaveLength(1);
  });

  it('hands data from node to node, and the second starts only when told', async () => {
    const one = await node('one');
    const two = await node('two');
    const first = reported(({ order }) => order === 1);
    one.convergence.replaceOrders([mounted(1)]);
    const { state } = await first;
    const path = state.kind === 'mounted' ? state.path : '';
    await writeFile(join(path, 'data'), 'precious');
    const released = reported(({ order }) => order === 2);
    one.convergence.takeOrders([{ want: 'released', datasetId: ID, order: 2 }], []);
    expect(await released).toMatchObject({ busy: false, state: { kind: 'detached' } });
    const again = reported(({ order }) => order === 3);
    two.convergence.replaceOrders([mounted(3, false)]);
    const report = await again;
    expect(report.state.kind).toBe('mounted');
    expect(await readFile(join(directory, 'two', ID, 'data'), 'utf8')).toBe('precious');
  });

  it('says that a volume is lost instead of making an empty one', async () => {
    const { convergence } = await node('one');
    const report = reported(({ problem }) => problem !== null);
    convergence.replaceOrders([mounted(1, false)]);
    expect(await report).toMatchObject({ state: { kind: 'absent' }, problem: { code: 'volume_lost' } });
    convergence.forgetOrders();
  });

  it('does not unmount what is used on this node, and does once it is not', async () => {
    const { convergence } = await node('one');
    const first = reported(({ order }) => order === 1);
    convergence.replaceOrders([mounted(1)]);
    await first;
    users.set(ID, 'task web.1');
    const refused = reported(({ problem }) => problem !== null);
    convergence.takeOrders([{ want: 'released', datasetId: ID, order: 2 }], []);
    const report = await refused;
    expect(report).toMatchObject({ state: { kind: 'mounted' }, problem: { code: 'volume_in_use' } });
    expect(report.problem?.message).toContain('task web.1');
    const released = reported(({ order, problem }) => order === 2 && problem === null);
    users.clear();
    expect((await released).state.kind).toBe('detached');
  });

  it('refuses to touch what another node has, and says who has it', async () => {
    const one = await node('one');
    const two = await node('two');
    const first = reported(({ order }) => order === 1);
    one.convergence.replaceOrders([mounted(1)]);
    await first;
    const blocked = reported(({ order }) => order === 2);
    two.convergence.replaceOrders([mounted(2, false)]);
    expect(await blocked).toMatchObject({ state: { kind: 'elsewhere' }, problem: { code: 'volume_elsewhere' } });
    two.convergence.forgetOrders();
  });

  it('starts nothing without orders of the present connection', async () => {
    const { convergence } = await node('one');
    const failed = reported(({ problem }) => problem !== null);
    convergence.replaceOrders([mounted(1, false)]);
    await failed;
    convergence.forgetOrders();
    const count = reports.length;
    await new Promise((resolve) => {
      setTimeout(resolve, 300);
    });
    expect(reports).toHaveLength(count);
  });

  it('lists in hello what it has and what it could not look at', async () => {
    const { convergence } = await node('one');
    const first = reported(({ order }) => order === 1);
    convergence.replaceOrders([mounted(1)]);
    await first;
    expect(convergence.has()).toMatchObject([{ datasetId: ID, busy: false, state: { kind: 'mounted' } }]);
    const { convergence: again } = await node('one');
    expect(again.has()).toMatchObject([{ datasetId: ID, busy: false, state: { kind: 'mounted' } }]);
  });

  it('confirms nothing while it cannot look', async () => {
    const { backend, convergence } = await node('one');
    const first = reported(({ order }) => order === 1);
    convergence.replaceOrders([mounted(1)]);
    await first;
    const look = backend.discover.bind(backend);
    backend.discover = () => Promise.reject(new Error('I/O error'));
    const failed = reported(({ order }) => order === 2);
    convergence.takeOrders([{ want: 'released', datasetId: ID, order: 2 }], []);
    expect(await failed).toMatchObject({ busy: true, problem: { code: 'backend_failed' } });
    const released = reported(({ order, busy }) => order === 2 && !busy);
    backend.discover = look;
    expect((await released).state.kind).toBe('detached');
  });

  it('never makes what is deleted before its turn in a burst', async () => {
    const { backend, convergence } = await node('one');
    const create = backend.create.bind(backend);
    let made = 0;
    let open = (): void => undefined;
    const opened = new Promise<void>((resolve) => {
      open = resolve;
    });
    backend.create = async (...args) => {
      made += 1;
      await opened;
      await create(...args);
    };
    const ids = Array.from({ length: 200 }, (_, index) => `3d7e2f10-9a4b-4c8e-8f21-${String(index).padStart(12, '0')}`);
    convergence.replaceOrders(ids.map((datasetId, index) => ({ ...mounted(index + 1), datasetId })));
    convergence.takeOrders(
      ids.map((datasetId, index) => ({ want: 'destroyed', datasetId, order: 1000 + index })),
      [],
    );
    open();
    await convergence.idle();
    expect(reports.filter(({ order, state }) => order >= 1000 && state.kind === 'absent')).toHaveLength(200);
    expect(made).toBeLessThan(200);
  });

  it('destroys on the order to destroy, and then knows nothing of it', async () => {
    const { convergence } = await node('one');
    const first = reported(({ order }) => order === 1);
    convergence.replaceOrders([mounted(1)]);
    await first;
    const gone = reported(({ order }) => order === 2);
    convergence.takeOrders([{ want: 'destroyed', datasetId: ID, order: 2 }], []);
    expect(await gone).toMatchObject({ busy: false, state: { kind: 'absent' }, problem: null });
    convergence.takeOrders([], [ID]);
    expect([...convergence.overview()]).toEqual([]);
    await expect(rename(join(pool(), 'unattached', ID), join(directory, 'x'))).rejects.toThrow('ENOENT');
  });
});

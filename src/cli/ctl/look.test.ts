import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { CtlBench, datasetId, nodeId } from './testing/ctl-bench.ts';

const NODE_A = nodeId('aaaaaaaa-0000-4000-8000-00000000000a');
const NODE_B = nodeId('bbbbbbbb-0000-4000-8000-00000000000b');
const WEB = datasetId('11111111-0000-4000-8000-000000000001');
const GIB = 2 ** 30;
const soon = (): AbortSignal => AbortSignal.timeout(5_000);

let bench: CtlBench;
beforeEach(async () => {
  bench = new CtlBench();
  bench.flocker.addNode(NODE_A);
  bench.flocker.addNode(NODE_B);
  await bench.mounted(NODE_A, { id: WEB, size: GIB, metadata: { name: 'web' } });
});
afterEach(() => bench.flocker.close());

const parsed = async (...args: string[]): Promise<unknown> => JSON.parse((await bench.run('--json', ...args)).stdout);
/** The words of the line of a table that begins with `start`. */
const line = (stdout: string, start: string): string[] =>
  (stdout.split('\n').find((one) => one.startsWith(start)) ?? '').split(/ {2,}/);

describe('inspect', () => {
  it('shows a volume by its name or the beginning of its UUID', async () => {
    const { stdout, exitCode } = await bench.run('inspect', 'web');
    expect(exitCode).toBe(0);
    expect((await bench.run('inspect', '1111')).stdout).toBe(stdout);
    expect(line(stdout, 'volume')).toEqual(['volume', 'web']);
    expect(line(stdout, 'size')).toEqual(['size', '1 GiB']);
    expect(line(stdout, 'status')).toEqual(['status', 'mounted']);
    expect(line(stdout, 'primary')).toEqual(['primary', `${NODE_A} (192.0.2.1)`]);
    expect(stdout).not.toContain('problem');
  });

  it('shows the lease, the snapshots and what is wrong', async () => {
    const { client } = bench.flocker;
    await client.acquireLease({ datasetId: WEB, nodeId: NODE_A, expiresSeconds: null }, soon());
    await client.createSnapshot({ datasetId: WEB, metadata: { name: 'before' } }, soon());
    await client.moveDataset(WEB, NODE_B, { kind: 'none' }, soon());
    const { stdout } = await bench.run('inspect', 'web');
    expect(line(stdout, 'lease')).toEqual(['lease', `${NODE_A} (192.0.2.1), never expires`]);
    expect(stdout).toMatch(/^snapshot {3,}[0-9a-f-]{36}, before, /m);
    expect(stdout).toMatch(/^problem {3,}\S/m);
    expect(await parsed('inspect', 'web')).toMatchObject({
      configuration: { dataset_id: WEB },
      lease: { node_uuid: NODE_A, expires: null },
      snapshots: [{ metadata: { name: 'before' } }],
    });
  });

  it('fails for what does not exist', async () => {
    expect(await bench.run('inspect', 'nix')).toMatchObject({ exitCode: 1, stdout: '' });
    expect((await bench.run('inspect', '')).stderr).toContain('It is empty');
  });
});

describe('nodes', () => {
  it('says which agents are connected, and how many volumes each holds', async () => {
    const nodes = (await bench.flocker.client.inspectNodes(soon())) ?? [];
    const away = { connected: false, last_heard: new Date(Date.now() - 7_500_000).toISOString() };
    const seen = nodes.map((node) => (node.uuid === NODE_B ? { ...node, ...away } : node));
    bench.faults = { inspectNodes: () => Promise.resolve(seen) };
    const { stdout } = await bench.run('nodes');
    expect(line(stdout, 'aaaaaaaa').slice(0, 4)).toEqual(['aaaaaaaa', '192.0.2.1', 'connected', '1']);
    expect(line(stdout, 'bbbbbbbb')[2]).toBe('away for 2h');
    expect(await parsed('nodes')).toMatchObject([
      { uuid: NODE_A, connected: true, volumes: 1 },
      { uuid: NODE_B, connected: false, volumes: 0 },
    ]);
  });
});

describe('nodes with agents of Mesos', () => {
  it('says which they are, and where that is not known', async () => {
    const nodes = (await bench.flocker.client.inspectNodes(soon())) ?? [];
    const agent = { id: 'f2c8-S0', hostname: 'one.example.com' };
    const seen = nodes.map((node) => ({
      ...node,
      mesos_agents: node.uuid === NODE_A ? [agent, { ...agent, id: 'f2c8-S1', also_fits: [NODE_B] }] : [],
    }));
    bench.faults = { inspectNodes: () => Promise.resolve(seen) };
    const { stdout } = await bench.run('nodes');
    expect(stdout).toMatch(/VERSION +MESOS AGENT/);
    expect(stdout).toContain('one.example.com (f2c8-S0), one.example.com (f2c8-S1; fits bbbbbbbb too)');
    expect(stdout).toMatch(/bbbbbbbb.*none known/);
  });
});

describe('pools', () => {
  it('shows what is promised, and the profiles', async () => {
    const { stdout, exitCode } = await bench.run('pools');
    expect(exitCode).toBe(0);
    expect(stdout).toMatch(/^POOL +BACKEND +NODES +TOTAL/);
    expect(stdout).toMatch(/^PROFILE +POOL +MEDIA/m);
    expect(await parsed('pools')).toMatchObject({ total: { provisioned: GIB } });
  });
});

describe('leases', () => {
  it('lists who uses what, and releases', async () => {
    const { client } = bench.flocker;
    await client.acquireLease({ datasetId: WEB, nodeId: NODE_B, expiresSeconds: 60 }, soon());
    const { stdout } = await bench.run('leases');
    expect(line(stdout, WEB).slice(0, 3)).toEqual([WEB, 'web', 'bbbbbbbb (192.0.2.1)']);
    expect(line(stdout, WEB)[3]).toMatch(/^in \d+s$/);
    expect(await parsed('leases', 'list')).toMatchObject([{ dataset_id: WEB, name: 'web', node_uuid: NODE_B }]);
    expect((await bench.run('leases', 'release', '-d', 'web')).stdout).toContain(
      `released the lease of node ${NODE_B}`,
    );
    expect(await client.listLeases(soon())).toEqual([]);
    expect(await bench.run('leases', 'release', '-d', 'web')).toMatchObject({ exitCode: 1, stdout: '' });
  });
});

describe('snapshot', () => {
  it('is taken, listed, made a volume of, and destroyed', async () => {
    const taken = await bench.run('snapshot', 'create', '-d', 'web', '-m', 'name=before', '--wait');
    expect(taken.stdout).toMatch(/^took snapshot [0-9a-f-]{36}, before, ready, 1 GiB, taken /);
    const { stdout } = await bench.run('snapshot', 'list', '-d', 'web');
    expect(stdout).toMatch(/^[0-9a-f-]{36} +before +web +ready +1 GiB /m);
    const copied = await bench.run('create', '-n', NODE_A, '-m', 'name=copy', '--snapshot', 'before', '--wait');
    expect(copied).toMatchObject({ exitCode: 0 });
    expect((await bench.run('inspect', 'copy')).stdout).toMatch(/^made from {3,}snapshot /m);
    expect((await bench.run('snapshot', 'destroy', '-s', 'before', '--wait')).stdout).toMatch(/^destroyed snapshot /);
    expect(await parsed('snapshot', 'ls')).toEqual([]);
    expect(await bench.run('snapshot', 'destroy', '-s', 'before')).toMatchObject({ exitCode: 1, stdout: '' });
  });
});

describe('resize', () => {
  it('makes a volume larger, never smaller', async () => {
    expect((await bench.run('resize', '-d', 'web', '-s', '2G', '--wait')).stdout).toContain('has 2 GiB');
    expect(await bench.run('resize', '-d', 'web', '-s', '1G')).toMatchObject({ exitCode: 1, stdout: '' });
    expect(await parsed('inspect', 'web')).toMatchObject({ configuration: { maximum_size: 2 * GIB } });
  });
});

describe('events', () => {
  it('follows what changes until its time is over', async () => {
    const following = bench.run('--json', '--timeout', '1', 'events');
    await bench.run('resize', '-d', 'web', '-s', '2G', '--wait');
    const { stdout, exitCode, stderr } = await following;
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' });
    const events = stdout
      .trimEnd()
      .split('\n')
      .map((text) => JSON.parse(text) as { kind: string });
    expect(events.map(({ kind }) => kind)).toContain('dataset');
  });
});

describe('on a server without our additions', () => {
  it.each([['nodes'], ['pools'], ['snapshot', 'list'], ['inspect', 'web'], ['events']])(
    '%s %s says so',
    async (...args) => {
      bench = new CtlBench({ additions: false });
      bench.flocker.addNode(NODE_A);
      await bench.mounted(NODE_A, { id: WEB, metadata: { name: 'web' } });
      const { exitCode, stdout, stderr } = await bench.run(...args);
      expect({ exitCode, stdout }).toEqual({ exitCode: 1, stdout: '' });
      expect(stderr).toMatch(/server/);
    },
  );
});

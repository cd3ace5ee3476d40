import { afterEach, describe, expect, it } from 'vitest';
import type { DatasetInspection } from '../../api/inspection.ts';
import { type BenchOptions, CtlBench, datasetId, nodeId } from './testing/ctl-bench.ts';

const NODE_A = nodeId('aaaaaaaa-0000-4000-8000-00000000000a');
const NODE_B = nodeId('bbbbbbbb-0000-4000-8000-00000000000b');
const IDS = [1, 2, 3, 4].map((digit) => datasetId(`${String(digit).repeat(8)}-0000-4000-8000-000000000001`));
const [FIRST, SECOND, THIRD, FOURTH] = IDS as [(typeof IDS)[0], (typeof IDS)[0], (typeof IDS)[0], (typeof IDS)[0]];

let bench: CtlBench;
function setUp(options: BenchOptions = {}): CtlBench {
  bench = new CtlBench(options);
  bench.flocker.addNode(NODE_A);
  bench.flocker.addNode(NODE_B);
  return bench;
}
afterEach(() => bench.flocker.close());

describe.each([true, false])('list, with additions: %s', (additions) => {
  it('prints the table of the original', async () => {
    setUp({ additions });
    await bench.mounted(NODE_A, { id: FIRST, size: 2 ** 30, metadata: { name: 'web', owner: 'alice' } });
    await bench.mounted(NODE_B, { id: SECOND, metadata: { name: 'zoo' } });
    expect(await bench.run('list')).toEqual({
      stdout: [
        'DATASET                                SIZE         METADATA               STATUS        SERVER',
        `${FIRST}   1.00G        name=web,owner=alice   attached ✅   aaaaaaaa (192.0.2.1)`,
        `${SECOND}   <no quota>   name=zoo               attached ✅   bbbbbbbb (192.0.2.1)`,
        '\n',
      ].join('\n'),
      stderr: '',
      exitCode: 0,
    });
    expect((await bench.run('ls', '--long')).stdout).toContain(`attached ✅   ${NODE_A} (192.0.2.1)`);
    expect(bench.closed).toBe(2);
  });

  it('has the statuses of the original', async () => {
    setUp({ additions });
    const ghost = nodeId('cccccccc-0000-4000-8000-00000000000c');
    await bench.make(ghost, { id: FIRST });
    const gone = await bench.mounted(NODE_A, { id: SECOND });
    await bench.flocker.client.deleteDataset(gone, { kind: 'none' }, AbortSignal.timeout(5_000));
    await bench.flocker.client.waitUntilGone(gone, AbortSignal.timeout(5_000));
    const going = await bench.mounted(NODE_A, { id: THIRD });
    const lease = { datasetId: going, nodeId: NODE_A, expiresSeconds: null };
    await bench.flocker.client.acquireLease(lease, AbortSignal.timeout(5_000));
    await bench.flocker.client.deleteDataset(going, { kind: 'none' }, AbortSignal.timeout(5_000));
    const free = await bench.mounted(NODE_A, { id: FOURTH });
    await bench.flocker.client.moveDataset(free, ghost, { kind: 'none' }, AbortSignal.timeout(5_000));
    await expect.poll(() => bench.flocker.cluster.datasets.get(free)?.storage.kind).toBe('free');
    const { stdout } = await bench.run('list');
    const statuses = new Map(stdout.split('\n').map((line) => [line.slice(0, 36), line.split('   ').slice(-2)]));
    expect(statuses.get(FIRST)?.map((text) => text.trim())).toEqual(['pending ⌛', '<missing>']);
    expect(statuses.has(SECOND)).toBe(false);
    expect(statuses.get(THIRD)?.[0]?.trim()).toContain('deleting');
    expect(statuses.get(FOURTH)?.map((text) => text.trim())).toEqual(['detached', '<missing>']);
    expect((await bench.run('list', '-d')).stdout).toMatch(new RegExp(`${SECOND}.* deleted `));
  });

  it('takes the -h of the original and prints help with --help', async () => {
    setUp({ additions });
    expect(await bench.run('list', '-h')).toMatchObject({ stderr: '', exitCode: 0 });
    expect((await bench.run('list', '-h')).stdout).toMatch(/^DATASET/);
    expect((await bench.run('list', '--help')).stdout).toContain('--deleted');
  });

  it('prints JSON', async () => {
    setUp({ additions });
    await bench.mounted(NODE_A, { id: FIRST, size: 2 ** 30, metadata: { name: 'web' } });
    const [row] = JSON.parse((await bench.run('list', '--json')).stdout) as unknown[];
    expect(row).toEqual({
      dataset_id: FIRST,
      name: 'web',
      primary: NODE_A,
      maximum_size: 2 ** 30,
      metadata: { name: 'web' },
      deleted: false,
      status: 'attached',
      server: { uuid: NODE_A, host: '192.0.2.1' },
      mounted: { node_uuid: NODE_A, path: `/flocker/${FIRST}` },
      real_size: 2 ** 30,
      ...(additions ? { holder: NODE_A, lease: null, problem: null } : {}),
    });
  });

  it('lists nodes', async () => {
    setUp({ additions });
    const short = 'SERVER     ADDRESS\naaaaaaaa   192.0.2.1\nbbbbbbbb   192.0.2.1\n\n';
    expect(await bench.run('list-nodes')).toEqual({ stdout: short, stderr: '', exitCode: 0 });
    expect(await bench.run('status')).toEqual({ stdout: short, stderr: '', exitCode: 0 });
    expect((await bench.run('status', '-l')).stdout).toContain(`${NODE_A}   192.0.2.1\n`);
    const nodes = JSON.parse((await bench.run('list-nodes', '--json')).stdout) as unknown[];
    expect(nodes).toMatchObject([{ uuid: NODE_A, host: '192.0.2.1', ...(additions ? { connected: true } : {}) }, {}]);
  });
});

describe('list', () => {
  it('says why a volume is pending, below the table', async () => {
    setUp();
    await bench.make(nodeId('cccccccc-0000-4000-8000-00000000000c'), { id: FIRST });
    await bench.make(NODE_A, { id: SECOND, metadata: { 'clusterhq:flocker:profile': 'no-such' } });
    const { stdout } = await bench.run('list');
    const [, below = ''] = stdout.split('\n\n');
    expect(below.split('\n')).toEqual([
      expect.stringMatching(/^11111111: Node cccccccc.* has not reported$/),
      expect.stringMatching(/^22222222: needs action: .*no-such/),
    ]);
    expect(stdout).toMatch(/[^\n]\n\n$/);
  });

  it('tells when a lease ends in UTC', async () => {
    const clock = { wallMs: () => Date.UTC(2030, 0, 2, 3, 4, 5), monotonicMs: () => 0, timer: () => () => undefined };
    setUp({ clock });
    const id = await bench.mounted(NODE_A, { id: FIRST });
    const lease = { datasetId: id, nodeId: NODE_A, expiresSeconds: 60 };
    await bench.flocker.client.acquireLease(lease, AbortSignal.timeout(5_000));
    expect(JSON.parse((await bench.run('list', '--json')).stdout)).toMatchObject([
      { lease: { node_uuid: NODE_A, expires_at: '2030-01-02T03:05:05.000Z' } },
    ]);
  });

  it('says which nodes are away', async () => {
    setUp();
    const inspections = (await bench.flocker.client.inspectNodes(AbortSignal.timeout(5_000))) ?? [];
    const away = inspections.map((node) => ({
      ...node,
      connected: node.uuid !== NODE_B,
      last_heard: '2030-01-02T03:04:05.000Z',
    }));
    bench.faults = { inspectNodes: () => Promise.resolve(away) };
    expect((await bench.run('list-nodes')).stdout).toMatch(
      /192\.0\.2\.1\n\nbbbbbbbb \(192\.0\.2\.1\): away, not heard since 2030-01-02T03:04:05\.000Z\n\n$/,
    );
  });

  it('does not call a volume deleted whose data are still somewhere', async () => {
    setUp();
    const id = await bench.make(NODE_A, { id: FIRST });
    const configuration = {
      dataset_id: id,
      primary: NODE_A,
      deleted: true,
      metadata: {},
    };
    const message = 'Node A has it and is away';
    const problem = { code: 'node_away', message, needs_action: false };
    const inspection: DatasetInspection = {
      configuration,
      status: 'deleting',
      state: null,
      holder: NODE_A,
      lease: null,
      problem,
    };
    bench.faults = { inspectDatasets: () => Promise.resolve([inspection]) };
    const { stdout } = await bench.run('list');
    expect(stdout).toMatch(/ deleting {3}/);
    expect(stdout).toContain(`11111111: ${message}\n`);
  });

  it('takes a mounted entry of a foreign server before one that is not', async () => {
    setUp({ additions: false });
    const id = await bench.mounted(NODE_A, { id: FIRST });
    for (const order of [0, 1]) {
      const states = [{ dataset_id: id, primary: NODE_A, path: '/x' }, { dataset_id: id }];
      bench.faults = { listDatasetStates: () => Promise.resolve(order === 0 ? states : states.toReversed()) };
      expect((await bench.run('list')).stdout).toContain('attached ✅');
    }
  });

  it('asks a foreign server only what the original has', async () => {
    setUp({ additions: false });
    const asked: string[] = [];
    const { client } = bench.flocker;
    bench.faults = {
      inspectDatasets: () => Promise.resolve(undefined),
      listDatasets: (signal) => {
        asked.push('datasets');
        return client.listDatasets(signal);
      },
      findByName: () => Promise.reject(new Error('not needed')),
    };
    expect(await bench.run('list')).toMatchObject({ stderr: '', exitCode: 0 });
    expect(asked).toEqual(['datasets']);
  });
});

describe('on a terminal', () => {
  it('has colours, unless the user wants none', async () => {
    setUp();
    await bench.mounted(NODE_A, { id: FIRST });
    bench.terminalColumns = 200;
    const { stdout } = await bench.run('list');
    expect(stdout).toContain('\u001b[32mattached ✅\u001b[0m   aaaaaaaa');
    const plain = setUp({ env: { NO_COLOR: '1' } });
    plain.terminalColumns = 200;
    await plain.mounted(NODE_A, { id: FIRST });
    expect((await plain.run('list')).stdout).not.toContain('\u001b');
  });

  it('breaks metadata so that the table fits; in a pipe a row is one line', async () => {
    setUp();
    const metadata = { name: 'web', one: 'x'.repeat(40), two: 'y'.repeat(120) };
    await bench.mounted(NODE_A, { id: FIRST, metadata });
    expect((await bench.run('list')).stdout.split('\n')).toHaveLength(4);
    bench.terminalColumns = 300;
    // oxlint-disable-next-line no-control-regex
    const lines = (await bench.run('list')).stdout.replaceAll(/\u001b\[\d+m/g, '').split('\n');
    expect(lines.length).toBeGreaterThan(4);
    for (const line of lines) expect(line.length).toBeLessThanOrEqual(140);
    expect(lines.map((line) => line.slice(52).split('   ')[0]).join('')).toContain(`two=${'y'.repeat(120)}`);
  });

  it('spells out characters of names that would move the cursor', async () => {
    setUp();
    await bench.mounted(NODE_A, { id: FIRST, metadata: { name: 'a\u001b[2Jb\nc\u202ed' } });
    expect((await bench.run('list')).stdout).toContain('name=a\\u{1b}[2Jb\\u{a}c\\u{202e}d');
  });
});

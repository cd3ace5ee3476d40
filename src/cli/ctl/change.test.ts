import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ClientError } from '../../client/flocker-client.ts';
import { CtlBench, datasetId, nodeId } from './testing/ctl-bench.ts';

const NODE_A = nodeId('aaaaaaaa-0000-4000-8000-00000000000a');
const NODE_B = nodeId('aaaabbbb-0000-4000-8000-00000000000b');
const FIRST = datasetId('11111111-0000-4000-8000-000000000001');
const SECOND = datasetId('11112222-0000-4000-8000-000000000002');

let bench: CtlBench;
beforeEach(() => setUp(true));
afterEach(() => bench.flocker.close());
function setUp(additions: boolean): void {
  bench = new CtlBench({ additions });
  bench.flocker.addNode(NODE_A);
  bench.flocker.addNode(NODE_B);
}
const configurations = async (): Promise<readonly unknown[]> =>
  (await bench.flocker.client.listDatasets(AbortSignal.timeout(5_000))).datasets;

describe.each([true, false])('changes, with additions: %s', (additions) => {
  beforeEach(() => setUp(additions));

  it('creates', async () => {
    const ran = await bench.run('create', '-n', 'aaaaA', '-s', '1.1G', '-m', 'name=web,owner=');
    expect(ran).toMatchObject({ stderr: '', exitCode: 0 });
    expect(ran.stdout).toMatch(
      /^created dataset in configuration, manually poll state with 'flockerctl list' to see it show up\.\ndataset [0-9a-f-]{36}\n$/,
    );
    expect(await configurations()).toMatchObject([
      { primary: NODE_A, maximum_size: 1_181_116_416, metadata: { name: 'web', owner: '' } },
    ]);
  });

  it('creates and waits', async () => {
    const ran = await bench.run('create', '--node', NODE_A, '--wait');
    expect(ran).toMatchObject({ stderr: '', exitCode: 0 });
    expect(ran.stdout).toMatch(
      /^created dataset in configuration\.\ndataset ([0-9a-f-]{36})\nmounted on 192\.0\.2\.1 at \/flocker\/\1\n$/,
    );
    const json = JSON.parse((await bench.run('create', '-n', NODE_A, '--wait', '--json')).stdout) as Record<
      string,
      unknown
    >;
    expect(json).toMatchObject({ primary: NODE_A, mounted: { node_uuid: NODE_A } });
  });

  it('moves by id or by name, and waits', async () => {
    await bench.mounted(NODE_A, { id: FIRST, metadata: { name: 'web' } });
    expect(await bench.run('move', '-d', '1111', '-t', 'aaaab')).toEqual({
      stdout: 'initiated move of dataset, please check state to observe it actually move.\n',
      stderr: '',
      exitCode: 0,
    });
    const back = await bench.run('move', '--dataset', 'web', '--destination', 'aaaaa', '--wait');
    expect(back).toEqual({
      stdout: `initiated move of dataset.\nmounted on 192.0.2.1 at /flocker/${FIRST}\n`,
      stderr: '',
      exitCode: 0,
    });
    expect(await configurations()).toMatchObject([{ primary: NODE_A }]);
  });

  it('destroys, and waits', async () => {
    await bench.mounted(NODE_A, { id: FIRST, metadata: { name: 'web' } });
    await bench.mounted(NODE_A, { id: SECOND });
    expect(await bench.run('destroy', '-d', '11112')).toEqual({
      stdout: 'marked dataset as deleted. poll list manually to see it disappear.\n',
      stderr: '',
      exitCode: 0,
    });
    expect((await bench.run('destroy', '-d', 'web', '--wait')).stdout).toBe(
      `marked dataset as deleted.\ndestroyed volume web (dataset ${FIRST})\n`,
    );
    expect(JSON.parse((await bench.run('destroy', '-d', FIRST, '--wait', '--json')).stdout)).toMatchObject({
      dataset_id: FIRST,
      deleted: true,
      destroyed: true,
    });
    expect(bench.flocker.cluster.datasets.get(FIRST)?.storage.kind).toBe('gone');
  });

  it('makes no second volume of a name', async () => {
    await bench.mounted(NODE_A, { id: FIRST, metadata: { name: 'web' } });
    const ran = await bench.run('create', '-n', NODE_A, '-m', 'name=web');
    expect(ran).toMatchObject({ stdout: '', exitCode: 1 });
    expect(ran.stderr).toContain(`there is a volume named web, dataset ${FIRST}`);
    expect(await configurations()).toHaveLength(1);
  });

  it('looks again when the configuration changed between look and create', async () => {
    const { client } = bench.flocker;
    let refused = 0;
    bench.faults = {
      createDataset: (dataset, condition, signal) => {
        if (refused < 2) {
          refused += 1;
          return Promise.reject(new ClientError('condition_failed', 'changed'));
        }
        return client.createDataset(dataset, condition, signal);
      },
    };
    expect(await bench.run('create', '-n', NODE_A, '-m', 'name=web')).toMatchObject({ stderr: '', exitCode: 0 });
    expect(await configurations()).toMatchObject([{ metadata: { name: 'web' } }]);
  });
});

describe('what is named wrongly changes nothing', () => {
  beforeEach(async () => {
    await bench.mounted(NODE_A, { id: FIRST, metadata: { name: 'web' } });
    await bench.mounted(NODE_A, { id: SECOND, metadata: { name: '11111' } });
  });
  afterEach(async () => {
    expect(await configurations()).toMatchObject([
      { primary: NODE_A, deleted: false },
      { primary: NODE_A, deleted: false },
    ]);
  });

  it.each([
    [['create', '-n', 'ffff'], /^no node uuids matching ffff; /],
    [['create', '-n', 'aaaa'], new RegExp(`^aaaa is ambiguous node: it may be ${NODE_A} .*${NODE_B}`)],
    [['create', '-n', '192.0.2.1'], /^192\.0\.2\.1 is ambiguous node/],
    [['move', '-d', 'ffff', '-t', 'aaaab'], /^no dataset uuids matching ffff, /],
    [['move', '-d', '11112', '-t', 'ffff'], /^no node uuids matching ffff/],
    [['move', '-d', '1111', '-t', 'aaaab'], /^1111 is ambiguous dataset: it may be /],
    // The name of one, and the beginning of the other.
    [['destroy', '-d', '11111'], /^11111 is ambiguous dataset: it may be /],
    [['destroy', '-d', 'we'], /^no dataset uuids matching we/],
    [['destroy', '-d', '22222222-0000-4000-8000-000000000003'], /^no dataset uuids matching 2222/],
  ])('%j', async (args, text) => {
    const ran = await bench.run(...args);
    expect(ran).toMatchObject({ stdout: '', exitCode: 1 });
    expect(ran.stderr).toMatch(text);
    expect(ran.stderr).toMatch(/^[^\n]+\n$/);
  });

  it.each([
    [['destroy'], /required option '-d, --dataset <dataset>' not specified/],
    [['destroy', '-d', ''], /It is empty/],
    [['move', '-d', 'web'], /required option '-t, --destination <node>' not specified/],
    [['create'], /required option '-n, --node <node>' not specified/],
    [['create', '-n', 'aaaaa', '-s', '10X'], /must look like/],
    [['create', '-n', 'aaaaa', '-s', '1K'], /at least 64 MiB/],
    [['create', '-n', 'aaaaa', '-m', 'name'], /malformed metadata specification 'name', please use format 'a=b,c=d'/],
    [['create', '-n', 'aaaaa', '-m', 'a=1,a=2'], /twice/],
    [['list', '--timeout', '0'], /number of seconds/],
    [['list', '--control-port', '99999'], /must be a port/],
    [['frobnicate'], /unknown command 'frobnicate'/],
    [['list', '--frobnicate'], /unknown option '--frobnicate'/],
    [[], /Usage: flockerctl/],
  ])('refuses the usage %j', async (args, text) => {
    const ran = await bench.run(...args);
    expect(ran).toMatchObject({ stdout: '', exitCode: 1 });
    expect(ran.stderr).toMatch(text);
    expect(bench.targets).toEqual([]);
  });
});

describe('failures', () => {
  it('fails when the server does, and closes', async () => {
    bench.faults = {
      createDataset: () =>
        Promise.reject(new ClientError('server_failed', 'POST /x: the control service failed (500)')),
    };
    const ran = await bench.run('create', '-n', NODE_A);
    expect(ran).toEqual({ stdout: '', stderr: 'POST /x: the control service failed (500)\n', exitCode: 1 });
    expect(bench.closed).toBe(1);
  });

  it('does not find a deleted dataset by a part of its id, nor move it', async () => {
    await bench.mounted(NODE_A, { id: FIRST });
    await bench.run('destroy', '-d', FIRST, '--wait');
    expect((await bench.run('move', '-d', '1111', '-t', NODE_B)).stderr).toMatch(/^no dataset uuids matching 1111/);
    expect(await bench.run('move', '-d', FIRST, '-t', NODE_B)).toMatchObject({
      stderr: 'The dataset has been deleted.\n',
      exitCode: 1,
    });
  });

  it('gives up waiting in time, and says what it waited for', async () => {
    await bench.mounted(NODE_A, { id: FIRST, metadata: { name: 'web' } });
    const lease = { datasetId: FIRST, nodeId: NODE_A, expiresSeconds: null };
    await bench.flocker.client.acquireLease(lease, AbortSignal.timeout(5_000));
    const moved = await bench.run('move', '-d', 'web', '-t', NODE_B, '--wait', '--timeout', '0.2');
    expect(moved).toMatchObject({ stdout: 'initiated move of dataset.\n', exitCode: 1 });
    expect(moved.stderr).toMatch(
      /^did not see volume web \(dataset 1111.*\) mounted on 192\.0\.2\.1 \(node .*\) within 0\.2 s: .*lease.*flockerctl list/,
    );
    const destroyed = await bench.run('destroy', '-d', 'web', '--wait', '--timeout', '0.2', '--json');
    expect(destroyed.stderr).toMatch(/destroyed within 0\.2 s: .*lease/);
    expect(JSON.parse(destroyed.stdout)).toMatchObject({
      dataset_id: FIRST,
      deleted: true,
      error: expect.any(String) as string,
    });
    expect(destroyed.exitCode).toBe(1);
  });

  it('gives up a server that does not answer', async () => {
    bench.faults = {
      listNodes: (signal) =>
        new Promise((_, reject) => {
          signal.addEventListener('abort', () => reject(signal.reason as Error));
        }),
    };
    expect(await bench.run('list-nodes', '--timeout', '0.1')).toEqual({
      stdout: '',
      stderr: 'flockerctl list-nodes did not finish within 100 ms\n',
      exitCode: 1,
    });
  });

  it('fails at once with a problem that needs action', async () => {
    const ran = await bench.run('create', '-n', NODE_A, '-m', 'clusterhq:flocker:profile=no-such', '--wait');
    expect(ran.exitCode).toBe(1);
    expect(ran.stderr).toMatch(/^[^\n]*no-such[^\n]*\n$/);
  });
});

describe('progress', () => {
  it('shows problems that pass on a terminal, and takes its line away', async () => {
    await bench.mounted(NODE_A, { id: FIRST });
    const lease = { datasetId: FIRST, nodeId: NODE_A, expiresSeconds: 1.6 };
    await bench.flocker.client.acquireLease(lease, AbortSignal.timeout(5_000));
    bench.terminalColumns = 80;
    const ran = await bench.run('move', '-d', FIRST, '-t', NODE_B, '--wait');
    expect(ran.exitCode).toBe(0);
    expect(ran.stderr).toContain('waiting to see dataset 11111111');
    expect(ran.stderr).toMatch(/ {2}Node aaaaaaaa.* holds a lease on dataset 1111.*\n/);
    expect(ran.stderr).toContain(' … 1 s');
    expect(ran.stderr.endsWith('\r\u001b[K')).toBe(true);
  });
});

it('says its version without a cluster', async () => {
  expect(await bench.runBare('version')).toEqual({ stdout: 'flockerctl 1.2.3\n', stderr: '', exitCode: 0 });
  expect((await bench.runBare('--version')).stdout).toBe('1.2.3\n');
  expect((await bench.runBare('version', '--json')).stdout).toBe('{"flockerctl":"1.2.3"}\n');
  expect(bench.targets).toEqual([]);
});

describe('node declare-dead', () => {
  it('asks for a yes, and then gives what the node had to others', async () => {
    const id = await bench.mounted(NODE_A, { metadata: { name: 'left' } });
    const connected = await bench.run('node', 'declare-dead', NODE_A, '--yes');
    expect(connected).toMatchObject({ exitCode: 1, stdout: '' });
    expect(connected.stderr).toContain('connected');
    bench.flocker.removeNode(NODE_A);
    const unsure = await bench.run('node', 'declare-dead', NODE_A);
    expect(unsure).toMatchObject({ exitCode: 1, stdout: '' });
    expect(unsure.stderr).toContain('--yes');
    const sure = await bench.run('--json', 'node', 'declare-dead', NODE_A, '--yes');
    expect(JSON.parse(sure.stdout)).toMatchObject({ uuid: NODE_A, datasets: [id] });
    const again = await bench.run('node', 'declare-dead', NODE_A, '--yes');
    expect(again.exitCode).toBe(0);
    expect(again.stdout).toContain('0 volumes, 0 leases');
    expect(await bench.run('node', 'declare-dead', 'nix', '--yes')).toMatchObject({ exitCode: 1, stdout: '' });
  });
});

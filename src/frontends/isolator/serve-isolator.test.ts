import { existsSync } from 'node:fs';
import { chown, readdir, readFile, rename, stat, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { DatasetId } from '../../kit/ids.ts';
import { IsolatorBench, type LaunchReply } from './testing/isolator-bench.ts';

const isRoot = process.getuid?.() === 0;
const CALLS = new URL('../../../test/fixtures/mesos-isolator-calls.jsonl', import.meta.url);
const DB = { FLOCKER_ID: 'db', FLOCKER_CONTAINER_VOLUME_PATH: 'data' };
const id = (value: string, parent?: string): object =>
  parent === undefined ? { value } : { value, parent: { value: parent } };

let bench: IsolatorBench;
beforeEach(async () => {
  bench = await IsolatorBench.start();
});
afterEach(() => bench.close());

async function restart(...args: Parameters<IsolatorBench['startAgent']>): Promise<void> {
  await bench.stopAgent();
  await bench.startAgent(...args);
}

function sourceOf(launch: LaunchReply): string {
  return launch.mounts[0]?.source ?? '';
}

describe('replay of calls recorded from Mesos', () => {
  it('answers each as Mesos needs it', async () => {
    const text = await readFile(CALLS, 'utf8');
    const sandboxes = join(bench.directory, 'sandboxes');
    const calls = text
      .replaceAll('"/var/lib/mesos', `"${sandboxes}`)
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { method: string; call: { container_config?: { directory: string } } });
    for (const { call } of calls)
      if (call.container_config !== undefined)
        await bench.sandbox(call.container_config.directory.slice(sandboxes.length));
    const replies = [];
    for (const { method, call } of calls) {
      const reply = await bench.call(method, call);
      replies.push(reply);
      expect(reply.status, JSON.stringify(reply.body)).toBe(200);
      if (method === 'recover') await restart();
    }
    const [executor, , nested, , , , command, , recovered] = replies.map(({ body }) => body);
    expect(executor).toEqual({});
    for (const [launch, index] of [
      [nested, 2],
      [command, 6],
    ] as const) {
      const config = calls[index]?.call.container_config;
      expect(launch).toEqual({
        clone_namespaces: [131072],
        mounts: [
          {
            source: expect.stringContaining(bench.directory) as unknown,
            target: `${config?.directory}/data`,
            flags: 20480,
          },
        ],
      });
    }
    expect(sourceOf(nested as LaunchReply)).toBe(sourceOf(command as LaunchReply));
    expect(recovered).toEqual({ containers: [id('f7884fcf-8532-4284-b8d4-209f3dc6b4cc')] });
    expect(bench.holders).toEqual([]);
    expect(bench.names).toEqual(['webapp']);
    expect((await readdir(sandboxes, { recursive: true })).filter((path) => path.endsWith('/data'))).toEqual([]);
  });
});

describe('prepare and cleanup', () => {
  it('is for one user only', async () => {
    expect((await stat(bench.socketPath)).mode & 0o777).toBe(0o600);
    expect((await stat(dirname(bench.socketPath))).mode & 0o777).toBe(0o700);
  });

  it('mounts several volumes, some read-only, and says who has them', async () => {
    const launch = await bench.prepared(
      'c1',
      { ...DB, FLOCKER_ID1: 'logs', FLOCKER_CONTAINER_VOLUME_PATH1: 'var/log', FLOCKER_MODE1: 'ro' },
      {
        task_info: { task_id: { value: 't1' }, name: 'one' },
        executor_info: { framework_id: { value: 'f1' }, executor_id: { value: 't1' } },
      },
    );
    expect(launch.mounts.map(({ flags }) => flags)).toEqual([20480, 20481]);
    expect(bench.holders).toEqual(['mesos/c1 db', 'mesos/c1 logs']);
    const [volume] = bench.volumes.list();
    expect(volume?.holders[0]?.detail).toBe('Mesos task t1, framework f1, container c1');
    expect((await bench.inSandbox('c1')).sort()).toEqual(['data', 'var']);
    expect(await bench.cleanup('c1')).toEqual({ status: 200, body: {} });
    expect(bench.holders).toEqual([]);
    expect(bench.flocker.cluster.leases()).toEqual([]);
    expect(await bench.inSandbox('c1')).toEqual([]);
    expect(await bench.cleanup('c1')).toEqual({ status: 200, body: {} });
  });

  it('shares a volume between containers until the last of them ends', async () => {
    const first = await bench.prepared('c1', DB);
    const nested = await bench.call('prepare', {
      container_id: id('n', 'c1'),
      container_config: {
        directory: await bench.sandbox('n'),
        command_info: { environment: { variables: Object.entries(DB).map(([name, value]) => ({ name, value })) } },
      },
    });
    expect(sourceOf(nested.body as LaunchReply)).toBe(sourceOf(first));
    expect(bench.holders).toEqual(['mesos/c1 db', 'mesos/c1.n db']);
    await bench.cleanup('c1');
    expect(bench.flocker.cluster.leases()).toHaveLength(1);
    await bench.call('cleanup', { container_id: id('n', 'c1') });
    expect(bench.flocker.cluster.leases()).toEqual([]);
  });

  it('has nothing to do for containers without volumes', async () => {
    const config = {
      directory: '/nowhere',
      command_info: { environment: { variables: [{ name: 'PATH', value: '/' }] } },
    };
    const call = { container_id: id('c'), container_config: config };
    expect(await bench.call('prepare', call)).toEqual({ status: 200, body: {} });
    const debug = await bench.prepare('d', { FLOCKER_ID: 'half' }, { container_class: 'DEBUG' });
    expect(debug).toEqual({ status: 200, body: {} });
    expect(bench.names).toEqual([]);
  });

  it('explains a refusal and leaves nothing behind', async () => {
    await symlink('/etc', join(await bench.sandbox('c1'), 'out'));
    const refusals = [
      [{ FLOCKER_ID: 'db' }, 400, /FLOCKER_ID set without FLOCKER_CONTAINER_VOLUME_PATH/],
      [{ ...DB, FLOCKER_CONTAINER_VOLUME_PATH: '../x' }, 400, /container path "..\/x" has ".." in it/],
      [{ ...DB, FLOCKER_CONTAINER_VOLUME_PATH: 'out/x' }, 400, /has a symbolic link in it/],
      [{ ...DB, FLOCKER_CONTAINER_VOLUME_PATH: '/etc' }, 400, /belongs to the system/],
      [{ ...DB, FLOCKER_CREATE: 'never' }, 404, /there is no volume db.*Create it, or set FLOCKER_CREATE=auto/],
      [{ ...DB, FLOCKER_ID1: 'b', FLOCKER_CONTAINER_VOLUME_PATH1: 'data/in' }, 400, /one inside the other/],
      [{ ...DB, FLOCKER_ID1: 'b', FLOCKER_CONTAINER_VOLUME_PATH1: './data' }, 400, /one inside the other/],
    ] as const;
    for (const [variables, status, message] of refusals) {
      const reply = await bench.prepare('c1', variables);
      expect(reply.status).toBe(status);
      const text = (reply.body as { message: string }).message;
      expect(text).toMatch(message);
      expect(text).toContain(`Flocker on node agent-7 (${bench.node}): `);
    }
    expect(bench.holders).toEqual([]);
    expect(bench.names).toEqual([]);
    expect(await bench.inSandbox('c1')).toEqual(['out']);
  });

  it('answers what is no call', async () => {
    const odd: unknown[] = ['{', 'null', '[]', {}, { container_id: 'c' }, { container_id: { value: '' } }];
    for (const body of odd) {
      for (const method of ['prepare', 'isolate', 'usage', 'cleanup', 'watch'])
        expect((await bench.call(method, body)).status, `${method} ${JSON.stringify(body)}`).toBe(400);
    }
    expect(await bench.call('update', {})).toMatchObject({ status: 404 });
    expect(await bench.prepare('c1', DB, { directory: 'relative' })).toMatchObject({ status: 400 });
    expect(await bench.call('isolate', { container_id: id('c1'), pid: 7, more: [] })).toEqual({
      status: 200,
      body: {},
    });
  });

  it('keeps nothing of a task of which one volume cannot be had', async () => {
    const reply = await bench.prepare('c1', {
      ...DB,
      FLOCKER_ID1: 'missing',
      FLOCKER_CONTAINER_VOLUME_PATH1: 'b',
      FLOCKER_CREATE1: 'never',
    });
    expect(reply).toMatchObject({ status: 404, body: { message: expect.stringContaining('missing') as unknown } });
    expect(bench.holders).toEqual([]);
    expect(bench.flocker.cluster.leases()).toEqual([]);
    expect(await bench.inSandbox('c1')).toEqual([]);
  });

  it('fails in time and names the node that has the volume', async () => {
    const other = bench.flocker.addNode();
    const { datasetId } = await bench.volumes.acquire(
      { id: 'run/1', detail: 'a test' },
      { name: 'db', create: 'auto', mode: 'rw' },
      AbortSignal.timeout(5_000),
    );
    await bench.volumes.release('run/1');
    const lease = { datasetId, nodeId: other, expiresSeconds: 600 };
    await bench.flocker.client.acquireLease(lease, AbortSignal.timeout(5_000));
    const startedMs = performance.now();
    const reply = await bench.prepare('c1', DB, {}, { timeout_ms: 500 });
    expect(performance.now() - startedMs).toBeLessThan(1_500);
    expect(reply.status).toBe(409);
    expect((reply.body as { message: string }).message).toMatch(
      new RegExp(`db was not ready in time: node ${other}.*Stop what`),
    );
    expect(bench.holders).toEqual([]);
    expect(await bench.inSandbox('c1')).toEqual([]);
  });

  it('gives everything back when the caller hangs up, or the container is cleaned up meanwhile', async () => {
    bench.flocker.removeNode(bench.node);
    const gone = new AbortController();
    const waiting = bench.prepare('c1', DB, {}, {}, gone.signal);
    await vi.waitFor(() => expect(bench.holders).toEqual(['mesos/c1 db']));
    gone.abort(new Error('enough'));
    await expect(waiting).rejects.toThrow();
    await vi.waitFor(() => expect(bench.holders).toEqual([]));
    const second = bench.prepare('c2', DB);
    await vi.waitFor(() => expect(bench.holders).toEqual(['mesos/c2 db']));
    expect(await bench.prepare('c2', DB)).toMatchObject({ status: 503 });
    expect(await bench.cleanup('c2')).toEqual({ status: 200, body: {} });
    expect(await second).toMatchObject({ status: 409 });
    expect(bench.holders).toEqual([]);
    expect(bench.flocker.cluster.leases()).toEqual([]);
  });

  it('deletes with a task only what that task made and nobody else has', async () => {
    const scratch = { ...DB, FLOCKER_ON_EXIT: 'delete' };
    await bench.prepared('c1', { ...scratch, FLOCKER_ID1: 'kept', FLOCKER_CONTAINER_VOLUME_PATH1: 'k' });
    await restart();
    await bench.cleanup('c1');
    expect(bench.names).toEqual(['kept']);
    await bench.prepared('c2', { ...scratch, FLOCKER_ID: 'kept' });
    await bench.cleanup('c2');
    expect(bench.names).toEqual(['kept']);
    await bench.prepared('c3', scratch);
    await bench.prepared('c4', DB);
    await bench.cleanup('c3');
    await bench.cleanup('c4');
    expect(bench.names).toEqual(['db', 'kept']);
  });

  it.skipIf(!isRoot)("gives a new volume to the task's user and leaves one with data alone", async () => {
    const find = vi.fn(async (name: string) => (name === 'web' ? { uid: 1234, gid: 4321 } : undefined));
    await restart({}, { findUser: find });
    const source = sourceOf(await bench.prepared('c1', DB, { user: 'web' }));
    expect(await stat(source)).toMatchObject({ uid: 1234, gid: 4321 });
    await bench.prepared('c2', DB, { user: 'other' });
    expect((await stat(source)).uid).toBe(1234);
    // Not known by name: the sandbox has its owner.
    await chown(await bench.sandbox('c3'), 77, 78);
    const third = sourceOf(await bench.prepared('c3', { ...DB, FLOCKER_ID: 'three' }, { user: 'ldap' }));
    expect(await stat(third)).toMatchObject({ uid: 77, gid: 78 });
    const fourth = sourceOf(await bench.prepared('c4', { ...DB, FLOCKER_ID: 'four' }));
    expect((await stat(fourth)).uid).toBe(0);
    await writeFile(join(fourth, 'data'), '');
    await bench.cleanup('c4');
    await bench.prepared('c5', { ...DB, FLOCKER_ID: 'four' }, { user: 'web' });
    expect((await stat(fourth)).uid).toBe(0);
  });
});

describe("the operator's rules", () => {
  it('decide by role, user and name, and a refusal says which', async () => {
    await restart({
      rules: [
        { role: 'web', volumes: ['web-*'], create: true, delete: false, largestSizeBytes: 2 ** 30, name: 'web' },
        { role: 'web', volumes: ['shared'], create: false, delete: false },
      ],
    });
    const web = { resources: [{ allocation_info: { role: 'web' } }, { allocation_info: { role: 'web' } }] };
    const small = { FLOCKER_ID: 'web-1', FLOCKER_CONTAINER_VOLUME_PATH: 'data', FLOCKER_SIZE: '1GiB' };
    await bench.prepared('c1', small, web);
    await bench.cleanup('c1');
    // As it is there already, what it may be made with does not matter.
    await bench.prepared('c2', { ...small, FLOCKER_SIZE: '9TiB' }, web);
    const refusals = [
      [{ ...small, FLOCKER_ID: 'db' }, web, /volume db: none of the 2 rules/],
      [small, {}, /role \(none\)/],
      [{ ...small, FLOCKER_ON_EXIT: 'delete' }, web, /rule 1 \(web\).*delete volumes/],
      [
        { ...small, FLOCKER_ID: 'web-2', FLOCKER_SIZE: '2GiB' },
        web,
        /there is no volume web-2, and rule 1 \(web\).*largest is 1 GiB/,
      ],
      [{ ...small, FLOCKER_ID: 'shared' }, web, /there is no volume shared, and rule 2 .* make volumes/],
    ] as const;
    for (const [variables, config, message] of refusals) {
      const reply = await bench.prepare('c3', variables, config);
      expect(reply).toMatchObject({ status: 403, body: { message: expect.stringMatching(message) as unknown } });
    }
    expect(bench.names).toEqual(['web-1']);
  });
});

describe('recover', () => {
  const recover = (states: object[], orphans: object[] = []): ReturnType<IsolatorBench['call']> =>
    bench.call('recover', { states: states.map((one) => ({ container_id: one, pid: 7, directory: '/x' })), orphans });

  it('keeps the living and orphans, ends the others, and answers who has volumes', async () => {
    for (const name of ['live', 'orphan', 'gone']) await bench.prepared(name, { ...DB, FLOCKER_ID: name });
    await bench.prepared('scratch', { ...DB, FLOCKER_ID: 'scratch', FLOCKER_ON_EXIT: 'delete' });
    for (let round = 0; round < 2; round += 1) {
      const reply = await recover([id('live'), id('without')], [id('orphan')]);
      expect(reply).toEqual({ status: 200, body: { containers: [id('live'), id('orphan')] } });
      expect(bench.holders).toEqual(['mesos/live live', 'mesos/orphan orphan']);
      await restart();
    }
    expect(await bench.inSandbox('gone')).toEqual([]);
    expect(bench.names).toEqual(['gone', 'live', 'orphan']);
    await bench.cleanup('orphan');
    expect(bench.holders).toEqual(['mesos/live live']);
  });

  it('keeps everything through restarts of the daemon alone', async () => {
    await bench.prepared('c1', DB);
    await restart();
    await restart();
    expect(bench.holders).toEqual(['mesos/c1 db']);
    expect(bench.flocker.cluster.leases()).toHaveLength(1);
    expect(await bench.inSandbox('c1')).toEqual(['data']);
  });

  it('ends all containers of before a reboot, and deletes nothing', async () => {
    await bench.prepared('c1', { ...DB, FLOCKER_ON_EXIT: 'delete' });
    await restart({}, { bootId: 'boot-2' });
    expect(bench.holders).toEqual([]);
    expect(bench.flocker.cluster.leases()).toEqual([]);
    expect(await bench.inSandbox('c1')).toEqual([]);
    expect(bench.names).toEqual(['db']);
  });

  it('leaves the holders of others alone', async () => {
    const spec = { name: 'db', create: 'auto', mode: 'rw' } as const;
    await bench.volumes.acquire({ id: 'run/1', detail: 'a test' }, spec, AbortSignal.timeout(5_000));
    await recover([]);
    await restart({}, { bootId: 'boot-2' });
    expect(bench.holders).toEqual(['run/1 db']);
  });

  it('ends a preparation of a container that Mesos does not know', async () => {
    bench.flocker.removeNode(bench.node);
    const waiting = bench.prepare('c1', DB);
    await vi.waitFor(() => expect(bench.holders).toEqual(['mesos/c1 db']));
    expect(await recover([])).toEqual({ status: 200, body: { containers: [] } });
    expect(await waiting).toMatchObject({ status: 409 });
    expect(bench.holders).toEqual([]);
  });
});

describe('usage', () => {
  it('has an entry for each volume', async () => {
    const { mounts } = await bench.prepared('c1', { ...DB, FLOCKER_ID1: 'b', FLOCKER_CONTAINER_VOLUME_PATH1: 'b' });
    const { status, body } = await bench.call('usage', { container_id: id('c1') });
    expect(status).toBe(200);
    const { timestamp, disk_statistics: disks } = body as { timestamp: number; disk_statistics: object[] };
    expect(Math.abs(timestamp - Date.now() / 1000)).toBeLessThan(60);
    expect(disks).toMatchObject([
      { persistence: { id: 'db' }, source: { type: 'MOUNT', mount: { root: mounts[0]?.source } } },
      { persistence: { id: 'b' }, source: { type: 'MOUNT', mount: { root: mounts[1]?.source } } },
    ]);
    for (const disk of disks) {
      const { limit_bytes: limit, used_bytes: used } = disk as { limit_bytes: number; used_bytes: number };
      expect(limit).toBeGreaterThan(used);
      expect(used).toBeGreaterThan(0);
    }
    expect(await bench.call('usage', { container_id: id('none') })).toMatchObject({ body: { disk_statistics: [] } });
  });
});

describe('watch', () => {
  const watch = (name: string, signal?: AbortSignal): ReturnType<IsolatorBench['call']> =>
    bench.call('watch', { container_id: id(name) }, signal);

  it('is not done unless the operator wants it and there is a volume', async () => {
    await bench.prepared('c1', DB);
    expect(await watch('c1')).toEqual({ status: 204, body: null });
    await restart({ killTasksOfLostVolumes: true });
    expect(await watch('none')).toEqual({ status: 204, body: null });
  });

  it('tells of a lease that another node took, and of a volume that is gone', async () => {
    await restart({ killTasksOfLostVolumes: true });
    const { mounts } = await bench.prepared('c1', DB);
    const early = new AbortController();
    const nothing = watch('c1', early.signal);
    await new Promise((resolve) => setTimeout(resolve, 200));
    early.abort();
    await expect(nothing).rejects.toThrow();
    const waiting = watch('c1');
    const source = mounts[0]?.source ?? '';
    await rename(source, `${source}.away`);
    expect(await waiting).toMatchObject({
      status: 200,
      body: {
        reason: 'REASON_CONTAINER_LIMITATION',
        message: expect.stringMatching(/lost volume db: reading it fails/) as unknown,
      },
    });
    expect(existsSync(source)).toBe(false);
    const datasetId = (source.split('/').at(-1) ?? '') as DatasetId;
    expect(bench.volumes.heldHere(datasetId)).toHaveLength(1);
  });
});

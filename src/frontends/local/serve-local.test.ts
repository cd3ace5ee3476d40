import { type ChildProcess, spawn } from 'node:child_process';
import { stat, writeFile } from 'node:fs/promises';
import { request } from 'node:http';
import { connect, createServer } from 'node:net';
import { dirname } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { prepareSocketPath } from '../../kit/socket-file.ts';
import { LOCAL_STATUS } from './local-error.ts';
import { LocalBench } from './testing/local-bench.ts';

let bench: LocalBench;
const children: ChildProcess[] = [];

beforeEach(async () => {
  bench = await LocalBench.start();
});
afterEach(async () => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
  await bench.close();
});

const soon = (): AbortSignal => AbortSignal.timeout(5_000);
const db = { name: 'db', create: 'auto', mode: 'rw' } as const;
const other = { id: 'dvdcli/db', detail: 'a test' };
const run = { id: 'run/1', detail: 'a test' };

function post(path: string, body: string): Promise<{ status: number | undefined; body: unknown }> {
  return new Promise((resolve, reject) => {
    const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) };
    const sent = request({ socketPath: bench.socketPath, path, method: 'POST', headers, agent: false }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
      response.on('end', () => resolve({ status: response.statusCode, body: JSON.parse(text) as unknown }));
    });
    sent.on('error', reject);
    sent.end(body);
  });
}

describe('serveLocal', () => {
  it('gives and takes volumes', async () => {
    const got = await bench.client.acquire(other, { ...db, size: 2 ** 30 }, 5_000, soon());
    expect(got).toMatchObject({ size: 2 ** 30, created: true, notes: [] });
    expect(await bench.client.volumes(soon())).toMatchObject({
      volumes: [
        { name: 'db', path: got.path, lease: 'ours', problem: null, holders: [{ id: 'dvdcli/db', state: 'held' }] },
      ],
    });
    expect(await bench.client.release('dvdcli/db', true, soon())).toEqual([]);
    expect(await bench.client.release('dvdcli/db', false, soon())).toEqual([]);
    expect(await bench.client.status(soon())).toEqual({
      volumes: 0,
      holders: 0,
      attended: 0,
      watched: 0,
      lost_leases: 0,
    });
    expect([...bench.flocker.cluster.datasets.values()].map((one) => one.configuration.deleted)).toEqual([true]);
  });

  it('is for one user only', async () => {
    expect((await stat(bench.socketPath)).mode & 0o777).toBe(0o600);
    expect((await stat(dirname(bench.socketPath))).mode & 0o777).toBe(0o700);
  });

  it('answers errors with their code and status', async () => {
    const refused = bench.client.acquire(other, { ...db, create: 'never' }, 5_000, soon());
    await expect(refused).rejects.toMatchObject({
      code: 'refused',
      reason: 'volume_not_found',
      message: expect.stringMatching(/there is no volume db/) as unknown,
    });
    const big = JSON.stringify({ holder: other, volume: { ...db, name: 'x'.repeat(70_000) }, timeout_ms: 1 });
    const coerced = JSON.stringify({ holder: other, volume: { ...db, size: '1073741824' }, timeout_ms: 1000 });
    const surplus = JSON.stringify({ holder: other, volume: db, timeout_ms: 1000, more: 1 });
    for (const body of ['{', 'null', '[]', big, coerced, surplus]) {
      expect(await post('/v1/acquire', body)).toMatchObject({ status: 400, body: { code: 'bad_request' } });
    }
    expect(await post('/v1/none', '{}')).toMatchObject({ status: 404, body: { code: 'not_found' } });
    for (const status of Object.values(LOCAL_STATUS)) expect(status).toBeGreaterThanOrEqual(400);
  });

  it('ends an acquire whose client hangs up', async () => {
    for (const node of bench.flocker.cluster.nodes) bench.flocker.removeNode(node);
    const gone = new AbortController();
    const waiting = bench.client.acquire(other, db, 60_000, gone.signal);
    await vi.waitFor(() => expect(bench.flocker.cluster.leases()).toHaveLength(1));
    gone.abort(new Error('enough'));
    await expect(waiting).rejects.toThrow('enough');
    await vi.waitFor(() => expect(bench.holders).toEqual([]));
    expect(bench.flocker.cluster.leases()).toEqual([]);
  });

  it('wants run holders attended, and ends them with their connection', async () => {
    await expect(bench.client.acquire(run, db, 5_000, soon())).rejects.toMatchObject({ reason: 'not_attended' });
    const attendance = await bench.client.attend('run/1', AbortSignal.timeout(60_000));
    await bench.client.acquire(run, db, 5_000, soon());
    expect(bench.holders).toEqual(['run/1']);
    attendance.close();
    await vi.waitFor(() => expect(bench.holders).toEqual([]));
    expect(bench.flocker.cluster.leases()).toEqual([]);
  });

  it('keeps a holder without its connection while its process lives', async () => {
    const child = spawn('sleep', ['60']);
    children.push(child);
    const attendance = await bench.client.attend('run/1', AbortSignal.timeout(60_000));
    await bench.client.acquire(run, db, 5_000, soon());
    await bench.client.register('run/1', child.pid ?? 0, [], soon());
    attendance.close();
    await new Promise((resolve) => setTimeout(resolve, 400));
    expect(bench.holders).toEqual(['run/1']);
    child.kill('SIGKILL');
    await vi.waitFor(() => expect(bench.holders).toEqual([]), { timeout: 3_000 });
  });

  it('refuses processes and mount points that are not there or not allowed', async () => {
    await bench.client.attend('run/1', AbortSignal.timeout(60_000));
    await bench.client.acquire(run, db, 5_000, soon());
    const file = `${bench.directory}/file`;
    await writeFile(file, '');
    const register = (pid: number, targets: string[]): Promise<unknown> =>
      bench.client.register('run/1', pid, targets, soon());
    await expect(register(2 ** 31 - 2, [])).rejects.toMatchObject({ reason: 'no_such_process' });
    for (const target of ['/etc/x', 'data', '/a/../b', file, `${file}/below`]) {
      await expect(register(process.pid, [target])).rejects.toMatchObject({ reason: 'bad_target' });
    }
    await expect(bench.client.register('run/2', process.pid, [], soon())).rejects.toMatchObject({
      reason: 'bad_holder',
    });
  });

  it('tells clients of a closed agent what is wrong', async () => {
    await bench.stopAgent();
    await expect(bench.client.status(soon())).rejects.toMatchObject({ code: 'agent_not_running' });
    await bench.startAgent();
    await bench.client.status(soon());
  });
});

describe('prepareSocketPath', () => {
  it('removes a socket only when nobody answers there, and nothing else ever', async () => {
    await expect(prepareSocketPath(bench.socketPath)).rejects.toMatchObject({ code: 'socket_in_use' });
    await bench.client.status(soon());
    const path = `${bench.directory}/other/x.sock`;
    await prepareSocketPath(path);
    await writeFile(path, 'a file');
    await expect(prepareSocketPath(path)).rejects.toMatchObject({ code: 'not_a_socket' });
  });

  it('takes over the socket of an agent that was killed', async () => {
    const path = `${bench.directory}/stale/x.sock`;
    await prepareSocketPath(path);
    const listen = `require('net').createServer().listen(process.argv[1], () => console.log('up'))`;
    const child = spawn(process.execPath, ['-e', listen, path], { stdio: ['ignore', 'pipe', 'inherit'] });
    await new Promise((resolve) => child.stdout.once('data', resolve));
    await expect(prepareSocketPath(path)).rejects.toMatchObject({ code: 'socket_in_use' });
    child.kill('SIGKILL');
    await new Promise((resolve) => child.once('close', resolve));
    await prepareSocketPath(path);
    const server = createServer((socket) => socket.end());
    await new Promise<void>((resolve) => server.listen(path, resolve));
    await new Promise((resolve) => connect(path, () => resolve(undefined)));
    server.close();
  });
});

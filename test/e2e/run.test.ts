import { randomUUID } from 'node:crypto';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { RestApi } from '../support/rest-api.ts';
import { eventually } from './support/eventually.ts';
import type { Ended, Program } from './support/program.ts';
import { BACKENDS, UpCluster } from './support/up.ts';

const containing = (text: string): string => expect.stringContaining(text) as string;

describe.each(BACKENDS)('flocker run, %s backend', (backend) => {
  let cluster: UpCluster;
  let api: RestApi;
  let daemons: number;
  beforeAll(async () => {
    cluster = await UpCluster.start('--backend', backend);
    api = await cluster.api();
    daemons = (await cluster.scratch.processes()).length;
  });
  afterAll(() => cluster.remove());
  /** Whatever a test did: no lease, no command and no other process of it is left. */
  afterEach(async () => {
    await eventually(async () => expect((await api.get('/v1/configuration/leases')).json).toEqual([]));
    await eventually(async () => expect((await cluster.scratch.processes()).length).toBe(daemons));
  });

  const named = (): string => `volume-${randomUUID().slice(0, 8)}`;
  const run = (number: number, volume: string, script: string): Program =>
    cluster.run(number, '-v', volume, '--', 'sh', '-c', script);
  const leaseHolders = async (): Promise<string[]> => {
    const { json } = await api.get('/v1/configuration/leases');
    return (json as { node_uuid: string }[]).map(({ node_uuid: node }) => node);
  };
  const inspect = async (
    name: string,
  ): Promise<{ status: string; problem: { code: string; message: string } | null }> => {
    const { json } = await api.get(`/v1/inspect/datasets?name=${name}`);
    const [found] = json as unknown as Awaited<ReturnType<typeof inspect>>[];
    if (found === undefined) throw new Error(`there is no volume ${name}`);
    return found;
  };
  const volumeFiles = async (): Promise<string[]> => {
    const all = await readdir(join(cluster.directory, 'volumes'), { recursive: true });
    return all.filter((path) => /[0-9a-f-]{36}$/.test(path) && !path.startsWith('pool'));
  };

  /** Ends a task that waits for /mnt/stop, from within its mount namespace: its volume can no longer be had by name. */
  const stopFromInside = async (task: Program): Promise<void> => {
    const children = await readFile(`/proc/${task.pid}/task/${task.pid}/children`, 'utf8');
    await writeFile(`/proc/${children.trim()}/root/mnt/stop`, '');
  };

  it('ends as its command does, with signals passed on', async () => {
    const name = named();
    expect(await cluster.sh(1, `${name}:/mnt`, 'exit 7')).toMatchObject({ status: 7, stderr: '' });
    expect(await cluster.sh(1, `${name}:/mnt`, 'kill -SEGV $$')).toMatchObject({ status: 139 });
    const command = run(1, `${name}:/mnt`, 'trap "echo got it; exit 3" TERM; echo ready; while :; do sleep 0.05; done');
    await command.says('ready');
    command.kill('SIGTERM');
    expect(await command.ended).toMatchObject({ status: 3, stdout: 'ready\ngot it\n' });
  });

  it('shares a volume with others on its node, and keeps it from other nodes', async () => {
    const name = named();
    const { host } = await cluster.node(1);
    const first = run(
      1,
      `${name}:/mnt`,
      'echo first > /mnt/text; echo ready; while [ ! -e /mnt/stop ]; do sleep 0.05; done',
    );
    await first.says('ready');
    expect(await cluster.sh(1, `${name}:/mnt`, 'cat /mnt/text; echo second > /mnt/text')).toMatchObject({
      ...{ status: 0, stdout: 'first\n' },
    });
    const refused = await cluster.run(2, '--timeout', '2', '-v', `${name}:/mnt`, '--', 'true').ended;
    expect(refused).toMatchObject({ status: 125, stdout: '', stderr: containing(name) });
    expect(refused.stderr).toContain(host);
    const waiting = run(2, `${name}:/mnt`, 'cat /mnt/text');
    await eventually(async () => expect(await leaseHolders()).toEqual([(await cluster.node(1)).uuid]));
    expect(await cluster.sh(1, `${name}:/mnt`, 'touch /mnt/stop')).toMatchObject({ status: 0 });
    expect(await first.ended).toMatchObject({ status: 0 });
    expect(await waiting.ended).toMatchObject({ status: 0, stdout: 'second\n', stderr: '' });
  });

  it('read-only is read-only', async () => {
    const name = named();
    await cluster.sh(1, `${name}:/mnt`, 'echo text > /mnt/text');
    const script =
      'cat /mnt/text; echo more >> /mnt/text || echo refused; rm /mnt/text || echo refused; mount -o remount,rw /mnt';
    const tried = await cluster.sh(1, `${name}:/mnt:ro`, `(${script}) 2>&1; cat /mnt/text`);
    expect(tried.stdout.match(/refused/g)).toHaveLength(2);
    expect(tried.stdout).toMatch(/^text\n/);
    expect(tried.stdout).toMatch(/text\n$/);
  });

  // How the agent ends makes no difference to the storage.
  const signals = backend === BACKENDS[0] ? (['SIGKILL', 'SIGTERM'] as const) : (['SIGKILL'] as const);
  it.each(signals)('goes on while its agent is ended with %s', async (signal) => {
    const name = named();
    // A file that stays open, and one that is opened again and again.
    const script =
      'exec 9>> /mnt/open; n=0; while [ ! -e /mnt/stop ]; do n=$((n+1)); echo $n >&9; echo $n >> /mnt/again; echo $n; sleep 0.02; done';
    const task = run(1, `${name}:/mnt`, script);
    await task.says('3\n');
    await cluster.kill(1, signal);
    await cluster.connected();
    const before = Number(task.stdout.trim().split('\n').at(-1));
    await task.says(`\n${before + 3}\n`);
    expect(await leaseHolders()).toEqual([(await cluster.node(1)).uuid]);
    expect(await cluster.run(2, '--timeout', '1', '-v', `${name}:/mnt`, '--', 'true').ended).toMatchObject({
      status: 125,
    });
    expect(await cluster.sh(1, `${name}:/mnt`, 'touch /mnt/stop')).toMatchObject({ status: 0 });
    const { status, stdout, stderr } = await task.ended;
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    const moved = await cluster.sh(2, `${name}:/mnt`, 'cmp /mnt/open /mnt/again && cat /mnt/open');
    expect(moved).toMatchObject({ status: 0, stdout });
  });

  it('dies with kill -9, and so does its command; the volume is free then', async () => {
    const name = named();
    const task = run(1, `${name}:/mnt`, 'echo $$ > /mnt/pid; echo ready; exec sleep 1000');
    await task.says('ready');
    const beganMs = performance.now();
    task.kill('SIGKILL');
    expect(await task.ended).toMatchObject({ signal: 'SIGKILL' });
    await eventually(async () => expect(await leaseHolders()).toEqual([]), 5_000);
    const next = await cluster.run(2, '--timeout', '5', '-v', `${name}:/mnt`, '--', 'cat', '/mnt/pid').ended;
    expect(next).toMatchObject({ status: 0, stderr: '' });
    expect(performance.now() - beganMs).toBeLessThan(15_000);
  });

  it('keeps its volume from a move, which then happens by itself', async () => {
    const name = named();
    const task = run(
      1,
      `${name}:/mnt`,
      'echo ready; while [ ! -e /mnt/stop ]; do sleep 0.05; done; echo end > /mnt/text',
    );
    await task.says('ready');
    const { uuid, host } = await cluster.node(2);
    expect(await cluster.ctl('move', '--dataset', name, '--destination', host)).toMatchObject({ status: 0 });
    const kept = await inspect(name);
    expect(kept).toMatchObject({ status: 'moving', problem: { code: 'waiting_for_lease', message: containing(name) } });
    expect((await cluster.ctl('list')).stdout).toContain(kept.problem?.message);
    expect(await cluster.sh(1, `${name}:/mnt`, 'touch /mnt/stop')).toMatchObject({ status: 0 });
    expect(await task.ended).toMatchObject({ status: 0 });
    // The second run on node 1 brought the volume back to node 1: who uses it decides where it is.
    expect(await cluster.ctl('move', '--wait', '--dataset', name, '--destination', host)).toMatchObject({ status: 0 });
    expect(await inspect(name)).toMatchObject({ status: 'mounted', state: { primary: uuid }, problem: null });
  });

  it('keeps its volume from deletion, which then takes its files away', async () => {
    const before = await volumeFiles();
    const [idle, used] = [named(), named()];
    expect(await cluster.sh(1, `${idle}:/mnt`, 'echo text > /mnt/text')).toMatchObject({ status: 0 });
    const task = run(
      1,
      `${used}:/mnt`,
      'echo text > /mnt/text; echo ready; while [ ! -e /mnt/stop ]; do sleep 0.05; done; cat /mnt/text',
    );
    await task.says('ready');
    expect((await volumeFiles()).length).toBe(before.length + 2);
    // Mounted, and nobody uses it.
    expect(await cluster.ctl('destroy', '--wait', '--dataset', idle)).toMatchObject({ status: 0 });
    expect((await volumeFiles()).length).toBe(before.length + 1);
    const late = await cluster.ctl('--timeout', '1', 'destroy', '--wait', '--dataset', used);
    expect(late).toMatchObject({ status: 1, stderr: containing('lease') });
    const refused = await cluster.run(1, '--timeout', '2', '-v', `${used}:/mnt,create=never`, '--', 'true').ended;
    expect(refused).toMatchObject({ status: 125, stderr: containing(used) });
    await stopFromInside(task);
    expect(await task.ended).toMatchObject({ status: 0, stdout: 'ready\ntext\n' });
    await eventually(async () => expect(await volumeFiles()).toEqual(before));
  });

  it('says which processes keep the volume, and they do', async () => {
    const name = named();
    const left: Ended = await cluster.sh(1, `${name}:/mnt`, '(trap "" HUP; exec sleep 2 > /mnt/out 2>&1) & exit 0');
    expect(left).toMatchObject({ status: 0, stderr: containing('left processes that still use the volumes') });
    expect(await leaseHolders()).toEqual([(await cluster.node(1)).uuid]);
    expect(await cluster.sh(2, `${name}:/mnt`, 'ls /mnt/out')).toMatchObject({ status: 0, stdout: '/mnt/out\n' });
  });
});

import { execFile } from 'node:child_process';
import { readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { promisify } from 'node:util';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { FlockerClient } from '../../src/client/flocker-client.ts';
import { LocalClient } from '../../src/frontends/local/local-client.ts';
import type { VolumesAnswer } from '../../src/frontends/local/local-schemas.ts';
import { eventually } from './support/eventually.ts';
import { type Ended, type Program, start } from './support/program.ts';
import { BACKENDS, UpCluster } from './support/up.ts';

const isRoot = process.getuid?.() === 0;
const run = promisify(execFile);
const soon = (): AbortSignal => AbortSignal.timeout(10_000);
const SAID = /^time="[^"]+" level=info msg="(.+)" volumeName=.+\n$/;

describe.each(BACKENDS)('dvdcli, as the stock docker/volume isolator runs it, %s backend', (backend) => {
  let cluster: UpCluster;
  let client: FlockerClient;
  beforeAll(async () => {
    cluster = await UpCluster.start('--backend', backend);
    client = await cluster.client();
  });
  afterAll(async () => {
    await client.close();
    await cluster.remove();
  });
  afterEach(async () => {
    for (const node of [1, 2]) expect(await holders(node)).toEqual([]);
    expect(await client.listLeases(soon())).toEqual([]);
  });

  async function dvdcli(node: number, ...args: readonly string[]): Promise<Program> {
    const { socket } = await cluster.node(node);
    return start('dvdcli', args, { ...cluster.scratch.env, FLOCKER_AGENT_SOCKET: socket });
  }
  /** The exact arguments (contract 2.2). */
  async function mount(node: number, name: string, ...options: readonly string[]): Promise<Ended> {
    const opts = ['size=0.1', ...options].map((option) => `--volumeopts=${option}`);
    return (await dvdcli(node, 'mount', '--volumedriver=flocker', `--volumename=${name}`, ...opts)).ended;
  }
  async function unmount(node: number, name: string): Promise<Ended> {
    return (await dvdcli(node, 'unmount', '--volumedriver=flocker', `--volumename=${name}`)).ended;
  }
  /** The path, as the isolator takes it: standard output, trimmed. */
  async function mounted(node: number, name: string, ...options: readonly string[]): Promise<string> {
    const ended = await mount(node, name, ...options);
    expect(ended, ended.stderr).toMatchObject({ status: 0, stdout: expect.stringMatching(/^\/[^\n]+\n$/) as string });
    expect((await stat(ended.stdout.trim())).isDirectory()).toBe(true);
    return ended.stdout.trim();
  }
  async function released(node: number, name: string): Promise<void> {
    expect(await unmount(node, name)).toMatchObject({ status: 0, stdout: '', stderr: '' });
  }
  async function holders(node: number): Promise<string[]> {
    const { socket } = await cluster.node(node);
    const { volumes } = (await eventually(() => new LocalClient(socket).volumes(soon()))) as VolumesAnswer;
    return volumes.flatMap((one) => one.holders.map(({ id }) => id));
  }

  it('mounts a volume with its options, and the data follow to the node that mounts it next', async () => {
    const ended = await mount(1, 'webapp', 'profile=gold');
    expect(ended).toMatchObject({ status: 0, stderr: expect.stringMatching(SAID) as string });
    await writeFile(join(ended.stdout.trim(), 'text'), 'kept');
    const { datasets } = await client.listDatasets(soon());
    expect(datasets).toMatchObject([
      { maximum_size: 107_374_592, metadata: { name: 'webapp', 'clusterhq:flocker:profile': 'gold' } },
    ]);
    await released(1, 'webapp');
    expect(await readFile(join(await mounted(2, 'webapp'), 'text'), 'utf8')).toBe('kept');
    await released(2, 'webapp');
  });

  it('mounts different volumes at the same time, and ends them', async () => {
    const names = Array.from({ length: 6 }, (_, index) => `many-${index}`);
    const paths = await Promise.all(names.map((name) => mounted(1, name)));
    expect(new Set(paths).size).toBe(names.length);
    expect((await holders(1)).sort()).toEqual(names.map((name) => `dvdcli/${name}`));
    await Promise.all(names.map((name) => released(1, name)));
  });

  it('takes mounts and unmounts of one volume one after the other', async () => {
    for (let round = 0; round < 4; round += 1) {
      const [one, two] = [await mounted(1, 'serial'), await mounted(1, 'serial')];
      expect(two).toBe(one);
      await released(1, 'serial');
    }
  });

  it('gives up a volume that is unmounted: the other node has it at once', async () => {
    await mounted(1, 'handed');
    const waiting = mounted(2, 'handed');
    await eventually(async () => expect(await holders(2)).toEqual(['dvdcli/handed']));
    await released(1, 'handed');
    await waiting;
    await released(2, 'handed');
  });

  it('keeps a volume while the agent is killed between mount and unmount', async () => {
    const path = await mounted(1, 'lasting');
    await writeFile(join(path, 'text'), 'before');
    await cluster.kill(1);
    expect(await readFile(join(path, 'text'), 'utf8')).toBe('before');
    expect(await mounted(1, 'lasting')).toBe(path);
    await cluster.kill(1);
    await released(1, 'lasting');
    expect(await readFile(join(await mounted(2, 'lasting'), 'text'), 'utf8')).toBe('before');
    await released(2, 'lasting');
  });

  it.each([0, 150, 300])('finishes when the agent is killed %d ms after the beginning', async (delayMs) => {
    const name = `agent-${delayMs}`;
    const mounting = mounted(1, name);
    await pause(delayMs);
    await cluster.kill(1);
    const path = await mounting;
    expect(await holders(1)).toEqual([`dvdcli/${name}`]);
    await writeFile(join(path, 'text'), name);
    const ending = released(1, name);
    await pause(delayMs / 2);
    await cluster.kill(1);
    await ending;
    expect(await readFile(join(await mounted(2, name), 'text'), 'utf8')).toBe(name);
    await released(2, name);
  });

  it.each([80, 160, 240])('leaves nothing when dvdcli is killed %d ms after the beginning', async (delayMs) => {
    const name = `killed-${delayMs}`;
    const mounting = await dvdcli(
      1,
      'mount',
      '--volumedriver=flocker',
      `--volumename=${name}`,
      '--volumeopts=size=0.1',
    );
    await pause(delayMs);
    mounting.kill('SIGKILL');
    await mounting.ended;
    // The Mesos agent does this when it is back. A volume that was never made is one it does not know.
    const ended = await unmount(1, name);
    if (ended.status !== 0) expect(ended.stderr).toContain(`there is no volume ${name}`);
    await eventually(async () => expect(await holders(1)).toEqual([]));
    await mounted(2, name);
    await released(2, name);
  });

  it.each([120, 240])('leaves nothing when both are killed %d ms after the beginning', async (delayMs) => {
    const name = `both-${delayMs}`;
    const mounting = await dvdcli(
      1,
      'mount',
      '--volumedriver=flocker',
      `--volumename=${name}`,
      `--volumeopts=size=0.1,access=${isRoot ? 'ro' : 'rw'}`,
    );
    await pause(delayMs);
    mounting.kill('SIGKILL');
    await cluster.kill(1);
    await mounting.ended;
    const [holder] = await holders(1);
    // What was not answered is undone by itself; what was answered is the caller's to unmount.
    if (holder === undefined || !mounting.stdout.startsWith('/')) await unmount(1, name);
    else await released(1, name);
    await eventually(async () => expect(await holders(1)).toEqual([]));
    await mounted(2, name);
    await released(2, name);
  });

  it.runIf(isRoot)('mounts read-only, through restarts, and lets go of it', async () => {
    const path = await mounted(1, 'readable');
    await writeFile(join(path, 'text'), 'kept');
    await released(1, 'readable');

    const readOnly = await mounted(1, 'readable', 'access=ro');
    expect(readOnly).not.toBe(path);
    const keeps = async (): Promise<void> => {
      expect(await readFile(join(readOnly, 'text'), 'utf8')).toBe('kept');
      await expect(writeFile(join(readOnly, 'text'), 'lost')).rejects.toMatchObject({ code: 'EROFS' });
    };
    await keeps();
    const asked = await (await dvdcli(1, 'path', '--volumedriver=flocker', '--volumename=readable')).ended;
    expect(asked).toMatchObject({ status: 0, stdout: `${readOnly}\n` });
    // As the isolator goes on: a bind mount in a mount namespace of the task.
    const script = 'mount --rbind "$1" /mnt && cat /mnt/text && ! touch /mnt/new 2>/dev/null';
    const task = await run('unshare', ['--mount', '--propagation', 'slave', 'sh', '-ec', script, 'sh', readOnly]);
    expect(task.stdout).toBe('kept');
    await cluster.kill(1);
    await keeps();
    expect(await mounted(1, 'readable', 'access=ro')).toBe(readOnly);

    await released(1, 'readable');
    await expect(stat(readOnly)).rejects.toMatchObject({ code: 'ENOENT' });
    const there = await mounted(2, 'readable');
    expect(await readFile(join(there, 'text'), 'utf8')).toBe('kept');
    await released(2, 'readable');
  });

  it('ends with 1 and nothing on standard output when a volume cannot be had, and unmounts it all the same', async () => {
    const failed = await mount(1, 'bad', 'newfstype=btrfs');
    expect(failed).toMatchObject({ status: 1, stdout: '', stderr: expect.stringContaining('level=error') as string });
    await released(1, 'bad');
    const usage = await (await dvdcli(1, 'mount', '--volumedriver=flocker')).ended;
    expect(usage).toMatchObject({ status: 1, stdout: '', stderr: expect.stringContaining('--volumename') as string });
  });

  it('removes a volume from the pool, but not while it is mounted', async () => {
    const path = await mounted(1, 'doomed');
    const remove = async (): Promise<Ended> =>
      (await dvdcli(2, 'remove', '--volumedriver=flocker', '--volumename=doomed')).ended;
    expect(await remove()).toMatchObject({ status: 1, stderr: expect.stringContaining('in use') as string });
    await released(1, 'doomed');
    expect(await remove()).toEqual({ status: 0, signal: null, stdout: '', stderr: '' });
    await expect(stat(path)).rejects.toMatchObject({ code: 'ENOENT' });
  });
});

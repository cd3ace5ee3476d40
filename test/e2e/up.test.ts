import { mkdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { ClusterJson } from '../../src/cli/up/start-cluster.ts';
import { type Ended, start } from './support/program.ts';
import { Scratch } from './support/scratch.ts';
import { BACKENDS, UpCluster } from './support/up.ts';

const anyText = expect.any(String) as string;
const anyNumber = expect.any(Number) as number;

/** The other one is up in the story without root, and under everything else here. */
const [backend] = BACKENDS;

describe(`flocker up, ${backend} backend`, () => {
  let cluster: UpCluster;
  beforeAll(async () => {
    cluster = await UpCluster.start('--backend', backend);
  });
  afterAll(() => cluster.remove());

  const expectKept = async (node: number, text: string): Promise<void> => {
    expect(await cluster.sh(node, 'kept:/mnt', 'cat /mnt/text')).toMatchObject({ status: 0, stdout: `${text}\n` });
  };

  it('says in cluster.json what there is, and nothing else', async () => {
    const json = await cluster.json();
    expect(json).toEqual({
      control: { url: anyText, agents_url: anyText },
      tls: { ca: anyText, cert: anyText, key: anyText },
      nodes: [1, 2].map((number) => ({
        uuid: expect.stringMatching(/^[0-9a-f-]{36}$/) as string,
        host: `127.0.0.${10 + number}`,
        mount_root: join(cluster.directory, `node${number}`, 'flocker'),
        socket: join(cluster.directory, `node${number}`, 'agent.sock'),
        csi: join(cluster.directory, `node${number}`, 'csi.sock'),
        docker: join(cluster.directory, `node${number}`, 'docker.sock'),
        isolator: join(cluster.directory, `node${number}`, 'isolator.sock'),
        pid: anyNumber,
      })),
      pids: { control: anyNumber },
    });
    expect(await pidsThatRun(json)).toEqual([json.pids.control, ...json.nodes.map(({ pid }) => pid)]);
    for (const path of Object.values(json.tls)) expect((await stat(path)).mode & 0o077).toBe(0);
    const nodes = (await (await cluster.api()).get('/v1/state/nodes')).json as { uuid: string; host: string }[];
    const known = nodes.map(({ uuid, host }) => `${uuid} ${host}`);
    expect(known.sort()).toEqual(json.nodes.map(({ uuid, host }) => `${uuid} ${host}`).sort());
  });

  it('starts a daemon again that was killed, and says its new pid', async () => {
    expect(await cluster.sh(1, 'kept:/mnt', 'echo one > /mnt/text')).toMatchObject({ status: 0, stderr: '' });
    const before = await cluster.json();
    await Promise.all([cluster.kill('control'), cluster.kill(1), cluster.kill(2)]);
    await cluster.connected();
    const after = await cluster.json();
    const daemons = [after.pids.control, ...after.nodes.map(({ pid }) => pid)];
    expect(await pidsThatRun(after)).toEqual(daemons);
    expect(
      daemons.filter((pid) => [before.pids.control, ...before.nodes.map((node) => node.pid)].includes(pid)),
    ).toEqual([]);
    await expectKept(2, 'one');
  });

  it('is refused for a directory whose cluster runs', async () => {
    const second = await start('flocker', ['up', '--dir', cluster.directory], cluster.scratch.env).ended;
    expectRefused(second, `The cluster in ${cluster.directory} already runs`);
    await expectKept(2, 'one');
  });

  it('stops cleanly and starts again as it was, with more nodes when asked', async () => {
    const before = await cluster.json();
    expect(await cluster.stop('SIGINT')).toMatchObject({ status: 0, stderr: '' });
    await cluster.scratch.expectNoTraces();

    await cluster.up('--nodes', '3');
    const after = await cluster.json();
    expect([after.control, after.tls]).toEqual([before.control, before.tls]);
    expect(after.nodes.map(({ uuid }) => uuid).slice(0, 2)).toEqual(before.nodes.map(({ uuid }) => uuid));
    await expectKept(3, 'one');
    expectRefused(
      await start('flocker', ['up', '--dir', cluster.directory, '--nodes', '2'], cluster.scratch.env).ended,
      'already runs',
    );
  });

  it('may be killed: its daemons end by themselves, and the cluster starts again', async () => {
    const { nodes } = await cluster.json();
    expect(await cluster.sh(3, 'kept:/mnt', 'echo two > /mnt/text')).toMatchObject({ status: 0 });
    expect(await cluster.stop('SIGKILL')).toMatchObject({ signal: 'SIGKILL' });
    await expect.poll(() => cluster.scratch.processes(), { timeout: 15_000 }).toEqual([]);

    await cluster.up();
    expect((await cluster.json()).nodes.map(({ uuid }) => uuid)).toEqual(nodes.map(({ uuid }) => uuid));
    await expectKept(1, 'two');
    expect(await cluster.stop('SIGKILL')).toMatchObject({ signal: 'SIGKILL' });
    // At once: the daemons of the one that was killed may still be there.
    await cluster.up();
    await expectKept(2, 'two');
  });

  it('is refused fewer nodes and another backend than it was made with', async () => {
    expect(await cluster.stop('SIGTERM')).toMatchObject({ status: 0, stderr: '' });
    await cluster.scratch.expectNoTraces();
    const up = (...args: readonly string[]): Promise<Ended> =>
      start('flocker', ['up', '--dir', cluster.directory, ...args], cluster.scratch.env).ended;
    expectRefused(await up('--nodes', '2'), 'has 3 nodes, and a node cannot be taken away: it may hold volumes');
    const other = backend === 'loopback' ? 'directory' : 'loopback';
    expectRefused(await up('--backend', other), `was made with --backend ${backend}`);
  });
});

describe('flocker up, refused', () => {
  let scratch: Scratch;
  beforeEach(async () => {
    scratch = await Scratch.make();
    return () => scratch.remove();
  });

  it.each([
    [['--nodes', '0'], 'a whole number from 1 to 50'],
    [['--nodes', 'many'], 'whole number'],
    [['--backend', 'tape'], 'loopback, directory'],
  ])('%s', async (args, message) => {
    const directory = join(scratch.directory, 'cluster');
    expectRefused(await start('flocker', ['up', '--dir', directory, ...args], scratch.env).ended, message);
    await expect(stat(directory)).rejects.toMatchObject({ code: 'ENOENT' });
  });

  it('a directory whose sockets would have too long names', async () => {
    const directory = join(scratch.directory, 'a'.repeat(80));
    expectRefused(await start('flocker', ['up', '--dir', directory], scratch.env).ended, 'too long', 'shorter --dir');
  });

  it('a directory that holds something else', async () => {
    const directory = join(scratch.directory, 'cluster');
    await mkdir(directory);
    await writeFile(join(directory, 'settings.json'), '{"editor": "vi"}\n');
    const refused = await start('flocker', ['up', '--dir', directory], scratch.env).ended;
    expectRefused(refused, `${directory}/settings.json is not what "flocker up" writes`);
    expect(await readFile(join(directory, 'settings.json'), 'utf8')).toBe('{"editor": "vi"}\n');
  });
});

function expectRefused({ status, stdout, stderr }: Ended, ...messages: readonly string[]): void {
  expect({ status, stdout }).toEqual({ status: 1, stdout: '' });
  for (const message of messages) expect(stderr).toContain(message);
  expect(stderr).not.toContain('    at ');
}

async function pidsThatRun(json: ClusterJson): Promise<(number | null)[]> {
  const pids = [json.pids.control, ...json.nodes.map(({ pid }) => pid)];
  const lines = await Promise.all(pids.map((pid) => readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')));
  return pids.filter((_pid, index) => lines[index]?.includes('flocker.js'));
}

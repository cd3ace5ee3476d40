import { connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { etcdSkipReason } from '../support/etcd.ts';
import { eventually } from './support/eventually.ts';
import { start } from './support/program.ts';
import { UpCluster } from './support/up.ts';

const TIMEOUT_MS = 60_000;
const skip = await etcdSkipReason();
/** Standbys listen on no port. */
const listens = (url: URL): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(Number(url.port), url.hostname);
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
    socket.once('connect', () => socket.destroy());
  });
const WISH = ['--backend', 'directory', '--nodes', '2', '--store', 'etcd', '--controls', '2'];

describe.skipIf(skip !== null)(`flocker up with etcd and two control services${skip ?? ''}`, () => {
  let cluster: UpCluster;
  beforeAll(async () => {
    cluster = await UpCluster.start(...WISH);
  }, TIMEOUT_MS);
  afterAll(() => cluster.remove());

  const runs = async (node: number, script: string): Promise<string> => {
    let stdout = '';
    await eventually(async () => {
      const ended = await cluster.sh(node, 'kept:/mnt', script);
      expect(ended).toMatchObject({ status: 0 });
      stdout = ended.stdout;
    }, TIMEOUT_MS);
    return stdout;
  };
  const listed = async (): Promise<string> => {
    const { status, stdout, stderr } = await cluster.ctl('list');
    if (status !== 0) throw new Error(stderr);
    return stdout;
  };
  /** The one that answers. */
  const leader = async (): Promise<{ readonly url: string; readonly pid: number | null }> => {
    const controls = (await cluster.json()).controls ?? [];
    const answers = await Promise.all(controls.map(({ url }) => listens(new URL(url))));
    expect(answers.filter(Boolean)).toHaveLength(1);
    const found = controls[answers.indexOf(true)];
    if (found === undefined) throw new Error('nobody leads');
    return found;
  };

  it('says where all of it is', async () => {
    const json = await cluster.json();
    expect(json.control.other_urls).toHaveLength(1);
    expect(json.controls?.map(({ url }) => url)).toEqual([json.control.url, ...(json.control.other_urls ?? [])]);
    expect(json.etcd).toHaveLength(3);
    for (const { pid } of [...(json.controls ?? []), ...(json.etcd ?? [])]) expect(pid).toEqual(expect.any(Number));
  });

  it('goes on when the control service that leads is killed, and starts it again', async () => {
    await runs(1, 'echo one > /mnt/text');
    const killed = await leader();
    process.kill(killed.pid ?? 0, 'SIGKILL');
    // It waits for whoever takes over.
    expect(await listed()).toContain('kept');
    // Either the other one, or itself once it runs again.
    await eventually(async () => expect((await leader()).pid).not.toBe(killed.pid), TIMEOUT_MS);
    expect(await runs(2, 'cat /mnt/text')).toBe('one\n');
    await eventually(async () => {
      const again = (await cluster.json()).controls?.find(({ url }) => url === killed.url);
      expect(again?.pid).not.toBe(killed.pid);
      process.kill(again?.pid ?? -1, 0);
    }, TIMEOUT_MS);
  });

  it('starts a member of etcd again that was killed', async () => {
    const pid = (await cluster.json()).etcd?.[0]?.pid ?? 0;
    process.kill(pid, 'SIGKILL');
    await eventually(async () => expect((await cluster.json()).etcd?.[0]?.pid).not.toBe(pid), TIMEOUT_MS);
    expect(await runs(1, 'cat /mnt/text')).toBe('one\n');
  });

  it('stops cleanly and starts again as it was, with as many control services as are asked for', async () => {
    expect(await cluster.stop('SIGINT')).toMatchObject({ status: 0, stderr: '' });
    await cluster.scratch.expectNoTraces();
    await cluster.up('--controls', '1');
    expect((await cluster.json()).controls).toBeUndefined();
    expect(await runs(2, 'cat /mnt/text')).toBe('one\n');
  });

  it('may be killed: everything ends by itself, also what stands by', async () => {
    await cluster.stop();
    await cluster.up('--controls', '3');
    await cluster.stop('SIGKILL');
    await eventually(() => cluster.scratch.expectNoTraces(), TIMEOUT_MS);
    await cluster.up();
    expect(await runs(1, 'cat /mnt/text')).toBe('one\n');
  });

  it.each([
    [['--store', 'level'], 'was made with --store etcd'],
    [['--controls', '6'], 'from 1 to 5'],
  ])('refuses %s', async (wish, why) => {
    await cluster.stop();
    const { status, stderr } = await start('flocker', ['up', '--dir', cluster.directory, ...wish], cluster.scratch.env)
      .ended;
    expect(status).toBe(1);
    expect(stderr).toContain(why);
  });

  it('needs etcd for more than one control service', async () => {
    const directory = `${cluster.directory}-other`;
    const { status, stderr } = await start(
      'flocker',
      ['up', '--dir', directory, '--controls', '2'],
      cluster.scratch.env,
    ).ended;
    expect({ status, stderr }).toEqual({ status: 1, stderr: expect.stringContaining('needs --store etcd') as string });
  });
});

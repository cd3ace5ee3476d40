import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Ended, start } from './support/program.ts';
import { Scratch } from './support/scratch.ts';
import { BACKENDS, UpCluster } from './support/up.ts';

const run = promisify(execFile);
const [backend] = BACKENDS;
const NODE_NOBODY_HAS = randomUUID();

describe('what cannot be done is told in words', () => {
  let cluster: UpCluster;
  beforeAll(async () => {
    cluster = await UpCluster.start('--backend', backend);
  });
  afterAll(() => cluster.remove());

  const names = async (): Promise<string[]> => {
    const { json } = await (await cluster.api()).get('/v1/configuration/datasets');
    return (json as { deleted: boolean; metadata: { name: string } }[])
      .filter(({ deleted }) => !deleted)
      .map(({ metadata }) => metadata.name);
  };

  it.each([
    ['a profile that the node lacks', 'a:/mnt,profile=platinum', ['volume a', 'platinum', 'gold']],
    ['a name that is no volume', 'b:/mnt,create=never', ['there is no volume b']],
    ['an argument without a path', 'c', ['"c" is not like NAME:/path']],
    ['an option that does not exist', 'd:/mnt,raid=5', ['"raid=5"', 'size=1GiB']],
    ['a size that is none', 'e:/mnt,size=much', ['"size=much"', '10GiB']],
    ['a size below the smallest', 'e:/mnt,size=1MiB', ['volume e', 'the smallest is 64 MiB']],
    ['a place that must not be covered', 'f:/etc', ['/etc']],
  ])('%s', async (_, volume, messages) => {
    expectRefused(await cluster.sh(1, volume, 'echo it ran'), messages);
    expect(await names()).toEqual([]);
  });

  it.runIf(backend === 'loopback')('a size that is too small, and one that is large enough after it', async () => {
    const small = await cluster.sh(1, 'small:/mnt,size=64MiB,fs=xfs', 'echo it ran');
    expectRefused(small, ['volume small', 'too small for an xfs filesystem', 'at least']);
    const larger = await cluster.sh(1, 'small:/mnt,size=512MiB,fs=xfs', 'echo it ran');
    expect(larger).toMatchObject({ status: 0, stdout: 'it ran\n' });
  });

  it('a node that does not exist, an agent and a cluster that do not run', async () => {
    expectRefused(await cluster.run(9, '-v', 'g:/mnt', '--', 'true').ended, ['9 is no node', '127.0.0.11']);
    const socket = join(cluster.directory, 'none.sock');
    const { env } = cluster.scratch;
    const lonely = start('flocker', ['run', '--socket', socket, '-v', 'g:/mnt', '--', 'true'], env);
    expectRefused(await lonely.ended, [socket]);
    const lost = start('flocker', ['run', '--cluster', `${socket}.json`, '-v', 'g:/mnt', '--', 'true'], env);
    expectRefused(await lost.ended, [`${socket}.json`, 'no such file']);
  });

  it('a control service that does not answer, within the time that was given', async () => {
    const pid = await cluster.pid('control');
    process.kill(pid, 'SIGSTOP');
    try {
      const beganMs = performance.now();
      const late = await cluster.run(1, '--timeout', '2', '-v', 'h:/mnt', '--', 'echo', 'it ran').ended;
      expectRefused(late, ['volume h was not ready in time', 'control service']);
      expect(performance.now() - beganMs).toBeLessThan(8_000);
    } finally {
      process.kill(pid, 'SIGCONT');
    }
    expect(await cluster.sh(1, 'h:/mnt', 'echo it ran')).toMatchObject({ status: 0, stdout: 'it ran\n' });
  });

  it('no dataset waits without a reason', async () => {
    const api = await cluster.api();
    const dataset = { primary: NODE_NOBODY_HAS, metadata: { name: 'homeless' } };
    const { dataset_id: id } = (await api.post('/v1/configuration/datasets', dataset)).json as { dataset_id: string };
    const { json } = await api.get(`/v1/inspect/datasets?dataset_id=${id}`);
    expect(json).toMatchObject([{ status: 'pending', problem: { code: 'node_unknown', node_uuid: NODE_NOBODY_HAS } }]);
    const [{ problem }] = json as unknown as [{ problem: { message: string } }];
    for (const word of [NODE_NOBODY_HAS, 'homeless', 'Check the agent']) expect(problem.message).toContain(word);
    const list = await cluster.ctl('list');
    expect(list).toMatchObject({ status: 0, stdout: expect.stringContaining(problem.message) as string });
    // It was never made, so nobody is needed to destroy it, and any node can have it.
    expect(await cluster.sh(1, 'homeless:/mnt', 'echo it ran')).toMatchObject({ status: 0, stdout: 'it ran\n' });
  });
});

describe.runIf(backend === 'loopback')('a pool without space', () => {
  it('is told in words, and used again when there is some', async () => {
    const cluster = new UpCluster(await Scratch.make());
    const pool = join(cluster.directory, 'volumes');
    await mkdir(pool, { recursive: true, mode: 0o700 });
    await run('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'none', pool]);
    try {
      await cluster.up('--nodes', '1');
      const beganMs = performance.now();
      expectRefused(await cluster.sh(1, 'large:/mnt,size=1GiB', 'echo it ran'), ['volume large', 'space']);
      expect(performance.now() - beganMs).toBeLessThan(20_000);
      await run('mount', ['-o', 'remount,size=256m', pool]);
      expect(await cluster.sh(1, 'large:/mnt,size=1GiB', 'echo it ran')).toMatchObject({ status: 0, stderr: '' });
      expect(await cluster.ctl('destroy', '--wait', '--dataset', 'large')).toMatchObject({ status: 0 });
    } finally {
      await cluster.stop();
      await run('umount', [pool]);
      await cluster.remove();
    }
  });
});

function expectRefused({ status, stdout, stderr }: Ended, messages: readonly string[]): void {
  expect({ status, stdout }, stderr).toEqual({ status: 125, stdout: '' });
  for (const message of messages) expect(stderr).toContain(message);
  expect(stderr).toMatch(/^flocker: .*\n$/);
}

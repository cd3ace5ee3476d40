import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { cephSkipReason } from '../support/ceph-cluster.ts';
import { etcdSkipReason } from '../support/etcd.ts';
import { eventually } from './support/eventually.ts';
import { UpCluster } from './support/up.ts';

const TIMEOUT_MS = 180_000;
const skip = (await cephSkipReason()) ?? (await etcdSkipReason());
const WISH = ['--backend', 'ceph', '--store', 'etcd', '--controls', '3', '--nodes', '3'];

describe.skipIf(skip !== null)(`flocker up with Ceph, etcd and three control services${skip ?? ''}`, () => {
  let cluster: UpCluster;
  let told = '';
  beforeAll(async () => {
    cluster = await UpCluster.start(...WISH);
    told = cluster.said;
  }, TIMEOUT_MS);
  afterAll(() => cluster.remove(), TIMEOUT_MS);

  const visits = async (node: number): Promise<string[]> => {
    const { status, stdout, stderr } = await cluster.sh(node, 'webapp:/mnt', 'cat /mnt/visits');
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    return stdout.trim().split('\n');
  };
  const STORY = ['node1', 'node2', 'node2', 'node1', 'node2', 'node1'].map((node, at) => `visit ${at + 1} on ${node}`);
  const cephPid = async (name: string): Promise<number> =>
    (await cluster.json()).ceph?.find((daemon) => daemon.name === name)?.pid ?? 0;

  it('shows first that a task keeps its data when its node is lost', () => {
    for (const line of ['Kill node 1 without warning', 'it can write no more, and ended', 'The task kept its data.']) {
      expect(told).toContain(line);
    }
    expect(told).toContain(STORY.map((visit) => `"${visit}"`).join(', '));
  });

  it('has volumes that are RBD images, by profile', { timeout: TIMEOUT_MS }, async () => {
    const volume = 'db:/mnt,size=64MiB,profile=image';
    const made = await cluster.sh(1, volume, 'stat -f -c %T /mnt; echo kept > /mnt/text; sync');
    expect(made).toMatchObject({ status: 0, stdout: 'ext2/ext3\n', stderr: '' });
    expect(await cluster.sh(2, 'db:/mnt', 'cat /mnt/text')).toMatchObject({ status: 0, stdout: 'kept\n', stderr: '' });
  });

  it('goes on when a storage daemon is killed, which is started again', { timeout: TIMEOUT_MS }, async () => {
    const pid = await cephPid('osd.1');
    process.kill(pid, 'SIGKILL');
    expect(await visits(3)).toEqual(STORY);
    await eventually(async () => expect(await cephPid('osd.1')).not.toBe(pid), 20_000);
  });

  it('stops without a trace, and starts again as it was, without the story', { timeout: TIMEOUT_MS }, async () => {
    expect(await cluster.stop('SIGINT')).toMatchObject({ status: 0, stderr: '' });
    await cluster.scratch.expectNoTraces();
    await cluster.up();
    expect(cluster.said).not.toContain('Kill node 1');
    expect(await visits(2)).toEqual(STORY);
  });

  it('may be killed, and starts again with every byte', { timeout: TIMEOUT_MS }, async () => {
    await cluster.stop('SIGKILL');
    await cluster.up();
    expect(await visits(1)).toEqual(STORY);
  });
});

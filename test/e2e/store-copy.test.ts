import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { etcdSkipReason, TestEtcd } from '../support/etcd.ts';
import { type Ended, type Program, start } from './support/program.ts';
import { UpCluster } from './support/up.ts';

const skip = await etcdSkipReason();

describe.skipIf(skip !== null)(`a cluster that moves between stores${skip ?? ''}`, () => {
  let etcd: TestEtcd;
  let cluster: UpCluster;
  let data: string;
  beforeAll(async () => {
    etcd = await TestEtcd.start();
    cluster = await UpCluster.start('--backend', 'directory', '--nodes', '1');
    data = join(cluster.directory, 'control', 'data');
    for (const name of ['one', 'two']) expect(await cluster.sh(1, `${name}:/mnt`, 'true')).toMatchObject({ status: 0 });
    expect(await cluster.stop()).toMatchObject({ status: 0 });
  });
  afterAll(async () => {
    await cluster.remove();
    await etcd.dispose();
  });

  const store = (...args: readonly string[]): Promise<Ended> =>
    start('flocker', ['store', ...args], cluster.scratch.env).ended;
  const control = async (...where: readonly string[]): Promise<Program> => {
    const { control: known } = await cluster.json();
    const [rest, agents] = [known.url, known.agents_url].map((url) => `tcp:${new URL(url).port}:interface=127.0.0.1`);
    const args = ['control', ...where, '--certificates-directory', join(cluster.directory, 'control')];
    const program = start(
      'flocker',
      [...args, '--port', rest ?? '', '--agent-port', agents ?? ''],
      cluster.scratch.env,
    );
    await program.says('control service listens');
    return program;
  };
  const names = async (...where: readonly string[]): Promise<{ names: string[]; restored: boolean }> => {
    const program = await control(...where);
    try {
      const listed = JSON.parse((await cluster.ctl('--json', 'list')).stdout) as { datasets?: unknown[] } | unknown[];
      const text = JSON.stringify(listed);
      const restored = JSON.parse((await cluster.ctl('--json', 'restored')).stdout) as { restored: string | null };
      return {
        names: ['one', 'two'].filter((name) => text.includes(`"${name}"`)),
        restored: restored.restored !== null,
      };
    } finally {
      program.kill('SIGTERM');
      expect(await program.ended).toMatchObject({ status: 0 });
    }
  };

  it('has all it knew in etcd, and what it left doubts where volumes are', async () => {
    const url = `${etcd.url}/moved`;
    expect(await store('copy', data, url)).toMatchObject({
      status: 0,
      stdout: expect.stringContaining('Copied 2 datasets') as string,
    });
    expect(await names('--store', url)).toEqual({ names: ['one', 'two'], restored: false });
    expect(await names('--data-path', data)).toEqual({ names: ['one', 'two'], restored: true });
    expect(await store('copy', data, url)).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('--force') as string,
    });
  });

  it('goes back into a directory', async () => {
    const back = join(cluster.scratch.directory, 'back');
    expect(await store('copy', `${etcd.url}/moved`, back)).toMatchObject({ status: 0 });
    expect(await names('--data-path', back)).toEqual({ names: ['one', 'two'], restored: false });
    expect(await names('--store', `${etcd.url}/moved`)).toEqual({ names: ['one', 'two'], restored: true });
  });

  it('is backed up from etcd while it runs, and restored when it does not', async () => {
    const url = `${etcd.url}/moved`;
    const file = join(cluster.scratch.directory, 'backup');
    const running = await control('--store', url);
    expect(await store('backup', file, '--store', url, '--json')).toMatchObject({
      status: 0,
      stdout: expect.stringContaining('"datasets":2') as string,
    });
    expect(await readFile(file, 'utf8')).toContain('flockerStoreBackup');
    expect(await store('restore', file, '--store', url, '--force')).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('leads') as string,
    });
    expect(await store('copy', url, join(cluster.scratch.directory, 'never'))).toMatchObject({ status: 1 });
    running.kill('SIGTERM');
    await running.ended;
    expect(await store('restore', file, '--store', url)).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('--force') as string,
    });
    expect(await store('restore', file, '--store', `${etcd.url}/new`)).toMatchObject({ status: 0 });
    expect(await store('restore', file, '--store', url, '--force')).toMatchObject({ status: 0 });
    expect(await names('--store', url)).toEqual({ names: ['one', 'two'], restored: true });
    expect(await names('--store', `${etcd.url}/new`)).toEqual({ names: ['one', 'two'], restored: true });
  });
});

import { randomUUID } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { DatasetInspection } from '../../src/api/inspection.ts';
import type { RestoredView } from '../../src/api/restored.ts';
import { eventually } from './support/eventually.ts';
import { type Ended, type Program, start } from './support/program.ts';
import { BACKENDS, UpCluster } from './support/up.ts';

const WRITER = 'i=0; while echo $i > /mnt/count; do i=$((i + 1)); sleep 0.05; done; echo broken';
const [backend] = BACKENDS;

describe(`a control service that is restored from an old backup, ${backend} backend`, () => {
  let cluster: UpCluster;
  let file: string;
  let task: Program;
  /** Of a volume that the backup does not know. */
  let laterTask: Program;
  const ids: Record<string, string> = {};

  beforeAll(async () => {
    cluster = await UpCluster.start('--backend', backend);
    file = join(cluster.scratch.directory, 'backup');
  });
  afterAll(async () => {
    for (const one of [task, laterTask]) {
      one?.kill('SIGTERM');
      await one?.ended;
    }
    await cluster.remove();
  });

  const store = (...args: readonly string[]): Promise<Ended> =>
    start('flocker', ['store', ...args, '--data-path', join(cluster.directory, 'control', 'data')], cluster.scratch.env)
      .ended;
  const inspect = async (name: string): Promise<DatasetInspection> => {
    const { json } = await (await cluster.api()).get(`/v1/inspect/datasets?dataset_id=${ids[name]}`);
    const [found] = json as DatasetInspection[];
    if (found === undefined) throw new Error(`${name} is not known`);
    return found;
  };
  const write = async (node: number, name: string): Promise<void> => {
    expect(await cluster.sh(node, `${name}:/mnt`, `echo ${name} > /mnt/text`)).toMatchObject({ status: 0, stderr: '' });
    const { json } = await (await cluster.api()).get(`/v1/inspect/datasets?name=${name}`);
    ids[name] = (json as DatasetInspection[])[0]?.configuration.dataset_id ?? '';
  };
  const restored = async (): Promise<RestoredView> =>
    (await (await cluster.api()).get('/v1/restored')).json as RestoredView;
  const countOf = async (node: number, name: string): Promise<number> =>
    Number(await readFile(join((await cluster.node(node)).mount_root, ids[name] ?? '', 'count'), 'utf8'));
  const uuid = async (node: number): Promise<string> => (await cluster.node(node)).uuid;

  it('is backed up while it runs', async () => {
    await write(1, 'moved');
    await write(1, 'stayed');
    await write(1, 'deleted');
    const { status, stdout, stderr } = await store('backup', file);
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    expect(stdout).toMatch(/^Backed up 3 datasets, revision \d+, to .*backup\.\n$/);
    expect(await store('backup', file)).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('exists') as string,
    });
  });

  it('refuses to be restored while it runs, and over a store that has something', async () => {
    const running = await store('restore', file, '--force');
    expect(running).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('in use by another process') as string,
    });
    await cluster.withoutControl(async () => {
      const full = await store('restore', file);
      expect(full).toMatchObject({ status: 1, stderr: expect.stringContaining('With --force') as string });
      await writeFile(join(cluster.scratch.directory, 'cut'), 'no backup');
      const cut = await store('restore', join(cluster.scratch.directory, 'cut'), '--force');
      expect(cut).toMatchObject({
        status: 1,
        stderr: expect.stringContaining('no backup that can be restored') as string,
      });
    });
    expect(await restored()).toEqual({ restored: null, unconfirmed: [], unknown: [] });
  });

  it('leaves a task alone whose volume moved since, and knows where it is', async () => {
    task = cluster.run(2, '-v', 'moved:/mnt', '--', 'sh', '-c', WRITER);
    const count = (): Promise<number> => countOf(2, 'moved');
    await eventually(async () => expect(await count()).toBeGreaterThan(0), 30_000);
    await write(1, 'later');
    laterTask = cluster.run(1, '-v', 'later:/mnt', '--', 'sh', '-c', WRITER);
    await eventually(async () => expect(await countOf(1, 'later')).toBeGreaterThan(0), 30_000);
    await write(1, 'resting');
    const path = `/v1/configuration/datasets/${ids['resting']}`;
    expect(await (await cluster.api()).post(path, { primary: randomUUID() })).toMatchObject({ status: 200 });
    await eventually(async () => expect(await inspect('resting')).toMatchObject({ status: 'detached' }), 20_000);
    const gone = await cluster.ctl('destroy', '--dataset', 'deleted', '--wait');
    expect(gone).toMatchObject({ status: 0 });

    await cluster.withoutControl(async () => {
      const { status, stdout, stderr } = await store('restore', file, '--force');
      expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
      expect(stdout).toMatch(/^Restored 3 datasets as of .* What was there is in .*replaced-/);
    });
    await eventually(async () =>
      expect(await inspect('moved')).toMatchObject({
        ...{ status: 'mounted', holder: await uuid(2), problem: null },
        configuration: { primary: await uuid(2) },
      }),
    );
    expect(await inspect('stayed')).toMatchObject({ status: 'mounted', holder: await uuid(1), problem: null });
    const before = await count();
    await eventually(async () => expect(await count()).toBeGreaterThan(before), 10_000);
    const laterBefore = await countOf(1, 'later');
    await eventually(async () => expect(await countOf(1, 'later')).toBeGreaterThan(laterBefore), 10_000);
    for (const one of [task, laterTask]) expect(one.running, one.stdout).toBe(true);
  });

  it('tells what it doubts and what it does not know', async () => {
    expect(await restored()).toEqual({
      restored: expect.any(String) as string,
      unconfirmed: [ids['deleted']],
      unknown: [{ dataset_id: ids['later'], node_uuid: await uuid(1) }],
    });
    expect(await inspect('deleted')).toMatchObject({ status: 'pending', problem: { code: 'unconfirmed' } });
    const refused = await cluster.sh(1, 'new:/mnt', 'true');
    expect(refused).toMatchObject({ status: 125, stderr: expect.stringContaining('restored from a backup') as string });
    const { stdout } = await cluster.ctl('restored');
    expect(stdout).toContain(`  ${ids['deleted']}\n`);
    expect(stdout).toContain(`--dataset-id ${ids['later']} -m name=NAME`);
  });

  it('takes in a volume that was made since, with its data', async () => {
    const [node, later = ''] = [await uuid(1), ids['later']];
    const made = await cluster.ctl('create', '--node', node, '--dataset-id', later, '-m', 'name=later', '--wait');
    expect(made).toMatchObject({ status: 0, stderr: '' });
    expect(await cluster.sh(1, 'later:/mnt', 'cat /mnt/text')).toMatchObject({ status: 0, stdout: 'later\n' });
    expect(laterTask.running, laterTask.stdout).toBe(true);
  });

  it('makes no volume anew once all is confirmed, also after a restart', async () => {
    const asked = await cluster.ctl('restored', 'confirm');
    expect(asked).toMatchObject({ status: 1, stderr: expect.stringContaining('--yes') as string });
    await cluster.kill('control');
    await cluster.connected();
    expect((await restored()).unconfirmed).toEqual([ids['deleted']]);
    expect(await cluster.ctl('restored', 'confirm', '--yes')).toMatchObject({ status: 0, stderr: '' });
    expect(await restored()).toEqual({ restored: null, unconfirmed: [], unknown: [] });
    await eventually(async () => expect((await inspect('deleted')).problem).toMatchObject({ code: 'volume_lost' }));
    expect(await cluster.sh(1, 'stayed:/mnt', 'cat /mnt/text')).toMatchObject({ status: 0, stdout: 'stayed\n' });
    expect(task.running, task.stdout).toBe(true);
    expect(await cluster.ctl('destroy', '--dataset', 'deleted', '--wait')).toMatchObject({ status: 0 });
    expect(await cluster.sh(1, 'new:/mnt', 'true')).toMatchObject({ status: 0, stderr: '' });
    const [node, resting = ''] = [await uuid(2), ids['resting']];
    const made = await cluster.ctl('create', '--node', node, '--dataset-id', resting, '-m', 'name=resting', '--wait');
    expect(made).toMatchObject({ status: 0, stderr: '' });
    expect(await cluster.sh(2, 'resting:/mnt', 'cat /mnt/text')).toMatchObject({ status: 0, stdout: 'resting\n' });
  });
});

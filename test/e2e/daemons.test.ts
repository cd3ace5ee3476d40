import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually } from './support/eventually.ts';
import { hostsThatMounted } from './support/mount-watch.ts';
import { type Ended, type Program, start } from './support/program.ts';
import { BACKENDS, UpCluster } from './support/up.ts';

const [backend] = BACKENDS;

/** The daemons of a cluster that `flocker up` made, started one by one as on machines of their own. */
describe('daemons by themselves', () => {
  let cluster: UpCluster;
  beforeAll(async () => {
    cluster = await UpCluster.start('--backend', backend);
  });
  afterAll(() => cluster.remove());

  const startAgent = (number: number): Program =>
    start(
      'flocker',
      ['agent', '--agent-config', join(cluster.directory, `node${number}`, 'agent.yml')],
      cluster.scratch.env,
    );
  const startControl = async (): Promise<Program> => {
    const { control } = await cluster.json();
    const [rest, agents] = [control.url, control.agents_url].map(
      (url) => `tcp:${new URL(url).port}:interface=127.0.0.1`,
    );
    const directory = join(cluster.directory, 'control');
    const where = ['--data-path', join(directory, 'data'), '--certificates-directory', directory];
    return start(
      'flocker',
      ['control', ...where, '--port', rest ?? '', '--agent-port', agents ?? ''],
      cluster.scratch.env,
    );
  };
  const end = async (...daemons: readonly Program[]): Promise<void> => {
    for (const daemon of daemons) daemon.kill('SIGTERM');
    for (const daemon of daemons) expect(await daemon.ended).toMatchObject({ status: 0, stderr: '' });
  };
  const cat = (number: number, timeout: number): Promise<Ended> =>
    cluster.run(number, '--timeout', String(timeout), '-v', 'kept:/mnt', '--', 'cat', '/mnt/text').ended;

  it('an agent works without a control service, says so, and connects when there is one', async () => {
    expect(await cluster.sh(1, 'kept:/mnt,size=64MiB', 'echo one > /mnt/text')).toMatchObject({ status: 0 });
    expect(await cluster.stop()).toMatchObject({ status: 0, stderr: '' });

    const agent = startAgent(1);
    await agent.says('node agent works');
    const beganMs = performance.now();
    const refused = await cat(1, 2);
    expect(refused).toMatchObject({ status: 125, stdout: '' });
    expect(refused.stderr).toMatch(/^flocker: volume kept was not ready in time: .*connection refused.*\n$/);
    expect(performance.now() - beganMs).toBeLessThan(8_000);

    const control = await startControl();
    expect(await cat(1, 60)).toMatchObject({ status: 0, stdout: 'one\n' });
    await end(agent, control);
    await cluster.up();
  });

  it('after a power cut volumes are mounted again where they were, with their data', async () => {
    const script = 'echo two > /mnt/text; sync; echo ready; exec sleep 1000';
    const task = cluster.run(2, '-v', 'kept:/mnt', '--', 'sh', '-c', script);
    await task.says('ready');
    const { json } = await (await cluster.api()).get('/v1/inspect/datasets?name=kept');
    const [{ configuration }] = json as unknown as [{ configuration: { dataset_id: string } }];
    const { nodes } = await cluster.json();
    const now = (): string[] => hostsThatMounted(nodes, configuration.dataset_id);
    expect(now()).toEqual([nodes[1]?.host]);

    await cluster.scratch.powerCut();
    await cluster.up();
    await eventually(() => expect(now()).toEqual([nodes[1]?.host]), 20_000);
    expect(await cat(2, 20)).toMatchObject({ status: 0, stdout: 'two\n' });
    // The task is gone, so nothing keeps the volume from another node.
    expect(await cat(1, 20)).toMatchObject({ status: 0, stdout: 'two\n' });
    expect(now()).toEqual([nodes[0]?.host]);
  });
});

import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { eventually } from './support/eventually.ts';
import { type Ended, type Program, start } from './support/program.ts';
import { BACKENDS, type ClusterNode, UpCluster } from './support/up.ts';

const [backend] = BACKENDS;

/** Two nodes that share their storage; one goes away without a word. */
describe(`a node that dies, ${backend} backend`, () => {
  let cluster: UpCluster;
  let control: Program;
  beforeEach(async () => {
    cluster = await UpCluster.start('--backend', backend);
  });
  afterEach(() => cluster.remove());

  const startAgent = async (number: number): Promise<Program> => {
    const config = join(cluster.directory, `node${number}`, 'agent.yml');
    const agent = start('flocker', ['agent', '--agent-config', config], cluster.scratch.env);
    await agent.says('node agent works');
    return agent;
  };
  const startControl = async (): Promise<Program> => {
    const { control: at } = await cluster.json();
    const [rest, agents] = [at.url, at.agents_url].map((url) => `tcp:${new URL(url).port}:interface=127.0.0.1`);
    const directory = join(cluster.directory, 'control');
    const where = ['--data-path', join(directory, 'data'), '--certificates-directory', directory];
    const ports = ['--port', rest ?? '', '--agent-port', agents ?? ''];
    return start('flocker', ['control', ...where, ...ports], cluster.scratch.env);
  };
  const end = async (...daemons: readonly Program[]): Promise<void> => {
    for (const daemon of daemons) daemon.kill('SIGTERM');
    for (const daemon of daemons) expect(await daemon.ended).toMatchObject({ status: 0, stderr: '' });
  };
  const cat = (number: number, timeout: number): Promise<Ended> =>
    cluster.run(number, '--timeout', String(timeout), '-v', 'kept:/mnt', '--', 'cat', '/mnt/text').ended;
  const node = (number: number): Promise<ClusterNode> => cluster.node(number);
  const declareDead = async (number: number, ...more: readonly string[]): Promise<Ended> =>
    cluster.ctl('node', 'declare-dead', (await node(number)).uuid, ...more);

  it('is declared dead, its volume goes on elsewhere with its data, and it comes back by itself', async () => {
    const write = 'echo one > /mnt/text; sync; echo ready; exec sleep 1000';
    const task = cluster.run(1, '-v', 'kept:/mnt', '--', 'sh', '-c', write);
    await task.says('ready');
    expect((await declareDead(1, '--yes')).stderr).toContain('it is not dead');

    await cluster.scratch.powerCut();
    control = await startControl();
    const second = await startAgent(2);
    expect(await cat(2, 3)).toMatchObject({ status: 125, stdout: '' });
    const unsure = await declareDead(1);
    expect(unsure).toMatchObject({ status: 1, stdout: '' });
    expect(unsure.stderr).toContain('--yes');
    const beganMs = performance.now();
    expect(await declareDead(1, '--yes')).toMatchObject({ status: 0, stderr: '' });
    expect(await cat(2, 30)).toMatchObject({ status: 0, stdout: 'one\n' });
    process.stdout.write(
      `from the declaration to the end of a task with its data: ${Math.round(performance.now() - beganMs)} ms\n`,
    );
    expect(await cluster.sh(2, 'kept:/mnt', 'echo two > /mnt/text')).toMatchObject({ status: 0 });

    const first = await startAgent(1);
    await eventually(async () => expect((await cluster.ctl('nodes')).stdout).not.toContain('declared dead'), 20_000);
    expect(await cat(1, 30)).toMatchObject({ status: 0, stdout: 'two\n' });
    await end(first, second, control);
    await cluster.up();
  });

  it('and was declared dead too early keeps what it uses: nobody else gets it before it is at rest', async () => {
    expect(await cluster.stop()).toMatchObject({ status: 0, stderr: '' });
    control = await startControl();
    const [first, second] = [await startAgent(1), await startAgent(2)];
    const write =
      'exec 3>>/mnt/text; echo one >&3; sync; echo ready; trap "echo two >&3; exit 0" TERM; while :; do sleep 0.1; done';
    const task = cluster.run(1, '-v', 'kept:/mnt,size=64MiB', '--', 'sh', '-c', write);
    await task.says('ready');
    first.kill('SIGKILL');
    await first.ended;
    await eventually(
      async () => expect(await declareDead(1, '--yes')).toMatchObject({ status: 0, stderr: '' }),
      20_000,
    );
    const early = await cat(2, 5);
    expect(early).toMatchObject({ status: 125, stdout: '' });
    expect(early.stderr).toContain('in use');

    const back = await startAgent(1);
    await back.says('cannot give up its volumes');
    expect(await cat(2, 3)).toMatchObject({ status: 125, stdout: '' });
    task.kill('SIGTERM');
    expect(await task.ended).toMatchObject({ status: 0 });
    expect(await cat(2, 40)).toMatchObject({ status: 0, stdout: 'one\ntwo\n' });
    await end(back, second, control);
    await cluster.up();
  });
});

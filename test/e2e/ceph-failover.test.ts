import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse, stringify } from 'yaml';
import { openBackend } from '../../src/agent/backends/open-backend.ts';
import { teardownNode } from '../../src/agent/backends/teardown.ts';
import { CephCluster, cephSkipReason } from '../support/ceph-cluster.ts';
import { eventually } from './support/eventually.ts';
import { type Program, start } from './support/program.ts';
import { expectSequence, WRITER } from './support/records.ts';
import { agentAnswers, UpCluster } from './support/up.ts';

const TIMEOUT_MS = 90_000;
const SILENT_SECONDS = 10;
const skip = await cephSkipReason();

describe.skipIf(skip !== null)(`a node that is silent, with volumes on Ceph${skip ?? ''}`, () => {
  let ceph: CephCluster;
  let cluster: UpCluster;
  let control: Program;
  let agents: Program[];
  const sections: Record<string, unknown>[] = [];

  beforeAll(async () => {
    ceph = await CephCluster.start();
    cluster = await UpCluster.start('--backend', 'directory', '--nodes', '2');
    const { control: known } = await cluster.json();
    expect(await cluster.stop()).toMatchObject({ status: 0, stderr: '' });
    const { section } = ceph.place(cluster.scratch.directory);
    for (const number of [1, 2]) {
      const path = ymlOf(number);
      const yml = parse(await readFile(path, 'utf8')) as { dataset: { mount_root: string } };
      const dataset = { ...section, mount_root: yml.dataset.mount_root };
      sections.push(dataset);
      await writeFile(path, stringify({ ...yml, dataset }));
    }
    const [rest, forAgents] = [known.url, known.agents_url].map(
      (url) => `tcp:${new URL(url).port}:interface=127.0.0.1`,
    );
    const directory = join(cluster.directory, 'control');
    const where = ['--data-path', join(directory, 'data'), '--certificates-directory', directory];
    control = start(
      'flocker',
      [
        'control',
        ...where,
        '--port',
        rest ?? '',
        '--agent-port',
        forAgents ?? '',
        '--fence-after',
        String(SILENT_SECONDS),
      ],
      cluster.scratch.env,
    );
    await control.says('control service listens');
    agents = await Promise.all([1, 2].map(startAgent));
    await cluster.connected();
  }, 120_000);
  afterAll(async () => {
    for (const program of [...agents, control]) program.kill('SIGTERM');
    for (const program of [...agents, control]) await program.ended;
    const signal = AbortSignal.timeout(TIMEOUT_MS);
    for (const [index, { mount_root: mountRoot, ...section }] of sections.entries()) {
      const { uuid } = await cluster.node(index + 1);
      const backend = await openBackend(section, { mountRoot: String(mountRoot), instance: uuid });
      expect(await teardownNode({ backend, mountRoot: String(mountRoot), signal })).toEqual([]);
    }
    await cluster.remove();
    await ceph.stop();
  }, 120_000);

  const ymlOf = (number: number): string => join(cluster.directory, `node${number}`, 'agent.yml');
  const startAgent = async (number: number): Promise<Program> => {
    const agent = start('flocker', ['agent', '--agent-config', ymlOf(number)], cluster.scratch.env);
    await agentAnswers((await cluster.node(number)).socket);
    return agent;
  };

  it(
    'is cut off by itself, and its volume goes on elsewhere with every record that was on disk',
    async () => {
      const writer = cluster.run(1, '-v', 'web:/mnt,size=64MiB', '--', ...WRITER);
      await writer.says(/\n20\n/);
      agents[0]?.kill('SIGKILL');
      await agents[0]?.ended;
      const beganMs = performance.now();
      const read = await cluster.run(2, '--timeout', '80', '-v', 'web:/mnt', '--', 'cat', '/mnt/records').ended;
      const tookMs = performance.now() - beganMs;
      expect(read).toMatchObject({ status: 0, stderr: '' });
      // Its process went on writing until it was cut off; not one record came after that.
      await eventually(() => expect(writer.running).toBe(false), TIMEOUT_MS);
      const told = Number(
        writer.stdout
          .trim()
          .split('\n')
          .filter((line) => /^\d+$/.test(line))
          .at(-1),
      );
      expectSequence(read.stdout, told);
      const again = await cluster.sh(2, 'web:/mnt', 'cat /mnt/records');
      expect(again.stdout).toBe(read.stdout);
      expect(control.stdout).toContain('declared dead and cut off');
      expect(tookMs).toBeGreaterThan(SILENT_SECONDS * 1000 - 1_000);
      process.stdout.write(
        `from the kill of the agent to the end of a task with its data elsewhere: ${Math.round(tookMs)} ms, of which ${SILENT_SECONDS} s waiting\n`,
      );

      // It comes back, lets go of what is cut off, and can have volumes again.
      agents[0] = await startAgent(1);
      await cluster.connected();
      const back = await cluster.run(1, '--timeout', '60', '-v', 'web:/mnt', '--', 'cat', '/mnt/records').ended;
      expect(back).toMatchObject({ status: 0, stdout: read.stdout });
    },
    3 * TIMEOUT_MS,
  );
});

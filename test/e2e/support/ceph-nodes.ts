import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'vitest';
import { parse, stringify } from 'yaml';
import { openBackend } from '../../../src/agent/backends/open-backend.ts';
import { teardownNode } from '../../../src/agent/backends/teardown.ts';
import { CephCluster } from '../../support/ceph-cluster.ts';
import { type Program, start } from './program.ts';
import { agentAnswers, UpCluster } from './up.ts';

const NODES = [1, 2] as const;
const TEARDOWN_MS = 90_000;

/** A control service with options of the test's own, and two node agents with volumes on one Ceph, none of which is started again by anybody. */
export class CephNodes {
  readonly cluster: UpCluster;
  readonly control: Program;
  readonly #ceph: CephCluster;
  readonly #agents = new Map<number, Program>();
  readonly #sections: readonly Record<string, unknown>[];

  private constructor(
    ceph: CephCluster,
    cluster: UpCluster,
    control: Program,
    sections: readonly Record<string, unknown>[],
  ) {
    this.#ceph = ceph;
    this.cluster = cluster;
    this.control = control;
    this.#sections = sections;
  }

  /** `options` of `flocker control`. */
  static async start(...options: readonly string[]): Promise<CephNodes> {
    const ceph = await CephCluster.start();
    const cluster = await UpCluster.start('--backend', 'directory', '--nodes', String(NODES.length));
    const { control: known } = await cluster.json();
    expect(await cluster.stop()).toMatchObject({ status: 0, stderr: '' });
    const { section } = ceph.place(cluster.scratch.directory);
    const sections: Record<string, unknown>[] = [];
    for (const number of NODES) {
      const path = ymlOf(cluster, number);
      const yml = parse(await readFile(path, 'utf8')) as { dataset: { mount_root: string } };
      const dataset = { ...section, mount_root: yml.dataset.mount_root };
      sections.push(dataset);
      await writeFile(path, stringify({ ...yml, dataset }));
    }
    const [rest = '', forAgents = ''] = [known.url, known.agents_url].map(
      (url) => `tcp:${new URL(url).port}:interface=127.0.0.1`,
    );
    const directory = join(cluster.directory, 'control');
    const where = ['--data-path', join(directory, 'data'), '--certificates-directory', directory];
    const listen = ['--port', rest, '--agent-port', forAgents];
    const control = start('flocker', ['control', ...where, ...listen, ...options], cluster.scratch.env);
    await control.says('control service listens');
    const nodes = new CephNodes(ceph, cluster, control, sections);
    await Promise.all(NODES.map((number) => nodes.startAgent(number)));
    await cluster.connected();
    return nodes;
  }

  async startAgent(number: number): Promise<void> {
    const agent = start('flocker', ['agent', '--agent-config', ymlOf(this.cluster, number)], this.cluster.scratch.env);
    this.#agents.set(number, agent);
    await agentAnswers((await this.cluster.node(number)).socket);
  }

  /** Kills an agent with -9. */
  async killAgent(number: number): Promise<void> {
    this.#agents.get(number)?.kill('SIGKILL');
    await this.#agents.get(number)?.ended;
  }

  /** Stops everything, checks that nothing is left on the nodes, and removes it. */
  async remove(): Promise<void> {
    const programs = [...this.#agents.values(), this.control];
    for (const program of programs) program.kill('SIGTERM');
    for (const program of programs) await program.ended;
    const signal = AbortSignal.timeout(TEARDOWN_MS);
    for (const [index, { mount_root: mountRoot, ...section }] of this.#sections.entries()) {
      const { uuid } = await this.cluster.node(index + 1);
      const backend = await openBackend(section, { mountRoot: String(mountRoot), instance: uuid });
      expect(await teardownNode({ backend, mountRoot: String(mountRoot), signal })).toEqual([]);
    }
    await this.cluster.remove();
    await this.#ceph.stop();
  }
}

function ymlOf(cluster: UpCluster, number: number): string {
  return join(cluster.directory, `node${number}`, 'agent.yml');
}

import { chmod } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { start } from './support/program.ts';
import { agentAnswers, UpCluster } from './support/up.ts';

interface Report {
  readonly faults: number;
  readonly sections: readonly { readonly findings: readonly { readonly status: string; readonly text: string }[] }[];
}

let cluster: UpCluster;
let agentYml: string;
beforeAll(async () => {
  cluster = await UpCluster.start('--nodes', '1', '--backend', 'directory');
  agentYml = join(dirname((await cluster.node(1)).socket), 'agent.yml');
});
afterAll(() => cluster.remove());

async function doctor(path: string): Promise<{ exitCode: number | null; faults: string[] }> {
  const { ended } = start('flocker', ['doctor', '--json', '--agent-config', path], cluster.scratch.env);
  const { status, stdout, stderr } = await ended;
  expect(stderr).toBe('');
  const { sections } = JSON.parse(stdout) as Report;
  const found = sections.flatMap(({ findings }) => findings).filter((finding) => finding.status === 'fault');
  return { exitCode: status, faults: found.map(({ text }) => text) };
}

describe('flocker doctor', () => {
  it('finds no fault where a node agent works', async () => {
    expect(await doctor(agentYml)).toEqual({ exitCode: 0, faults: [] });
  });

  it('says that a key can be read by others', async () => {
    const key = join(dirname(agentYml), 'node.key');
    await chmod(key, 0o644);
    expect(await doctor(agentYml)).toEqual({ exitCode: 1, faults: [`${key} can be read by others than its owner`] });
    await chmod(key, 0o600);
  });

  it('says that there is no configuration', async () => {
    const { exitCode, faults } = await doctor('/nonexistent/agent.yml');
    expect({ exitCode, faults }).toEqual({ exitCode: 1, faults: [expect.stringContaining('/nonexistent/agent.yml')] });
  });

  it('says that the agent does not run, and that the control service misses it', async () => {
    const { socket } = await cluster.node(1);
    await cluster.stop();
    const { exitCode, faults } = await doctor(agentYml);
    expect(exitCode).toBe(1);
    expect(faults).toEqual([expect.stringContaining('https://'), expect.stringContaining(socket)]);
    await cluster.up();
    await agentAnswers((await cluster.node(1)).socket);
  });
});

import { execFile } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { findProgram } from './support/find-program.ts';
import { PROGRAMS, start } from './support/program.ts';
import { UpCluster } from './support/up.ts';

const zsh = await findProgram('zsh', 'ZSH');
const run = promisify(execFile);

/** Completion in real shells, of a real cluster. */
describe('completion', () => {
  let cluster: UpCluster;
  let env: NodeJS.ProcessEnv;
  beforeAll(async () => {
    cluster = await UpCluster.start('--backend', 'directory');
    const bin = join(cluster.scratch.directory, 'bin');
    await mkdir(bin);
    for (const name of ['flocker', 'flockerctl'] as const) {
      const program = `#!/bin/sh\nexec '${process.execPath}' '${PROGRAMS[name]}' "$@"\n`;
      await writeFile(join(bin, name), program, { mode: 0o755 });
    }
    await writeFile(join(cluster.scratch.directory, 'certificate.crt'), '');
    env = { ...cluster.scratch.env, PATH: `${bin}:${process.env['PATH']}`, FLOCKER_CLUSTER: cluster.clusterJson };
    const { nodes } = await cluster.json();
    const args = [
      '--cluster',
      cluster.clusterJson,
      'create',
      '-n',
      nodes[0]?.uuid ?? '',
      '-m',
      'name=webapp',
      '--wait',
    ];
    expect(await start('flockerctl', args).ended).toMatchObject({ status: 0 });
  });
  afterAll(() => cluster.remove());

  const bash = async (...words: readonly string[]): Promise<string[]> => {
    const typed = words.map((word) => `'${word}'`).join(' ');
    const script =
      `source <(${words[0]} completion bash); COMP_WORDS=(${typed}); COMP_CWORD=${words.length - 1}; ` +
      `_${words[0]}; printf '%s\\n' "\${COMPREPLY[@]}"`;
    const { stdout } = await run('bash', ['-c', script], { env, cwd: cluster.scratch.directory });
    return stdout.split('\n').filter((line) => line !== '');
  };

  it('in bash: commands, options, choices, files, and what the cluster has', async () => {
    expect(await bash('flockerctl', 'mo')).toEqual(['move']);
    expect(await bash('flockerctl', 'create', '--sn')).toEqual(['--snapshot']);
    expect(await bash('flocker', 'up', '--backend', 'd')).toEqual(['directory']);
    expect(await bash('flocker', 'ca', 'inspect', 'cert')).toEqual(['certificate.crt']);
    expect(await bash('flockerctl', 'inspect', 'w')).toEqual(['webapp']);
    expect((await bash('flockerctl', 'move', '-d', 'webapp', '-t', '127')).sort()).toEqual(
      (await cluster.json()).nodes.map(({ host }) => host),
    );
    expect(await bash('flockerctl', '--cluster', '/nowhere', 'inspect', '')).toEqual([]);
  });

  it.skipIf(zsh === undefined)('in zsh (which is to be installed)', async () => {
    const script =
      'autoload -Uz compinit && compinit -u -D; source <(flockerctl completion zsh); ' +
      'compadd() { print -l -- "${(@P)2}" }; words=(flockerctl inspect w); CURRENT=3; _flockerctl';
    const { stdout } = await run(zsh ?? '', ['-f', '-c', script], { env, cwd: cluster.scratch.directory });
    expect(stdout).toBe('webapp\n');
  });
});

import { X509Certificate } from 'node:crypto';
import { mkdir, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { scratchDirectory } from '../tls/testing/scratch-directory.ts';
import { realSources } from '../tls/testing/sources.ts';
import { caCommand } from './ca.ts';

interface Ran {
  readonly stdout: string;
  readonly stderr: string;
  readonly exitCode: number;
}

let cwd: string;

beforeEach(async () => {
  cwd = await scratchDirectory();
});

const run = (...args: string[]): Promise<Ran> => runWith(caCommand, ...args);

async function runWith(makeCommand: typeof caCommand, ...args: string[]): Promise<Ran> {
  const ran = { stdout: '', stderr: '', exitCode: 0 };
  const command = makeCommand({
    ...realSources,
    cwd,
    stdout: { write: (text) => (ran.stdout += text) },
    stderr: { write: (text) => (ran.stderr += text) },
    setExitCode: (code) => (ran.exitCode = code),
  });
  for (const one of [command, ...command.commands]) one.exitOverride();
  await command.parseAsync(args, { from: 'user' }).catch((error: { exitCode?: number }) => {
    ran.exitCode = error.exitCode ?? -1;
  });
  return ran;
}

async function commonName(path: string): Promise<unknown> {
  return new X509Certificate(await readFile(join(cwd, path))).toLegacyObject().subject.CN;
}

describe('flocker-ca', () => {
  it('makes a whole cluster in the current directory', async () => {
    const authority = await run('initialize', 'mycluster');
    expect(authority).toMatchObject({ stderr: '', exitCode: 0 });
    expect(authority.stdout).toMatch(/^Created cluster\.key and cluster\.crt\. /);
    const control = await run('create-control-certificate', 'flocker.example.com');
    expect(control.stdout).toMatch(
      /^Created control-flocker\.example\.com\.crt and control-flocker\.example\.com\.key\s/,
    );
    const node = await run('create-node-certificate');
    const nodeId = /^Created ([0-9a-f-]{36})\.crt\. /.exec(node.stdout)?.[1] ?? '';
    expect(await commonName(`${nodeId}.crt`)).toBe(`node-${nodeId}`);
    expect((await run('create-api-certificate', 'alice')).stdout).toMatch(/^Created alice\.crt\. /);
    expect(await commonName('alice.crt')).toBe('user-alice');
    const names = ['alice', 'cluster', 'control-flocker.example.com', nodeId];
    expect((await readdir(cwd)).sort()).toEqual(names.flatMap((name) => [`${name}.crt`, `${name}.key`]).sort());
  });

  it.each([
    ['-i', '-o'],
    ['--inputpath', '--outputpath'],
  ])('takes other directories with %s and %s', async (input, output) => {
    const root = cwd;
    cwd = join(root, 'ca');
    await mkdir(cwd);
    await run('initialize', 'mycluster');
    cwd = root;
    await mkdir(join(root, 'out'));
    const ran = await run('create-api-certificate', 'alice', input, 'ca', output, join(root, 'out'));
    expect(ran).toMatchObject({ stderr: '', exitCode: 0 });
    expect((await readdir(join(root, 'out'))).sort()).toEqual(['alice.crt', 'alice.key']);
  });

  it('prints one JSON object on request', async () => {
    const authority = JSON.parse((await run('initialize', 'mycluster', '--json')).stdout) as Record<string, string>;
    expect(authority).toEqual({
      kind: 'authority',
      name: 'mycluster',
      clusterId: expect.stringMatching(/^[0-9a-f-]{36}$/) as string,
      certificate: join(cwd, 'cluster.crt'),
      key: join(cwd, 'cluster.key'),
    });
    const node = JSON.parse((await run('create-node-certificate', '--json')).stdout) as Record<string, string>;
    const nodeId = node['nodeId'] ?? '';
    expect(node).toEqual({
      kind: 'node',
      nodeId,
      clusterId: authority['clusterId'],
      certificate: join(cwd, `${nodeId}.crt`),
      key: join(cwd, `${nodeId}.key`),
    });
    expect(JSON.parse((await run('create-control-certificate', '192.0.2.7', '--json')).stdout)).toMatchObject({
      kind: 'control',
      hostname: '192.0.2.7',
    });
    expect(JSON.parse((await run('create-api-certificate', 'alice', '--json')).stdout)).toMatchObject({
      kind: 'user',
      username: 'alice',
    });
  });

  it('makes RSA keys on request', { timeout: 60_000 }, async () => {
    expect(await run('initialize', 'mycluster', '--key-type', 'rsa')).toMatchObject({ stderr: '', exitCode: 0 });
    await run('create-api-certificate', 'alice');
    const authority = new X509Certificate(await readFile(join(cwd, 'cluster.crt')));
    const user = new X509Certificate(await readFile(join(cwd, 'alice.crt')));
    expect(authority.publicKey.asymmetricKeyDetails?.modulusLength).toBe(4096);
    expect(user.publicKey.asymmetricKeyType).toBe('ec');
    expect(user.verify(authority.publicKey)).toBe(true);
  });

  it('keeps the cluster and node ids it is given', async () => {
    const clusterId = '5df2c5e1-7a0c-4f0a-9c55-0f1b7f0c2a11';
    const nodeId = '0e6ee4a1-3e0e-4c5d-8d8c-6f1f5c6a7b01';
    const authority = await run('initialize', 'mycluster-2', '--cluster-id', clusterId, '--json');
    expect(JSON.parse(authority.stdout)).toMatchObject({ clusterId });
    const node = await run('create-node-certificate', '--node-id', nodeId);
    expect(node.stdout).toMatch(new RegExp(`^Created ${nodeId}\\.crt\\. `));
    expect(await run('create-node-certificate', '--node-id', '../x')).toEqual({
      stdout: '',
      stderr: 'Error: Invalid node id: "../x" is no UUID of version 4.\n',
      exitCode: 1,
    });
  });

  it('suggests initialize when there is no authority', async () => {
    const ran = await run('create-node-certificate');
    expect(ran).toMatchObject({ stdout: '', exitCode: 1 });
    expect(ran.stderr).toMatch(/^Error: .*flocker-ca initialize.* No such file or directory .*\/cluster\.crt\n$/);
    expect(await readdir(cwd)).toEqual([]);
  });

  it('replaces nothing', async () => {
    await run('initialize', 'mycluster');
    const before = await readFile(join(cwd, 'cluster.crt'), 'utf8');
    expect(await run('initialize', 'mycluster')).toEqual({
      stdout: '',
      stderr: `Error: Unable to write certificate file. File exists ${join(cwd, 'cluster.crt')}\n`,
      exitCode: 1,
    });
    expect(await readFile(join(cwd, 'cluster.crt'), 'utf8')).toBe(before);
  });

  it('refuses wrong usage', async () => {
    expect(await run('initialize')).toEqual({
      stdout: '',
      stderr: "Error: missing required argument 'name'\n",
      exitCode: 1,
    });
    expect(await run('initialize', 'x', '--key-type', 'dsa')).toMatchObject({ stdout: '', exitCode: 1 });
    expect((await run('frobnicate')).stderr).toMatch(/^Error: unknown command 'frobnicate'/);
    expect((await run()).stderr).toContain('create-api-certificate');
    expect((await run()).exitCode).toBe(1);
    expect(await readdir(cwd)).toEqual([]);
  });

  it('loads the certificate library only to make certificates', async () => {
    vi.doMock('@peculiar/x509', () => {
      throw new Error('loaded');
    });
    vi.resetModules();
    onTestFinished(() => {
      vi.doUnmock('@peculiar/x509');
      vi.resetModules();
    });
    await import('../tls/credentials.ts');
    const fresh = (await import('./ca.ts')).caCommand;
    expect((await runWith(fresh, '--help')).stdout).toContain('create-node-certificate');
    expect((await runWith(fresh, 'initialize', 'x')).stderr).toMatch(/loaded|mock/);
  });
});

describe('flocker-ca inspect', () => {
  it('tells what certificates are for, until when, and fails when one ends too soon', async () => {
    await run('initialize', 'mycluster');
    await run('create-control-certificate', 'flocker.example.com');
    await run('create-api-certificate', 'alice');
    const files = ['cluster.crt', 'control-flocker.example.com.crt', 'alice.crt'];
    const shown = await run('inspect', ...files);
    expect(shown).toMatchObject({ stderr: '', exitCode: 0 });
    expect(shown.stdout).toMatch(/^alice\.crt\n {2}role {5}user alice\n/m);
    const json = JSON.parse((await run('inspect', '--json', ...files)).stdout) as unknown;
    expect(json).toMatchObject([
      { file: 'cluster.crt', role: 'authority', isValid: true },
      { role: 'control', hosts: expect.arrayContaining(['flocker.example.com']) as unknown },
      { role: 'user', name: 'alice', daysLeft: 20 * 365 - 1 },
    ]);
    expect((await run('inspect', '--within', '7000', 'alice.crt')).exitCode).toBe(0);
    expect((await run('inspect', '--within', '8000', 'alice.crt')).exitCode).toBe(1);
  });

  it('fails for what is no certificate, and still shows the others', async () => {
    await run('initialize', 'mycluster');
    const ran = await run('inspect', 'cluster.key', 'nothing.crt', 'cluster.crt');
    expect(ran.exitCode).toBe(1);
    expect(ran.stdout).toMatch(/^cluster\.crt\n/);
    expect(ran.stderr.split('\n').filter((line) => line.startsWith('Error: '))).toHaveLength(2);
  });
});

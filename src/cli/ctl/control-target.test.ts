import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { controlTarget, type TargetOptions } from './control-target.ts';

let cwd: string;
beforeEach(async () => {
  cwd = await mkdtemp(join(tmpdir(), 'flockerctl-'));
});
afterEach(() => rm(cwd, { recursive: true, force: true }));

const find = (options: TargetOptions = {}, env: Record<string, string> = {}): ReturnType<typeof controlTarget> =>
  controlTarget(options, { cwd, env });
const credentials = (directory: string, user = 'user', ca = 'cluster.crt'): object => ({
  ca: join(directory, ca),
  cert: join(directory, `${user}.crt`),
  key: join(directory, `${user}.key`),
});
const write = async (path: string, text: string): Promise<void> => {
  await mkdir(join(cwd, path, '..'), { recursive: true });
  await writeFile(join(cwd, path), text);
};
const clusterJson = (port: number): string =>
  JSON.stringify({
    control: { url: `https://127.0.0.1:${port}`, agents_url: 'https://127.0.0.1:1' },
    tls: { ca: '/c/cluster.crt', cert: '/c/user.crt', key: '/c/user.key' },
    nodes: [],
    pids: { control: null },
  });

describe('the original way', () => {
  it('has the defaults of the original', async () => {
    expect(await find({ controlService: 'flocker.example.com' })).toEqual({
      urls: ['https://flocker.example.com:4523'],
      credentials: credentials(cwd),
    });
  });

  it('takes the options', async () => {
    const options = {
      controlService: '2001:db8::1',
      controlPort: 14523,
      certsPath: 'certs',
      user: 'alice',
      clusterCrt: 'ca.crt',
    };
    expect(await find(options)).toEqual({
      urls: ['https://[2001:db8::1]:14523'],
      credentials: credentials(join(cwd, 'certs'), 'alice', 'ca.crt'),
    });
  });

  it('takes the environment, and options before it', async () => {
    const env = { FLOCKER_CERTS_PATH: '/etc/flocker', FLOCKER_USER: 'bob', FLOCKER_CONTROL_SERVICE: '192.0.2.1' };
    expect(await find({}, env)).toEqual({
      urls: ['https://192.0.2.1:4523'],
      credentials: credentials('/etc/flocker', 'bob'),
    });
    expect(await find({ user: 'alice', controlService: '192.0.2.2', certsPath: '/x' }, env)).toEqual({
      urls: ['https://192.0.2.2:4523'],
      credentials: credentials('/x', 'alice'),
    });
  });

  it('takes the first user and the directory of cluster.yml, and the host of agent.yml there', async () => {
    await write('made/cluster.yml', 'cluster_name: x\nusers:\n - carol\n - dave\ncontrol_node: 192.0.2.77\n');
    const yml = { clusterYml: 'made/cluster.yml' };
    const expected = credentials(join(cwd, 'made'), 'carol');
    expect(await find(yml)).toEqual({ urls: ['https://192.0.2.77:4523'], credentials: expected });
    await write('made/agent.yml', 'version: 1\ncontrol-service: {hostname: 192.0.2.5, port: 4524}\n');
    expect(await find(yml)).toEqual({ urls: ['https://192.0.2.5:4523'], credentials: expected });
    expect(await find({ ...yml, controlService: '192.0.2.6' })).toMatchObject({ urls: ['https://192.0.2.6:4523'] });
    await write('made/agent.yml', 'control-service: {hostname: h, rest-port: 999}\n');
    expect(await find(yml)).toMatchObject({ urls: ['https://h:999'] });
    expect(await find({ ...yml, controlPort: 7 })).toMatchObject({ urls: ['https://h:7'] });
  });

  it('finds ./cluster.yml by itself, but not for certificates that lie elsewhere', async () => {
    await write('cluster.yml', 'users: [carol]\ncontrol_node: 192.0.2.77\n');
    expect(await find()).toEqual({ urls: ['https://192.0.2.77:4523'], credentials: credentials(cwd, 'carol') });
    expect(await find({ certsPath: '/x', controlService: 'h' })).toMatchObject({
      credentials: credentials('/x', 'user'),
    });
  });

  it('says what is missing or wrong', async () => {
    await expect(find()).rejects.toMatchObject({
      code: 'no_control_service',
      message: expect.stringContaining('--control-service') as string,
    });
    await expect(find({ clusterYml: 'none.yml' })).rejects.toMatchObject({ code: 'bad_file' });
    await expect(find({ controlService: 'https://x/' })).rejects.toMatchObject({ code: 'no_control_service' });
    await write('agent.yml', 'control-service: {port: 1}\n');
    await expect(find()).rejects.toMatchObject({
      code: 'bad_file',
      message: expect.stringContaining('hostname') as string,
    });
    await write('agent.yml', '{: [');
    await expect(find()).rejects.toMatchObject({
      code: 'bad_file',
      message: expect.stringContaining('agent.yml') as string,
    });
  });
});

describe('a cluster of flocker up', () => {
  it('is named by the option or the environment', async () => {
    await write('a.json', clusterJson(1));
    await write('b.json', clusterJson(2));
    const certificates = { ca: '/c/cluster.crt', cert: '/c/user.crt', key: '/c/user.key' };
    expect(await find({ cluster: 'a.json' })).toEqual({ urls: ['https://127.0.0.1:1'], credentials: certificates });
    expect(await find({}, { FLOCKER_CLUSTER: join(cwd, 'b.json') })).toMatchObject({ urls: ['https://127.0.0.1:2'] });
    expect(await find({ cluster: 'a.json' }, { FLOCKER_CLUSTER: 'b.json' })).toMatchObject({
      urls: ['https://127.0.0.1:1'],
    });
    expect(await find({ controlService: 'h' }, { FLOCKER_CLUSTER: 'b.json' })).toMatchObject({
      urls: ['https://h:4523'],
    });
  });

  it('is the default only while nothing else is given', async () => {
    await write('.flocker/cluster.json', clusterJson(3));
    expect(await find()).toMatchObject({ urls: ['https://127.0.0.1:3'] });
    expect(await find({}, { FLOCKER_CONTROL_SERVICE: 'h' })).toMatchObject({ urls: ['https://h:4523'] });
    expect(await find({ controlService: 'i' })).toMatchObject({ urls: ['https://i:4523'] });
    expect(await find({ controlService: 'i, j,192.0.2.1' })).toMatchObject({
      urls: ['https://i:4523', 'https://j:4523', 'https://192.0.2.1:4523'],
    });
    for (const controlService of [',,', 'i,j k'])
      await expect(find({ controlService })).rejects.toMatchObject({ code: 'no_control_service' });
    await write('cluster.yml', 'users: [carol]\ncontrol_node: j\n');
    expect(await find()).toMatchObject({ urls: ['https://j:4523'] });
  });

  it('says what is wrong with the file', async () => {
    await expect(find({ cluster: 'none.json' })).rejects.toMatchObject({ code: 'bad_file' });
    await write('torn.json', '{"control":');
    await expect(find({ cluster: 'torn.json' })).rejects.toMatchObject({ code: 'bad_file' });
    await write('other.json', '{"control": {}}');
    await expect(find({ cluster: 'other.json' })).rejects.toMatchObject({
      message: expect.stringContaining('url') as string,
    });
  });
});

import { execFile } from 'node:child_process';
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ClusterJson } from '../../src/cli/up/start-cluster.ts';
import { type Ended, Program } from './support/program.ts';
import { Scratch } from './support/scratch.ts';

const run = promisify(execFile);
const PROJECT = fileURLToPath(new URL('../..', import.meta.url));
const PROGRAMS = ['dvdcli', 'flocker', 'flocker-ca', 'flockerctl'];

describe('the npm package', () => {
  let scratch: Scratch;
  let files: string[];
  let version: string;
  let prefix: string;

  beforeAll(async () => {
    scratch = await Scratch.make();
    prefix = join(scratch.directory, 'prefix');
    await mkdir(prefix);
    // Without `prepack`: what is tested here was built before, and others use it at this moment.
    const packing = ['pack', '--ignore-scripts', '--json', '--pack-destination', scratch.directory];
    const { stdout } = await run('npm', packing, { cwd: PROJECT, maxBuffer: 1 << 24 });
    const [packed] = JSON.parse(stdout) as { filename: string; version: string; files: { path: string }[] }[];
    if (packed === undefined) throw new Error(`npm pack told nothing: ${stdout}`);
    version = packed.version;
    files = packed.files.map(({ path }) => path);
    const tarball = join(scratch.directory, packed.filename);
    const installing = ['install', '--global', '--prefix', prefix, '--ignore-scripts', '--prefer-offline'];
    await run('npm', [...installing, '--no-audit', '--no-fund', tarball], { env: withoutCompiler() });
  }, 300_000);
  afterAll(() => scratch.remove());

  /** Nothing may be compiled when it is installed, so whatever tries fails. */
  function withoutCompiler(): NodeJS.ProcessEnv {
    return { ...scratch.env, CC: 'false', CXX: 'false', MAKE: 'false' };
  }

  const installed = (program: string, ...args: readonly string[]): Program =>
    // As a person with that Node would, whatever other Node is on the path of the tests.
    new Program(process.execPath, [join(prefix, 'bin', program), ...args], scratch.env);

  it('has what runs, the documents, the examples and the source of the module', () => {
    expect(files).toEqual(
      expect.arrayContaining([
        'CHANGELOG.md',
        'LICENSE',
        'README.md',
        'dist/src/bin/flocker.js',
        'dist/src/bin/flockerctl.js',
        'docs/architecture.md',
        'docs/reference/cli.md',
        'examples/csi/kubernetes.yaml',
        'examples/placement-framework/main.ts',
        'isolator-module/CMakeLists.txt',
        'isolator-module/flocker_isolator.cpp',
      ]),
    );
  });

  it('has no tests, no benches and nothing of the build', () => {
    expect(files.filter((path) => /\.test\.|tsbuildinfo|\.d\.ts$|^dist\/(?:bench|test)\//.test(path))).toEqual([]);
    expect(files.filter((path) => /^(?:src|test|bench|node_modules|\.ci)\//.test(path))).toEqual([]);
  });

  it('installs all programs, and they say their version', async () => {
    for (const program of PROGRAMS) {
      const { status, stdout, stderr } = await installed(program, '--help').ended;
      expect({ program, status, stderr }).toEqual({ program, status: 0, stderr: '' });
      expect(stdout.length).toBeGreaterThan(100);
    }
    expect(await installed('flocker', '--version').ended).toMatchObject({ status: 0, stdout: `${version}\n` });
  });

  it('does the main job: a cluster, and a task that finds its data on another node', async () => {
    const directory = join(scratch.directory, 'cluster');
    const clusterJson = join(directory, 'cluster.json');
    const up = installed('flocker', 'up', '--dir', directory);
    await up.says('The cluster runs', 60_000);
    const on = (node: number, script: string): Promise<Ended> =>
      installed(
        ...(['flocker', 'run', '--cluster', clusterJson, '--node', String(node)] as const),
        ...(['-v', 'webapp:/mnt', '--', 'sh', '-c', script] as const),
      ).ended;
    expect(await on(1, 'echo visit >> /mnt/visits')).toMatchObject({ status: 0, stderr: '' });
    expect(await on(2, 'cat /mnt/visits')).toMatchObject({ status: 0, stdout: 'visit\n' });

    const { nodes } = JSON.parse(await readFile(clusterJson, 'utf8')) as ClusterJson;
    const ctl = (...args: string[]): Promise<Ended> => installed('flockerctl', '--cluster', clusterJson, ...args).ended;
    const listed = await ctl('list', '--json');
    expect(listed).toMatchObject({ status: 0, stderr: '' });
    expect(listed.stdout).toContain('webapp');
    expect(listed.stdout).toContain(nodes[1]?.uuid);
    up.kill('SIGTERM');
    expect(await up.ended).toMatchObject({ status: 0, stderr: '' });
  });

  it('tells the story', async () => {
    const story = join(prefix, 'lib', 'node_modules', 'mesos-module-flocker', 'dist', 'src', 'bin', 'story.js');
    const { status, stdout, stderr } = await new Program(process.execPath, [story, '--once', '--json'], scratch.env)
      .ended;
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    expect(JSON.parse(stdout)).toMatchObject({ ok: true });
  });
});

import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { FlockerClient } from '../../src/client/flocker-client.ts';
import { LocalClient } from '../../src/frontends/local/local-client.ts';
import type { VolumesAnswer } from '../../src/frontends/local/local-schemas.ts';
import { eventually } from './support/eventually.ts';
import { type Ended, Program } from './support/program.ts';
import { UpCluster } from './support/up.ts';

const run = promisify(execFile);
const PROGRAMS = ['/usr/bin/podman', '/usr/sbin/runc', '/usr/bin/conmon', '/bin/busybox'];
const missing = PROGRAMS.filter((path) => !existsSync(path));
const why = process.getuid?.() === 0 ? missing.map((path) => `no ${path}`).join(', ') : 'not root';
const soon = (): AbortSignal => AbortSignal.timeout(10_000);
const IMAGE = 'localhost/busybox:1';
/** The rlimits of this machine may be less than podman's defaults ask for. */
const LIMITS = ['--network=host', '--ulimit', 'nofile=1024:20000', '--ulimit', 'nproc=1000:1000'];

/** Debian's podman with one of our nodes as its volume plugin `flocker`, and storage of its own. */
class Podman {
  readonly #directory: string;
  readonly #socket: string;
  readonly #env: NodeJS.ProcessEnv;

  constructor(directory: string, socket: string, env: NodeJS.ProcessEnv) {
    this.#directory = directory;
    this.#socket = socket;
    this.#env = { ...env, CONTAINERS_CONF: join(directory, 'containers.conf') };
  }

  async prepare(): Promise<void> {
    await mkdir(join(this.#directory, 'image', 'bin'), { recursive: true });
    await writeFile(
      join(this.#directory, 'containers.conf'),
      `[engine]\ncgroup_manager="cgroupfs"\nevents_logger="file"\nvolume_plugin_timeout=120\n` +
        `[engine.volume_plugins]\nflocker="${this.#socket}"\n`,
    );
    await run('cp', ['/bin/busybox', join(this.#directory, 'image', 'bin', 'busybox')]);
    await run('ln', ['-s', 'busybox', join(this.#directory, 'image', 'bin', 'sh')]);
    await run('tar', ['-C', join(this.#directory, 'image'), '-cf', join(this.#directory, 'image.tar'), '.']);
    expect(await this.end('import', join(this.#directory, 'image.tar'), IMAGE)).toMatchObject({ status: 0 });
  }

  start(...args: readonly string[]): Program {
    const storage = ['--root', join(this.#directory, 'root'), '--runroot', join(this.#directory, 'run')];
    const engine = ['--storage-driver=vfs', '--runtime', '/usr/sbin/runc', '--tmpdir', join(this.#directory, 'tmp')];
    return new Program('/usr/bin/podman', [...storage, ...engine, ...args], this.#env);
  }

  end(...args: readonly string[]): Promise<Ended> {
    return this.start(...args).ended;
  }

  /** A container that runs a shell command with the volume at /data. */
  sh(volume: string, script: string, ...more: readonly string[]): Promise<Ended> {
    return this.end('run', '--rm', ...LIMITS, ...more, '-v', `${volume}:/data`, IMAGE, '/bin/sh', '-c', script);
  }
}

describe.skipIf(why !== '')(`podman runs containers with volumes${why === '' ? '' : ` (skipped: ${why})`}`, () => {
  let cluster: UpCluster;
  let client: FlockerClient;
  let one: Podman;
  let two: Podman;
  beforeAll(async () => {
    cluster = await UpCluster.start('--backend', 'loopback');
    client = await cluster.client();
    const podman = async (number: number): Promise<Podman> => {
      const { docker } = await cluster.node(number);
      return new Podman(join(cluster.scratch.directory, `podman${number}`), docker, cluster.scratch.env);
    };
    [one, two] = [await podman(1), await podman(2)];
    await one.prepare();
    await two.prepare();
  });
  afterAll(async () => {
    await client.close();
    await cluster.remove();
  });
  afterEach(async () => expect(await client.listLeases(soon())).toEqual([]));

  async function create(podman: Podman, name: string, ...options: readonly string[]): Promise<Ended> {
    return podman.end('volume', 'create', '--driver', 'flocker', ...options.flatMap((one) => ['--opt', one]), name);
  }
  async function holders(node: number): Promise<string[]> {
    const { volumes } = (await new LocalClient((await cluster.node(node)).socket).volumes(soon())) as VolumesAnswer;
    return volumes.flatMap((one) => one.holders.map(({ id }) => id));
  }

  it('makes a volume, and its data move with it to the other node', async () => {
    expect(await create(one, 'webapp', 'size=128MiB', 'profile=gold')).toMatchObject({ status: 0, stdout: 'webapp\n' });
    const { datasets } = await client.listDatasets(soon());
    expect(datasets).toMatchObject([
      { maximum_size: 2 ** 27, metadata: { name: 'webapp', 'clusterhq:flocker:profile': 'gold' } },
    ]);
    const wrote = await one.sh('webapp', 'echo one > /data/text && busybox df -m /data | busybox tail -n 1');
    expect(wrote, wrote.stderr).toMatchObject({ status: 0, stdout: expect.stringMatching(/ \/data\n$/) as string });
    expect(await holders(1)).toEqual([]);

    expect(await create(two, 'webapp')).toMatchObject({ status: 0 });
    const read = await two.sh('webapp', 'busybox cat /data/text; echo two > /data/text');
    expect(read, read.stderr).toMatchObject({ status: 0, stdout: 'one\n' });
    expect(await one.sh('webapp', 'busybox cat /data/text')).toMatchObject({ status: 0, stdout: 'two\n' });
  });

  it('holds the volume for each container, and through a restart of the agent', async () => {
    expect(await create(one, 'shared', 'size=64MiB')).toMatchObject({ status: 0 });
    const script =
      'echo started; while [ ! -e /data/stop ]; do busybox sleep 0.1 || exit 1; done; busybox cat /data/text';
    const containers = [1, 2].map(() =>
      one.start('run', '--rm', ...LIMITS, '-v', 'shared:/data', IMAGE, '/bin/sh', '-c', script),
    );
    for (const container of containers) await container.says('started', 60_000);
    // podman itself asks the plugin for one mount, however many of its containers share it.
    const [held, ...more] = await holders(1);
    expect(held).toMatch(/^docker\/[0-9a-f]{64}\/shared$/);
    expect(more).toEqual([]);
    await cluster.kill(1);
    expect(await eventually(() => holders(1))).toEqual([held]);
    expect(await create(two, 'shared')).toMatchObject({ status: 0 });
    expect(await two.end('volume', 'rm', 'shared')).not.toMatchObject({ status: 0 });
    const { socket } = await cluster.node(2);
    const pulled = new LocalClient(socket).acquire(
      { id: 'test/2', detail: 'a test' },
      { name: 'shared', create: 'never', mode: 'rw' },
      1_000,
      soon(),
    );
    await expect(pulled).rejects.toMatchObject({ reason: 'leased_elsewhere' });
    expect(await one.sh('shared', 'echo kept > /data/text; > /data/stop')).toMatchObject({ status: 0 });
    for (const container of containers) {
      const ended = await container.ended;
      expect(ended, ended.stderr).toMatchObject({ status: 0, stdout: 'started\nkept\n' });
    }
    await eventually(async () => expect(await holders(1)).toEqual([]));
  });

  it('is told what is wrong', async () => {
    const bad = await create(one, 'bad', 'size=10x');
    expect(bad).toMatchObject({ status: 125, stderr: expect.stringContaining('"10x" is no size') as string });
    const profile = await create(one, 'bad', 'profile=tin');
    expect(profile).toMatchObject({ status: 125, stderr: expect.stringContaining('no profile tin') as string });
    const { datasets } = await client.listDatasets(soon());
    expect(datasets.map(({ metadata }) => metadata['name'])).not.toContain('bad');
  });

  it('removes a volume for good', async () => {
    expect(await create(one, 'doomed', 'size=64MiB')).toMatchObject({ status: 0 });
    expect(await one.sh('doomed', 'echo x > /data/text')).toMatchObject({ status: 0 });
    expect(await one.end('volume', 'rm', 'doomed')).toMatchObject({ status: 0 });
    const { datasets } = await client.listDatasets(soon());
    expect(datasets.find(({ metadata }) => metadata['name'] === 'doomed')).toMatchObject({ deleted: true });
    const states = await client.listDatasetStates(soon());
    const gone = datasets.find(({ metadata }) => metadata['name'] === 'doomed')?.dataset_id;
    expect(states.map(({ dataset_id }) => dataset_id)).not.toContain(gone);
  });
});

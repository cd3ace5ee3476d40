import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { builtRoom, LocalBench } from './testing/local-bench.ts';

const isRoot = process.getuid?.() === 0;
const NEEDS = 'needs root and a build';

describe.skipIf(!isRoot || builtRoom === undefined)(`flocker run (${NEEDS})`, () => {
  let bench: LocalBench;
  let target: string;

  beforeEach(async () => {
    bench = await LocalBench.start();
    target = join(bench.directory, 'made', 'data');
  });
  afterEach(async () => {
    await bench.close();
    const mounts = await readFile('/proc/self/mountinfo', 'utf8');
    expect(mounts).not.toContain(bench.directory);
  });

  const volumePath = (): string => bench.volumes.list()[0]?.path ?? '';
  const settled = (): Promise<void> =>
    vi.waitFor(
      () => {
        expect(bench.holders).toEqual([]);
        expect(bench.flocker.cluster.leases()).toEqual([]);
        expect(existsSync(join(bench.directory, 'made'))).toBe(false);
      },
      { timeout: 8_000 },
    );

  it('shows the volume to the command only, keeps the data and leaves nothing else', async () => {
    const write = bench.run(
      [`db:${target}`],
      ['sh', '-c', 'echo kept > "$1/file"; echo "$FROM_OUTSIDE"', 'sh', target],
      {
        env: { ...process.env, FROM_OUTSIDE: 'yes' },
      },
    );
    expect(await write.done).toEqual({ status: 0, signal: null, stdout: 'yes\n', stderr: '' });
    await settled();
    const read = bench.run([`db:${target}:ro`], ['sh', '-c', 'cat "$1/file"; touch "$1/more" 2>&1', 'sh', target]);
    const ran = await read.done;
    expect(ran.stdout).toMatch(/^kept\n.*Read-only file system/);
    expect(ran.status).toBe(1);
    await settled();
  });

  it('takes hostile names and paths literally', async () => {
    const odd = join(bench.directory, 'made', `$(touch ${bench.directory}/owned) "'; ; *`);
    const ran = await bench.run([`-$(id)'":${odd}`], ['sh', '-c', 'printf %s "$1"', 'sh', '$(id) "*"']).done;
    expect(ran).toMatchObject({ status: 0, stdout: '$(id) "*"', stderr: '' });
    expect(await readdir(bench.directory)).not.toContain('owned');
    await settled();
  });

  it('passes the whole environment on, also names that a shell cannot set', async () => {
    const env = { PATH: process.env['PATH'], 'odd.name%%': '() { x; }', PLAIN: 'a b', OLDPWD: '/nowhere' };
    const show = 'console.log(JSON.stringify(process.env))';
    const ran = await bench.run([`db:${target}`], [process.execPath, '-e', show], { env }).done;
    const seen = JSON.parse(ran.stdout) as Record<string, string>;
    delete seen['PWD'];
    delete seen['_'];
    expect(seen).toEqual(env);
  });

  it('is in the volume when it is started in the directory of the mount point', async () => {
    const place = join(bench.directory, 'place');
    await mkdir(place);
    await writeFile(join(place, 'beneath'), '');
    const ran = await bench.run([`db:${place}`], ['ls', '-A', '.'], { cwd: place }).done;
    expect(ran).toEqual({ status: 0, signal: null, stdout: '', stderr: '' });
    expect(existsSync(place)).toBe(true);
  });

  it.each([
    [['sh', '-c', 'exit 7'], 7],
    [['sh', '-c', 'kill -SEGV $$'], 139],
    [['/no/such/command'], 127],
    [['/etc/passwd'], 126],
  ])('ends %j with status %i', async (command, status) => {
    expect((await bench.run([`db:${target}`], command).done).status).toBe(status);
    await settled();
  });

  it('passes signals on and ends as the command does', async () => {
    const script = 'trap "echo got; exit 3" TERM; echo ready; while :; do sleep 0.05; done';
    const { child, done } = bench.run([`db:${target}`], ['sh', '-c', script]);
    await new Promise((resolve) => child.stdout?.once('data', resolve));
    child.kill('SIGTERM');
    expect(await done).toMatchObject({ status: 3, stdout: 'ready\ngot\n' });
    await settled();
    const second = bench.run([`db:${target}`], ['sh', '-c', 'echo ready; exec sleep 60']);
    await new Promise((resolve) => second.child.stdout?.once('data', resolve));
    second.child.kill('SIGHUP');
    expect((await second.done).status).toBe(129);
  });

  it('keeps nothing when one of the volumes cannot be had', async () => {
    const other = join(bench.directory, 'made', 'other');
    const ran = await bench.run([`one:${target}`, `two:${other},create=never`], ['true']).done;
    expect(ran).toMatchObject({ status: 125, stderr: expect.stringContaining('there is no volume two') as unknown });
    await settled();
  });

  it('follows symbolic links before it decides what may be covered', async () => {
    const link = join(bench.directory, 'link');
    await symlink('/etc', link);
    for (const path of [link, join(link, 'sub', 'dir')]) {
      const ran = await bench.run([`db:${path}`], ['true']).done;
      expect(ran).toMatchObject({ status: 125, stderr: expect.stringContaining('belongs to the system') as unknown });
    }
    expect(existsSync('/etc/sub')).toBe(false);
    await settled();
  });

  it('dies with kill -9, and so does its command; the agent cleans up', async () => {
    const { child, done } = bench.run([`db:${target}`], ['sh', '-c', 'echo $$; exec sleep 60']);
    const pid = await new Promise<string>((resolve) =>
      child.stdout?.once('data', (text) => resolve(String(text).trim())),
    );
    expect(bench.holders).toHaveLength(1);
    expect(existsSync(target)).toBe(true);
    child.kill('SIGKILL');
    await done;
    await vi.waitFor(async () => {
      const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => 'gone');
      expect(stat).toMatch(/^gone$|\) Z /);
    });
    await settled();
  });

  it('holds the volume for processes that outlive kill -9 of it, until they end', async () => {
    const script =
      '(trap "" HUP; while [ ! -e "$1/stop" ]; do sleep 0.05; done; echo late > "$1/late") & echo go; wait';
    const { child, done } = bench.run([`db:${target}`], ['sh', '-c', script, 'sh', target]);
    await new Promise((resolve) => child.stdout?.once('data', resolve));
    const path = volumePath();
    child.kill('SIGKILL');
    await new Promise((resolve) => setTimeout(resolve, 600));
    expect(bench.holders).toHaveLength(1);
    expect(bench.flocker.cluster.leases()).toHaveLength(1);
    await writeFile(join(path, 'stop'), '');
    await done;
    await settled();
    expect(await readFile(join(path, 'late'), 'utf8')).toBe('late\n');
  });

  it('says which processes keep the volume when the command ends before them', async () => {
    const script = '(while [ ! -e "$1/stop" ]; do sleep 0.05; done) >/dev/null 2>&1 & exit 0';
    const ran = await bench.run([`db:${target}`], ['sh', '-c', script, 'sh', target]).done;
    expect(ran).toMatchObject({ status: 0, stderr: expect.stringMatching(/still use the volumes: \d+/) as unknown });
    expect(bench.holders).toHaveLength(1);
    await writeFile(join(volumePath(), 'stop'), '');
    await settled();
  });

  it('goes on while the agent restarts, and is attended again', async () => {
    const script = 'echo ready; while [ ! -e "$1/stop" ]; do sleep 0.05; done; echo done';
    const { child, done } = bench.run([`db:${target}`], ['sh', '-c', script, 'sh', target]);
    await new Promise((resolve) => child.stdout?.once('data', resolve));
    const path = volumePath();
    await bench.stopAgent();
    await new Promise((resolve) => setTimeout(resolve, 300));
    await bench.startAgent();
    await vi.waitFor(async () => {
      expect(await bench.client.status(AbortSignal.timeout(1_000))).toMatchObject({
        holders: 1,
        attended: 1,
        watched: 0,
      });
    });
    await writeFile(join(path, 'stop'), '');
    expect(await done).toMatchObject({ status: 0, stdout: 'ready\ndone\n', stderr: '' });
    await settled();
  });

  it('is cleaned up when it dies while the agent is away', async () => {
    const { child, done } = bench.run([`db:${target}`], ['sh', '-c', 'echo ready; exec sleep 60']);
    await new Promise((resolve) => child.stdout?.once('data', resolve));
    await bench.stopAgent();
    child.kill('SIGKILL');
    await done;
    await bench.startAgent();
    expect(bench.holders).toHaveLength(1);
    await settled();
  });

  it('leaves a mount point to another run that uses it', async () => {
    const first = bench.run(
      [`one:${target}`],
      ['sh', '-c', 'echo ready; while [ ! -e "$1/stop" ]; do sleep 0.05; done', 'sh', target],
    );
    await new Promise((resolve) => first.child.stdout?.once('data', resolve));
    const path = volumePath();
    const second = bench.run(
      [`two:${target}`],
      ['sh', '-c', 'echo ready; sleep 1; echo data > "$1/f"; cat "$1/f"', 'sh', target],
    );
    await new Promise((resolve) => second.child.stdout?.once('data', resolve));
    await writeFile(join(path, 'stop'), '');
    await first.done;
    expect(existsSync(target)).toBe(true);
    expect(await second.done).toMatchObject({ status: 0, stdout: 'ready\ndata\n' });
    await settled();
  });

  it('says what to do when the agent is not running', async () => {
    await bench.stopAgent();
    const ran = await bench.run([`db:${target}`], ['true']).done;
    expect(ran).toMatchObject({
      status: 125,
      stderr: expect.stringContaining('is the node agent running?') as unknown,
    });
    await bench.startAgent();
  });
});

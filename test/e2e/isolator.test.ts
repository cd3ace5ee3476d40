import { spawn } from 'node:child_process';
import { readdirSync, watch } from 'node:fs';
import { chmod, mkdir, readFile, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { parseDocument } from 'yaml';
import type { FlockerClient } from '../../src/client/flocker-client.ts';
import { LocalClient } from '../../src/frontends/local/local-client.ts';
import type { VolumesAnswer } from '../../src/frontends/local/local-schemas.ts';
import { makeImage } from '../support/image.ts';
import { type Container, MesosAgent, type Task } from '../support/mesos-agent.ts';
import { eventually } from './support/eventually.ts';
import { type Program, start } from './support/program.ts';
import { agentAnswers, type ClusterNode, UpCluster } from './support/up.ts';

const isRoot = process.getuid?.() === 0;
const soon = (): AbortSignal => AbortSignal.timeout(10_000);

/** Variables of volume `name` at `path`, in slot `slot`. */
function volume(
  name: string,
  path: string,
  slot = '',
  more: Readonly<Record<string, string>> = {},
): Record<string, string> {
  const all = { ID: name, CONTAINER_VOLUME_PATH: path, SIZE: '64MiB', ...more };
  return Object.fromEntries(Object.entries(all).map(([key, value]) => [`FLOCKER_${key}${slot}`, value]));
}

describe.skipIf(!isRoot)('the Mesos isolator (needs root)', () => {
  let cluster: UpCluster;
  let client: FlockerClient;
  let node: ClusterNode;
  let mesos: MesosAgent;

  beforeAll(async () => {
    cluster = await UpCluster.start('--backend', 'loopback');
    client = await cluster.client();
    node = await cluster.node(1);
    mesos = new MesosAgent(node.isolator, join(cluster.scratch.directory, 'mesos1'));
  });
  afterAll(async () => {
    await client.close();
    await cluster.remove();
  });
  afterEach(() => expectNothingHeld());

  const ok = (stdout: string): object => ({ status: 0, stdout, stderr: '' });
  const names = async (): Promise<string[]> => {
    const { datasets } = await client.listDatasets(soon());
    return datasets.filter(({ deleted }) => !deleted).flatMap(({ metadata }) => metadata['name'] ?? []);
  };

  const volumes = async (): Promise<VolumesAnswer['volumes']> =>
    ((await new LocalClient(node.socket).volumes(soon())) as VolumesAnswer).volumes;

  async function holders(): Promise<string[]> {
    return (await volumes()).flatMap((one) => one.holders.map(({ id }) => `${id} ${one.name}`));
  }

  async function expectNothingHeld(): Promise<void> {
    await eventually(async () => {
      expect(await holders()).toEqual([]);
      expect(await client.listLeases(soon())).toEqual([]);
    });
  }

  /** A task that lives until it is told to end, once it has said that it runs. */
  async function living(task: Omit<Task, 'command'>): Promise<Container & { end(): Promise<unknown> }> {
    const command = 'touch started; while [ ! -e stop ]; do sleep 0.02; done';
    const container = await mesos.launch({ ...task, command });
    await eventually(() => stat(join(container.sandbox, 'started')));
    const end = async (): Promise<unknown> => {
      await writeFile(join(container.sandbox, 'stop'), '');
      return container.ended;
    };
    return { ...container, end };
  }

  it('gives a task two volumes, which keep their data', async () => {
    const environment = { ...volume('one', 'data'), ...volume('two', 'deep/er', '1') };
    const write = 'echo 1 > data/f && echo 2 > deep/er/f && ls -A';
    expect(await mesos.run({ environment, command: write })).toEqual(ok('data\ndeep\n'));
    const read = 'cat data/f deep/er/f && df --output=size -B1M data | tail -1 | tr -d " "';
    const { status, stdout } = await mesos.run({ environment, command: read });
    expect([status, stdout.slice(0, 4), Number(stdout.slice(4)) < 64]).toEqual([0, '1\n2\n', true]);
  });

  it('moves a volume to the node whose task asks for it', async () => {
    const environment = volume('counter', 'data');
    const count = 'n=$(cat data/n 2>/dev/null || echo 0); echo $((n + 1)) | tee data/n';
    const other = await cluster.node(2);
    const elsewhere = new MesosAgent(other.isolator, join(cluster.scratch.directory, 'mesos2'));
    for (const [index, agent] of [mesos, elsewhere, mesos, elsewhere, mesos].entries())
      expect(await agent.run({ environment, command: count })).toEqual(ok(`${index + 1}\n`));
  });

  it('mounts into an image, by its own paths and in the sandbox', async () => {
    const rootfs = join(cluster.scratch.directory, 'rootfs');
    await makeImage(rootfs, ['sh', 'cat', 'ls']);
    await mkdir(join(rootfs, 'var'));
    await mkdir(join(rootfs, 'run'));
    await symlink('/run', join(rootfs, 'var/run'));
    const environment = {
      ...volume('img', '/var/lib/data'),
      ...volume('img-run', '/var/run/app', '1'),
      ...volume('img-sandbox', 'box', '2'),
    };
    const command = 'echo a > /var/lib/data/f; echo b > /run/app/f; echo c > box/f; ls /; cat /mnt/mesos/sandbox/box/f';
    const { status, stdout, stderr } = await mesos.run({ environment, rootfs, command });
    expect([status, stderr]).toEqual([0, '']);
    expect(stdout.split('\n')).toEqual(expect.arrayContaining(['bin', 'mnt', 'var', 'c']));
    const again = await mesos.run({ environment, rootfs, command: 'cat /var/lib/data/f /var/run/app/f box/f' });
    expect(again).toEqual(ok('a\nb\nc\n'));
    expect(readdirSync(join(rootfs, 'run'))).toEqual([]);
  });

  it('gives a nested container volumes of its own, shared with others of the node', async () => {
    const parent = await living({ environment: volume('pod', 'data') });
    const environment = { ...volume('pod', 'shared'), ...volume('own', 'own', '1') };
    const nested = await mesos.run({
      environment,
      parent,
      command: 'echo x > shared/f; ls; mountpoint -q own && echo yes',
    });
    expect(nested).toEqual(ok('own\nshared\nyes\n'));
    expect(await holders()).toEqual([`mesos/${parent.id.value} pod`]);
    await parent.end();
    expect(await mesos.run({ environment: volume('pod', 'd'), command: 'cat d/f' })).toEqual(ok('x\n'));
  });

  it('makes read-only volumes really read-only, also for root', async () => {
    await mesos.run({ environment: volume('ro', 'd'), command: 'echo 1 > d/f' });
    const environment = volume('ro', 'd', '', { MODE: 'ro' });
    const command =
      'cat d/f; (echo 2 > d/f) 2>/dev/null || echo refused; touch d/g 2>&1 | grep -o "Read-only file system"';
    expect(await mesos.run({ environment, command })).toEqual(ok('1\nrefused\nRead-only file system\n'));
  });

  it("gives a fresh volume to the task's user, and leaves one with data as it is", async () => {
    const environment = volume('owned', 'd');
    const user = { user: 'nobody', uid: 65534 };
    expect(await mesos.run({ ...user, environment, command: 'stat -c %u:%g d; echo 1 > d/f && chmod 700 d' })).toEqual(
      ok('65534:65534\n'),
    );
    expect(await mesos.run({ environment, command: 'stat -c "%u %a" d' })).toEqual(ok('65534 700\n'));
    const daemon = await mesos.run({ user: 'daemon', uid: 1, environment, command: 'stat -c "%u %a" d; cat d/f' });
    expect(daemon).toMatchObject({ status: 1, stdout: '65534 700\n' });
    expect(await mesos.run({ ...user, environment, command: 'touch new/x || stat -c %u .' })).toMatchObject({
      stdout: '65534\n',
    });
  });

  it('deletes a volume with its task when that is asked for', async () => {
    const environment = volume('scratch', 'd', '', { ON_EXIT: 'delete' });
    expect(await mesos.run({ environment, command: 'echo 1 > d/f' })).toEqual(ok(''));
    await eventually(async () => expect(await names()).not.toContain('scratch'));
    expect(await mesos.run({ environment, command: 'ls -A d' })).toEqual(ok(''));
  });

  it('tells Mesos how much is used', async () => {
    const container = await living({ environment: volume('measured', 'd') });
    const { body } = await mesos.call('usage', { container_id: container.id });
    const [disk] = (body as { disk_statistics: { limit_bytes: number; used_bytes: number }[] }).disk_statistics;
    expect(disk).toMatchObject({ persistence: { id: 'measured' }, source: { type: 'MOUNT' } });
    expect(disk?.limit_bytes).toBeGreaterThan(32 * 2 ** 20);
    expect(disk?.limit_bytes).toBeLessThan(64 * 2 ** 20);
    expect(disk?.used_bytes).toBeLessThan(disk?.limit_bytes ?? 0);
    await container.end();
  });

  it('refuses what is wrong or hostile, says why, and leaves nothing', async () => {
    const before = await names();
    const rootfs = join(cluster.scratch.directory, 'rootfs-hostile');
    await mkdir(join(rootfs, 'etc'), { recursive: true });
    await mkdir(join(rootfs, 'proc'));
    await symlink('../../../../../../../../../..', join(rootfs, 'climb'));
    await symlink('/proc', join(rootfs, 'to-proc'));
    const host = join(cluster.scratch.directory, 'open');
    await mkdir(join(host, 'x'), { recursive: true });
    await chmod(host, 0o777);
    const cases: readonly (readonly [Record<string, string>, RegExp, Partial<Task>?])[] = [
      [{ FLOCKER_ID: 'x' }, /FLOCKER_ID set without FLOCKER_CONTAINER_VOLUME_PATH/],
      [{ FLOCKER_CONTAINER_VOLUME_PATH: '/x' }, /set without FLOCKER_ID/],
      [{ ...volume('x', 'd'), FLOCKER_ID12: 'y' }, /FLOCKER_ID12/],
      [volume('x', 'd', '', { SIZE: 'big' }), /FLOCKER_SIZE is "big"/],
      [volume('x', 'd', '', { SIZE: '1KiB' }), /the smallest is 64 MiB/],
      [volume('x', 'd', '', { MODE: 'wr' }), /rw or ro/],
      [volume('x', 'd', '', { FS: 'zfs' }), /ext4 or xfs/],
      [volume('x', 'd', '', { PROFILE: 'none-such' }), /there is no profile none-such/],
      [volume('x', 'd', '', { CREATE: 'never' }), /there is no volume x/],
      [volume('x/y', 'd'), /volume/],
      [{ DVDI_VOLUME_NAME: 'x', DVDI_VOLUME_DRIVER: 'flocker', DVDI_VOLUME_DVDCLI: '/bin/sh' }, /DVDCLI is refused/],
      [{ ...volume('x', 'd'), ...volume('y', 'd/e', '1') }, /one inside the other/],
      [{ ...volume('x', 'd'), ...volume('x', 'e', '1') }, /both ask for volume x/],
      [volume('x', '../d'), /has "\.\." in it/],
      [volume('x', 'link/d'), /symbolic link/, { inSandbox: (sandbox) => symlink('/', join(sandbox, 'link')) }],
      [volume('x', 'file'), /not a directory/, { inSandbox: (sandbox) => writeFile(join(sandbox, 'file'), '') }],
      ...['/', '/proc', '/sys/x', '/dev/shm', '/etc', '/etc/x', '/usr/bin', '/var/lib', '/run/x'].map(
        (path) => [volume('x', path), /belongs to the system/] as const,
      ),
      [volume('x', '/no/such/place'), /does not exist on this node/],
      [volume('x', join(host, 'x')), /others than root can replace/],
      ...['/', '/proc/x', '/etc', '/to-proc/x', '/mnt/mesos'].map(
        (path) => [volume('x', path), /belongs to the system|hide the sandbox/, { rootfs }] as const,
      ),
      [volume('x', '/climb/x'), /leads out of the image/, { rootfs }],
    ];
    for (const [environment, message, more] of cases) {
      const told = JSON.stringify(environment);
      await expect(mesos.launch({ environment, command: 'true', ...more }), told).rejects.toThrow(message);
      await expect(mesos.launch({ environment, command: 'true', ...more }), told).rejects.toThrow(`Flocker on node`);
    }
    await expectNothingHeld();
    expect(await names()).toEqual(before);
    expect(readdirSync(rootfs).sort()).toEqual(['climb', 'etc', 'proc', 'to-proc']);
    expect(readdirSync(host)).toEqual(['x']);
  });

  it('keeps the volumes of living containers through restarts of the daemon and of Mesos, and ends those that are gone', async () => {
    const kept = await living({ environment: volume('kept', 'd') });
    const orphan = await living({ environment: volume('orphan', 'd') });
    const gone = await living({ environment: volume('gone', 'd') });
    await cluster.kill(1);
    await mesos.settle();
    expect((await holders()).length).toBe(3);
    mesos.forget(gone);
    await gone.end();
    await cluster.kill(1);
    const answer = await eventually(() => mesos.recover([orphan]));
    expect(answer).toEqual({ status: 200, body: { containers: [kept.id, orphan.id] } });
    expect((await holders()).sort()).toEqual([`mesos/${kept.id.value} kept`, `mesos/${orphan.id.value} orphan`].sort());
    for (const container of [orphan, kept]) {
      const mounts = await readFile(`/proc/${container.pid}/mountinfo`, 'utf8');
      expect(mounts).toContain(join(container.sandbox, 'd'));
      await container.end();
    }
  });

  it('starts and ends 100 containers at once and leaves nothing', async () => {
    const tasks = Array.from({ length: 100 }, (_, index): Task => {
      const shared = volume(`shared-${index % 8}`, 'shared');
      const own = index % 10 === 0 ? volume(`own-${index}`, 'own', '1') : {};
      return { environment: { ...shared, ...own }, command: `echo ${index} > shared/${index} && cat shared/${index}` };
    });
    const results = await Promise.all(tasks.map((task) => mesos.run(task)));
    expect(results).toEqual(tasks.map((_, index) => ok(`${index}\n`)));
    await expectNothingHeld();
    const left = await mesos.run({ environment: volume('shared-3', 's'), command: 'ls s | wc -l' });
    expect(left).toEqual(ok('13\n'));
  });

  describe('with the daemon killed', () => {
    let daemon: Program;
    let upPid: number;

    beforeAll(async () => {
      const up = (await cluster.scratch.processes()).find(({ commandLine }) => / up --dir /.test(commandLine));
      upPid = up?.pid ?? 0;
      // What started the daemon would start it again, later each time: meanwhile this test does, at once.
      process.kill(upPid, 'SIGSTOP');
      await cluster.killNow(1);
      await startDaemon();
      await mesos.run({ environment: volume('precious', 'd'), command: 'echo precious > d/f' });
    });
    afterAll(async () => {
      daemon.kill('SIGTERM');
      await daemon.ended;
      process.kill(upPid, 'SIGCONT');
      await agentAnswers(node.socket);
    });

    async function startDaemon(): Promise<void> {
      const config = join(cluster.directory, 'node1', 'agent.yml');
      daemon = start('flocker', ['agent', '--agent-config', config], cluster.scratch.env);
      await agentAnswers(node.socket);
    }

    /** Kills it at the `count`-th write to its ledger from now, or after `delayMs`. */
    function killAt(count: number, delayMs: number): () => Promise<void> {
      const ledger = join(cluster.directory, 'node1', 'state', 'holders.journal');
      let writes = 0;
      const watcher = watch(ledger, () => {
        writes += 1;
        if (writes === count) daemon.kill('SIGKILL');
      });
      const timer = setTimeout(() => daemon.kill('SIGKILL'), delayMs);
      return async () => {
        clearTimeout(timer);
        watcher.close();
        daemon.kill('SIGKILL');
        await daemon.ended;
      };
    }

    const atWrites = [1, 2, 3, 4].map((count) => [count, 5_000] as const);
    const after = (...delaysMs: number[]): (readonly [number, number])[] =>
      delaysMs.map((ms) => [Number.POSITIVE_INFINITY, ms]);

    it.each([...atWrites, ...after(0, 4, 8, 16, 24, 32, 48, 64)])(
      'in prepare, at write %d or after %d ms',
      async (count, delayMs) => {
        const environment = { ...volume('precious', 'a/b'), ...volume(`new-${count}-${delayMs}`, 'c', '1') };
        let sandbox = '';
        const killed = killAt(count, delayMs);
        const launched = mesos
          .launch({ environment, command: 'cat a/b/f', inSandbox: async (path) => void (sandbox = path) })
          .then((container) => container.ended)
          .catch((error: unknown) => error);
        // Long enough for what comes after the kill, should it come too late.
        await Promise.race([launched, pause(5_000)]);
        await killed();
        await startDaemon();
        await launched;
        await mesos.settle();
        await expectNothingHeld();
        expect(readdirSync(sandbox)).toEqual([]);
        expect(await mesos.run({ environment, command: 'cat a/b/f' })).toEqual(ok('precious\n'));
      },
    );

    it.each([...atWrites, ...after(0, 2, 4, 6, 9, 12)])(
      'in cleanup, at write %d or after %d ms',
      async (count, delayMs) => {
        const scratch = volume(`scratch-${count}-${delayMs}`, 'c', '1', { ON_EXIT: 'delete' });
        const container = await living({ environment: { ...volume('precious', 'a/b'), ...scratch } });
        const killed = killAt(count, delayMs);
        await Promise.race([container.end(), pause(5_000)]);
        await killed();
        await startDaemon();
        await mesos.settle();
        await expectNothingHeld();
        await eventually(async () => expect(await names()).not.toContain(scratch['FLOCKER_ID1']));
        expect(readdirSync(container.sandbox).sort()).toEqual(['started', 'stop']);
        expect(await mesos.run({ environment: volume('precious', 'd'), command: 'cat d/f' })).toEqual(ok('precious\n'));
      },
    );

    it('under a running task: it keeps its volume, and nothing is lost', async () => {
      const container = await living({ environment: volume('precious', 'd') });
      for (let round = 0; round < 3; round += 1) {
        daemon.kill('SIGKILL');
        await daemon.ended;
        await startDaemon();
      }
      expect(await holders()).toEqual([`mesos/${container.id.value} precious`]);
      await container.end();
    });
  });

  describe("with the operator's settings", () => {
    beforeAll(async () => {
      const path = join(cluster.directory, 'node1', 'agent.yml');
      const document = parseDocument(await readFile(path, 'utf8'));
      document.set('isolator', {
        'kill-tasks-of-lost-volumes': true,
        rules: [
          { name: 'web', role: 'web', volumes: ['web-*'], delete: false, 'largest-size': '100MiB' },
          { role: 'guests', user: 'nobody', create: false },
          { role: 'ops' },
        ],
      });
      await writeFile(path, String(document));
      await cluster.kill(1);
    });

    it('holds every task to the rules and says which', async () => {
      const launch = (role: string, environment: Record<string, string>, user = 'root'): Promise<unknown> =>
        mesos.launch({ role, environment, user, command: 'true' });
      const before = await names();
      const refusals = [
        [() => launch('web', volume('db', 'd')), /volume db: none of the 3 rules/],
        [() => launch('web', volume('web-1', 'd', '', { SIZE: '101MiB' })), /rule 1 \(web\).*the largest is 100 MiB/],
        [() => launch('web', volume('web-1', 'd', '', { ON_EXIT: 'delete' })), /rule 1 \(web\).*delete/],
        [() => launch('guests', volume('x', 'd'), 'nobody'), /there is no volume x, and rule 2/],
        [() => launch('guests', volume('x', 'd')), /role guests and user root/],
        [() => launch('*', volume('x', 'd')), /role \* and user root/],
      ] as const;
      for (const [launch, message] of refusals) await expect(launch()).rejects.toThrow(message);
      expect(await names()).toEqual(before);
      const task = { environment: volume('web-1', 'd'), command: 'echo ok' };
      expect(await mesos.run({ ...task, role: 'web' })).toEqual(ok('ok\n'));
      expect(await mesos.run({ ...task, role: 'guests', user: 'nobody' })).toEqual(ok('ok\n'));
    });

    it('reports a volume that is lost under a running container', async () => {
      const container = await living({ role: 'ops', environment: volume('doomed', 'd') });
      const watching = mesos.call('watch', { container_id: container.id });
      const mounts = await readFile(`/proc/${container.pid}/mountinfo`, 'utf8');
      const line = mounts.split('\n').find((one) => one.includes(join(container.sandbox, 'd')));
      const device = line?.split(' - ')[1]?.split(' ')[1] ?? '';
      const path = (await volumes()).find(({ name }) => name === 'doomed')?.path ?? '';
      expect(device).toMatch(/^\/dev\/loop/);
      // Somebody takes the mount away behind the daemon's back.
      const umount = systemProgram('umount', ['--lazy', path]);
      expect(await umount).toBe(0);
      const { status, body } = await watching;
      expect(status).toBe(200);
      expect(body).toMatchObject({
        reason: 'REASON_CONTAINER_LIMITATION',
        message: expect.stringContaining('the task lost volume doomed') as unknown,
      });
      container.kill();
      await container.ended;
    });
  });
});

/** Exit status of a program of the system. */
function systemProgram(file: string, args: readonly string[]): Promise<number | null> {
  return new Promise((resolve, reject) => {
    spawn(file, args).once('error', reject).once('close', resolve);
  });
}

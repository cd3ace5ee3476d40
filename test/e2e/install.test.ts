import { execFile } from 'node:child_process';
import { chmod, mkdir, mkdtemp, readFile, realpath, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually } from './support/eventually.ts';
import { OwnMachine } from './support/own-machine.ts';
import { PROGRAMS } from './support/program.ts';

const run = promisify(execFile);
const PAGE = fileURLToPath(new URL('../../docs/install.md', import.meta.url));
const BUILD = fileURLToPath(new URL('../../packaging/deb/build.sh', import.meta.url));
const CTL = 'flockerctl --certs-path /etc/flocker --user plugin';
const WRITER = 'i=0; while echo $i > /mnt/count; do i=$((i + 1)); sleep 0.05; done; echo broken';
const NAMES = ['m1', 'm2', 'm3'];

/** What stands for ssh and scp: both find the first process of a machine in the file of its name. */
const INSIDE = 'nsenter --target "$(cat "$MACHINES/$host")" --mount --pid --cgroup --net --root --wd';
const SSH = `#!/bin/sh
host=\${1#root@}; shift
exec ${INSIDE} env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive sh -c "$*"
`;
const SCP = `#!/bin/sh
set -e
for last; do :; done
host=\${last%%:*}; host=\${host#root@}; to=\${last#*:}
tar -C / -c $(for one; do [ "$one" = "$last" ] || realpath --relative-to=/ "$one"; done) --transform 's,.*/,,' |
  ${INSIDE} tar -C "$to" --no-same-owner -x
`;

// Skipped without root, which it takes to boot machines.
describe.runIf(process.getuid?.() === 0)('three machines in ten lines (needs root)', () => {
  let directory: string;
  const machines: OwnMachine[] = [];

  beforeAll(async () => {
    directory = await realpath(await mkdtemp(join(tmpdir(), 'flocker-install-')));
    const shared = join(directory, 'shared');
    await mkdir(shared);
    for (const name of NAMES) {
      const machine = await OwnMachine.boot(shared);
      machines.push(machine);
      await writeFile(join(directory, name), String(machine.pid));
    }
    await connect(machines);
  }, 300_000);
  afterAll(async () => {
    for (const machine of machines) await machine.sh('umount /flocker/*; umount /flocker; true').catch(() => undefined);
    for (const machine of machines) await machine.remove();
    await rm(directory, { recursive: true, force: true });
  }, 120_000);

  it('are a cluster, by the very lines of the page', { timeout: 300_000 }, async () => {
    const [, block = ''] =
      /## Three machines in ten lines[\s\S]*?```sh\n([\s\S]*?)```/.exec(await readFile(PAGE, 'utf8')) ?? [];
    expect(block.trim().split('\n').length).toBe(10);
    const bin = join(directory, 'bin');
    await mkdir(bin);
    const ca = `#!/bin/sh\nexec ${process.execPath} ${PROGRAMS.flocker} ca "$@"\n`;
    for (const [name, text] of Object.entries({ ssh: SSH, scp: SCP, 'flocker-ca': ca })) {
      await writeFile(join(bin, name), text);
      await chmod(join(bin, name), 0o755);
    }
    const built = process.env['FLOCKER_DEB'] ?? (await run(BUILD, [directory])).stdout.trim();
    const script = block.replaceAll('/tmp/mesos-module-flocker_*.deb root@', `${built} root@`);
    const env = { ...process.env, PATH: `${bin}:${process.env['PATH']}`, MACHINES: directory };
    await run('bash', ['-euo', 'pipefail', '-c', script], { cwd: directory, env });

    const [m1, m2, m3] = [at(0), at(1), at(2)];
    await allConnected(m3, 3);
    expect(await m2.run('systemctl', 'is-active', 'flocker-control')).toMatchObject({ stdout: 'inactive\n' });
    expect(await m1.sh('stat -c %a /etc/flocker/node.key')).toBe('600\n');
    await m2.sh("flocker run -v webapp:/mnt,size=64MiB -- sh -c 'echo hello > /mnt/text'");
    expect(await m3.sh('flocker run -v webapp:/mnt -- cat /mnt/text')).toBe('hello\n');
  });

  it('get their control service back on another machine when its own is lost, and tasks go on', async () => {
    const [m1, m2, m3] = [at(0), at(1), at(2)];
    const task = m2.start('flocker', 'run', '-v', 'busy:/mnt,size=64MiB', '--', 'sh', '-c', WRITER);
    const count = async (): Promise<number> => Number(await m2.sh('cat /flocker/*/count'));
    await eventually(async () => expect(await count()).toBeGreaterThan(0), 30_000);
    await m1.sh('flocker store backup /srv/shared/flocker.backup');
    await m2.sh('flocker run -v after:/mnt,size=64MiB -- sh -c "echo after > /mnt/text"');
    // All that m1 knew is gone, with its name going to another machine.
    await m1.sh('systemctl disable --now flocker-control; rm -r /var/lib/flocker/store');
    for (const machine of machines) await machine.sh("sed -i 's/.* m1$/10.77.0.3 m1/' /etc/hosts");

    const authority = join(directory, 'authority', 'm1');
    for (const end of ['crt', 'key'])
      await m3.put(join(authority, `control-service.${end}`), `/etc/flocker/control-service.${end}`);
    await m3.sh('flocker store restore /srv/shared/flocker.backup; systemctl enable --now flocker-control');
    await allConnected(m3, 3);
    expect(await m3.sh('stat -c %U /var/lib/flocker/store/entries/CURRENT')).toBe('flocker\n');
    const before = await count();
    await eventually(async () => expect(await count()).toBeGreaterThan(before), 10_000);
    expect(task.running, task.stdout).toBe(true);
    const [unknown] = /flockerctl create .*/.exec(await m3.sh(`${CTL} restored`)) ?? [];
    await m3.sh(`${CTL} ${unknown?.replace('flockerctl ', '').replace('NAME', 'after')} --wait`);
    expect(await m3.sh('flocker run -v after:/mnt -- cat /mnt/text')).toBe('after\n');
    await m3.sh(`${CTL} restored confirm --yes`);
    expect(await m3.sh(`${CTL} restored`)).toBe('Nothing is in doubt.\n');
    task.kill('SIGTERM');
    await task.ended;
  });

  it('let another have the volumes of one that is lost, once somebody says that it is', async () => {
    const [m2, m3] = [at(1), at(2)];
    await m2.sh("flocker run -v webapp:/mnt -- sh -c 'echo last words > /mnt/text'");
    const nodes = JSON.parse(await m3.sh(`${CTL} nodes --json`)) as { uuid: string; host: string }[];
    const lost = nodes.find(({ host }) => host === '10.77.0.2')?.uuid ?? '';
    await m2.remove();
    machines.splice(1, 1);
    await eventually(async () => expect(await m3.sh(`${CTL} nodes --json`)).toContain('"connected":false'), 90_000);
    const refused = await m3.run('sh', '-c', 'timeout 5 flocker run -v webapp:/mnt -- true');
    expect(refused.status).not.toBe(0);
    await m3.sh(`${CTL} node declare-dead ${lost} --yes`);
    expect(await m3.sh('flocker run -v webapp:/mnt -- cat /mnt/text')).toBe('last words\n');
    for (const name of ['webapp', 'busy', 'after']) await m3.sh(`${CTL} destroy --dataset ${name} --wait`);
    for (const machine of machines) await machine.sh('systemctl stop flocker-agent');
  });

  const at = (index: number): OwnMachine => {
    const machine = machines[index];
    if (machine === undefined) throw new Error(`there is no machine ${index}`);
    return machine;
  };
  const allConnected = (from: OwnMachine, count: number): Promise<void> =>
    eventually(async () => {
      const nodes = JSON.parse(await from.sh(`${CTL} nodes --json`)) as { connected: boolean }[];
      expect(nodes.filter(({ connected }) => connected).length).toBe(count);
    }, 60_000);
});

/** A bridge on the first machine, to which the others are connected; all know the names of all. */
async function connect(machines: readonly OwnMachine[]): Promise<void> {
  const [first, ...others] = machines;
  await first?.sh('ip link add name br0 type bridge; ip addr add 10.77.0.1/24 dev br0; ip link set br0 up');
  for (const [at, other] of others.entries()) {
    const number = at + 2;
    await run('nsenter', [
      '--target',
      String(first?.pid),
      '--net',
      'ip',
      'link',
      'add',
      'name',
      `v${number}`,
      'type',
      'veth',
      'peer',
      'name',
      'eth0',
      'netns',
      String(other.pid),
    ]);
    await first?.sh(`ip link set v${number} master br0 up`);
    await other.sh(`ip addr add 10.77.0.${number}/24 dev eth0; ip link set eth0 up`);
  }
  const hosts = NAMES.map((name, at) => `10.77.0.${at + 1} ${name}`).join('\\n');
  for (const machine of machines) await machine.sh(`printf '${hosts}\\n' >> /etc/hosts`);
}

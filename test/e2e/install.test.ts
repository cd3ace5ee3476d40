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

    const [m1, m2, m3] = machines;
    await eventually(async () => {
      const nodes = JSON.parse((await m3?.sh(`${CTL} nodes --json`)) ?? '') as { connected: boolean }[];
      expect(nodes.map(({ connected }) => connected)).toEqual([true, true, true]);
    }, 60_000);
    expect(await m2?.run('systemctl', 'is-active', 'flocker-control')).toMatchObject({ stdout: 'inactive\n' });
    expect(await m1?.sh('stat -c %a /etc/flocker/node.key')).toBe('600\n');
    await m2?.sh("flocker run -v webapp:/mnt,size=64MiB -- sh -c 'echo hello > /mnt/text'");
    expect(await m3?.sh('flocker run -v webapp:/mnt -- cat /mnt/text')).toBe('hello\n');
    await m3?.sh(`${CTL} destroy --dataset webapp --wait`);
    for (const machine of machines) await machine.sh('systemctl stop flocker-agent');
  });
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

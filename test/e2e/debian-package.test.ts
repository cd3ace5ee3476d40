import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { eventually } from './support/eventually.ts';
import { OwnMachine } from './support/own-machine.ts';
import type { Program } from './support/program.ts';

const run = promisify(execFile);
const BUILD = fileURLToPath(new URL('../../packaging/deb/build.sh', import.meta.url));
const UNITS = ['flocker-control', 'flocker-agent', 'flocker-provider'];
const CTL = 'flockerctl --certs-path /etc/flocker --user plugin';
const NEXT_VERSION = '99.0.0';
const isRoot = process.getuid?.() === 0;

/** A task that writes a number each 50 ms and ends when a write fails. */
const WRITER = 'i=0; while echo $i > /mnt/count; do i=$((i + 1)); sleep 0.05; done; echo broken';

// Skipped without root, which it takes to boot a machine of its own.
describe.runIf(isRoot)('the Debian package (needs root)', () => {
  let directory: string;
  let machine: OwnMachine;
  let task: Program;

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'flocker-deb-'));
    const built = process.env['FLOCKER_DEB'] ?? (await run(BUILD, [directory])).stdout.trim();
    const next = join(directory, 'next.deb');
    await run('sh', ['-euc', REPACK, 'sh', built, join(directory, 'tree'), NEXT_VERSION, next]);
    machine = await OwnMachine.boot();
    await machine.put(built, '/tmp/flocker.deb');
    await machine.put(next, '/tmp/next.deb');
  }, 300_000);
  afterEach(async ({ task: { result } }) => {
    if (result?.state === 'fail')
      process.stderr.write(await machine.sh('journalctl --no-pager --lines 40 --unit "flocker-*"'));
  });
  afterAll(async () => {
    await machine?.remove();
    await rm(directory, { recursive: true, force: true });
  }, 60_000);

  const states = async (): Promise<string[]> =>
    Promise.all(UNITS.map(async (unit) => (await machine.run('systemctl', 'is-active', unit)).stdout.trim()));
  const pid = async (unit: string): Promise<string> =>
    (await machine.sh(`systemctl show --property MainPID --value ${unit}`)).trim();
  /** Its id is never used again while the machine runs: a volume with the same one was mounted all the time. */
  const mountOfVolume = async (): Promise<string> =>
    machine.sh('awk \'$5 ~ "^/flocker/" {print $1, $5}\' /proc/self/mountinfo');
  const expectTaskWrites = async (): Promise<void> => {
    const before = Number(await machine.sh('cat /flocker/*/count'));
    await eventually(
      async () => expect(Number(await machine.sh('cat /flocker/*/count'))).toBeGreaterThan(before),
      10_000,
    );
    expect(task.running, task.stderr).toBe(true);
  };
  const nodeIsConnected = async (): Promise<void> =>
    eventually(async () => expect(await machine.sh(`${CTL} nodes --json`)).toContain('"connected":true'), 30_000);

  it('is installed, and starts nothing', async () => {
    await machine.sh(`dpkg -i ${await whatDpkgNeeds(machine)} /tmp/flocker.deb`);
    expect(await states()).toEqual(['inactive', 'inactive', 'inactive']);
    expect(await machine.sh('stat -c "%a %U %n" /etc/flocker /var/lib/flocker')).toBe(
      '700 root /etc/flocker\n711 root /var/lib/flocker\n',
    );
    expect(await machine.sh('id -nu flocker; flocker --version; flocker-ca --version || true')).toContain('flocker\n');
    expect(await machine.sh('find /usr/lib/mesos-module-flocker -name "*.test.*" -path "*/dist/*"')).toBe('');
    expect((await machine.sh('cd /usr/share/doc/mesos-module-flocker && LC_ALL=C ls')).trim().split('\n')).toEqual([
      'CHANGELOG.md.gz',
      'README.md',
      'changelog.gz',
      'copyright',
      'docs',
      'examples',
    ]);
  });

  it('starts nothing that is not configured, and does not call that a failure', async () => {
    await machine.sh('systemctl start flocker-control flocker-agent flocker-provider');
    expect(await states()).toEqual(['inactive', 'inactive', 'inactive']);
  });

  it('has units without faults, and shuts in what need not mount', async () => {
    for (const unit of UNITS) {
      const { status, stdout, stderr } = await machine.run('systemd-analyze', 'verify', '--man=no', `${unit}.service`);
      expect({ unit, status, stdout, stderr }).toEqual({ unit, status: 0, stdout: '', stderr: '' });
    }
    // 100 is bare, 0 is shut.
    for (const [unit, threshold] of [
      ['flocker-control', 20],
      ['flocker-provider', 35],
      ['flocker-agent', 80],
    ] as const)
      await machine.sh(`systemd-analyze security --offline=true --threshold=${threshold} --no-pager ${unit}.service`);
  });

  it('makes a cluster', async () => {
    await machine.sh(CONFIGURE);
    await machine.sh('systemctl enable --now flocker-control flocker-agent');
    expect(await states()).toEqual(['active', 'active', 'inactive']);
    expect(await machine.sh('ps -o user= -C node --sort user | uniq')).toBe('flocker\nroot\n');
    expect(await machine.sh('stat -c "%a %U" /var/lib/flocker/store')).toBe('700 flocker\n');
    await nodeIsConnected();
    task = machine.start('flocker', 'run', '-v', 'webapp:/mnt,size=64MiB', '--', 'sh', '-c', WRITER);
    await eventually(async () => expect(await machine.sh('cat /flocker/*/count')).toMatch(/\d/), 30_000);
    await expectTaskWrites();
  });

  it('mounts in the namespace of the machine, and the shut-in control service does not keep mounts', async () => {
    const agent = await pid('flocker-agent');
    expect(await machine.sh(`readlink /proc/${agent}/ns/mnt`)).toBe(await machine.sh('readlink /proc/1/ns/mnt'));
    await machine.sh('flocker run -v passing:/mnt,size=64MiB -- touch /mnt/here');
    await machine.sh(`${CTL} destroy --wait --dataset passing`);
    const control = await pid('flocker-control');
    expect(await machine.sh(`grep -c /flocker/ /proc/${control}/mountinfo || true`)).toBe('1\n');
    expect(await machine.sh('losetup --noheadings --list --output back-file | grep -c flocker/loopback')).toBe('1\n');
  });

  it.each([
    ['is restarted', 'systemctl restart flocker-agent'],
    ['is killed and started again by systemd', 'systemctl kill --kill-whom=main --signal=KILL flocker-agent'],
  ])('keeps a volume mounted and its task writing when the agent %s', async (_, command) => {
    const [mount, before] = [await mountOfVolume(), await pid('flocker-agent')];
    await machine.sh(command);
    await eventually(async () => expect([before, '0']).not.toContain(await pid('flocker-agent')), 30_000);
    await nodeIsConnected();
    expect(await mountOfVolume()).toBe(mount);
    await expectTaskWrites();
  });

  it('has its store backed up while it runs, and restored when it is damaged, for the user that it runs as', async () => {
    const mount = await mountOfVolume();
    await machine.sh('flocker store backup /root/flocker.backup');
    await machine.sh('systemctl stop flocker-control; rm /var/lib/flocker/store/entries/CURRENT');
    await machine.sh('systemctl start flocker-control');
    await eventually(async () =>
      expect(await machine.sh('journalctl --unit flocker-control')).toContain(
        'The store in /var/lib/flocker/store is damaged',
      ),
    );
    await machine.sh('systemctl stop flocker-control; flocker store restore --force /root/flocker.backup');
    expect(await machine.sh('find /var/lib/flocker/store ! -user flocker')).toBe('');
    await machine.sh('systemctl start flocker-control');
    await nodeIsConnected();
    expect(await machine.sh(`${CTL} restored`)).toContain('Every dataset in it was found or confirmed.');
    await machine.sh(`${CTL} restored confirm --yes`);
    expect(await mountOfVolume()).toBe(mount);
    await expectTaskWrites();
  });

  it('keeps its volumes when the node gets a new certificate', async () => {
    const mount = await mountOfVolume();
    await machine.sh(
      'mkdir /root/renewed; cd /root/authority; ' +
        'flocker-ca create-node-certificate --node-id 0b1b8a3a-5f3a-4b52-a0f7-0d6cbd0d2f01 -o /root/renewed; ' +
        'for end in crt key; do cp /root/renewed/0b1b8a3a-*.$end /etc/flocker/node.$end; done',
    );
    await machine.sh('systemctl restart flocker-agent');
    await nodeIsConnected();
    expect(await mountOfVolume()).toBe(mount);
    await expectTaskWrites();
  });

  it('makes nothing where its storage is not mounted, and goes on when it is', async () => {
    await machine.sh('mount -t tmpfs tmpfs /var/lib/flocker/loopback');
    await machine.sh(`${CTL} create --node 0b1b8a3a --size 64M -m name=hidden`);
    await eventually(
      async () => expect(await machine.sh(`${CTL} --json inspect hidden`)).toContain('"code":"pool_unreachable"'),
      30_000,
    );
    expect(await machine.sh('ls -A /var/lib/flocker/loopback')).toBe('');
    await expectTaskWrites();
    await machine.sh('umount /var/lib/flocker/loopback; systemctl restart flocker-agent');
    await eventually(
      async () => expect(await machine.sh(`${CTL} --json inspect hidden`)).toContain('"status":"mounted"'),
      30_000,
    );
    await machine.sh(`${CTL} destroy --dataset hidden --wait`);
    await expectTaskWrites();
  });

  it('restarts on an upgrade what runs, and nothing else, and leaves mounts alone', async () => {
    const [mount, ...before] = [await mountOfVolume(), await pid('flocker-control'), await pid('flocker-agent')];
    await machine.sh(`dpkg -i ${await whatDpkgNeeds(machine)} /tmp/next.deb`);
    expect(await machine.sh('dpkg-query --show --showformat \\${Version} mesos-module-flocker')).toBe(NEXT_VERSION);
    expect(await states()).toEqual(['active', 'active', 'inactive']);
    const after = [await pid('flocker-control'), await pid('flocker-agent')];
    expect(after.filter((one) => before.includes(one))).toEqual([]);
    await nodeIsConnected();
    expect(await mountOfVolume()).toBe(mount);
    await expectTaskWrites();
  });

  it('leaves volumes, configuration and what is mounted when it is purged', async () => {
    const mount = await mountOfVolume();
    await machine.sh('dpkg --purge mesos-module-flocker 2>/tmp/said');
    expect(await machine.sh('cat /tmp/said')).toContain('/var/lib/flocker is left as it is');
    expect(await states()).toEqual(['inactive', 'inactive', 'inactive']);
    expect(await mountOfVolume()).toBe(mount);
    await expectTaskWrites();
    expect(await machine.sh('ls /etc/flocker/agent.yml /var/lib/flocker/store/acknowledged')).toContain('agent.yml');
    expect(await machine.sh('find /var/lib/flocker/loopback -name "*.img" -o -type f -size +60M | head -1')).not.toBe(
      '',
    );
    task.kill('SIGTERM');
    await task.ended;
    await machine.sh('umount /flocker/*');
  });
});

/** Its arguments: a package, a directory to make, the version to give it, the new package. */
const REPACK = `
dpkg-deb -R "$1" "$2"
sed -i "s/^Version: .*/Version: $3/" "$2/DEBIAN/control"
dpkg-deb --build --root-owner-group "$2" "$4" >/dev/null
`;

const CONFIGURE = `
umask 077
mkdir /root/authority && cd /root/authority
flocker-ca initialize test
flocker-ca create-control-certificate 127.0.0.1
flocker-ca create-node-certificate --node-id 0b1b8a3a-5f3a-4b52-a0f7-0d6cbd0d2f01
flocker-ca create-api-certificate plugin
cp cluster.crt /etc/flocker
for end in crt key; do
  cp control-127.0.0.1.$end /etc/flocker/control-service.$end
  cp 0b1b8a3a-*.$end /etc/flocker/node.$end
  cp plugin.$end /etc/flocker/plugin.$end
done
cat > /etc/flocker/agent.yml <<END
version: 1
control-service:
  hostname: 127.0.0.1
dataset:
  backend: loopback
END
`;

/** Where Node does not come from a package of the distribution, dpkg cannot know that it is there. */
async function whatDpkgNeeds(machine: OwnMachine): Promise<string> {
  const { status } = await machine.run('dpkg', '-s', 'nodejs');
  if (status === 0) return '';
  await machine.sh(`[ -e /usr/bin/node ] || ln -s ${process.execPath} /usr/bin/node`);
  return '--force-depends';
}

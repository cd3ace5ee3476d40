import { describe, expect, it } from 'vitest';
import { type AgentConfig, parseAgentConfig } from '../../agent/agent-config.ts';
import { parseMountTable } from '../../agent/host/mount-table.ts';
import type { FileFacts, Machine } from './machine.ts';
import { checkMachine } from './machine-checks.ts';
import { checkMesos, flagsOf } from './mesos-checks.ts';
import { satisfies } from './node-range.ts';
import { checkStorage } from './storage-checks.ts';

interface Given {
  readonly texts?: Readonly<Record<string, string>>;
  readonly facts?: Readonly<Record<string, FileFacts>>;
  readonly programs?: readonly string[];
  readonly mountinfo?: string;
  readonly availableBytes?: number;
}

/** A machine that has what is given and nothing else. */
function machine({ texts = {}, facts = {}, programs = [], mountinfo = '', availableBytes = 50 }: Given): Machine {
  const below = (directory: string): string[] =>
    Object.keys(texts).flatMap((path) =>
      path.startsWith(`${directory}/`) ? path.slice(directory.length + 1).split('/') : [],
    );
  return {
    isRoot: true,
    nodeVersion: 'v20.19.5',
    nodeEngines: '^20.19.0 || >=22.3.0',
    wallMs: () => 0,
    readText: (path) => Promise.resolve(texts[path]),
    facts: (path) => Promise.resolve(facts[path]),
    list: (directory) => Promise.resolve([...new Set(below(directory))]),
    room: () => Promise.resolve({ totalBytes: 100, availableBytes }),
    findProgram: (name) => Promise.resolve(programs.includes(name) ? `/usr/sbin/${name}` : undefined),
    mounts: () => Promise.resolve(parseMountTable(mountinfo)),
  };
}

const config: AgentConfig = parseAgentConfig(
  'version: 1\ncontrol-service: {hostname: control.example}\ndataset: {backend: loopback}\n',
  'agent.yml',
);
const faults = (findings: readonly { status: string; text: string }[]): string[] =>
  findings.flatMap(({ status, text }) => (status === 'fault' || status === 'warning' ? text : []));

describe('the range of Nodes', () => {
  it.each([
    ['v20.19.0', true],
    ['v20.18.9', false],
    ['v21.9.0', false],
    ['v22.2.9', false],
    ['v22.3.0', true],
    ['v24.1.0', true],
  ])('%s: %s', (version, fits) => {
    expect(satisfies(version, '^20.19.0 || >=22.3.0')).toBe(fits);
  });
});

describe('the machine', () => {
  const texts = { '/proc/filesystems': 'nodev\tproc\n\text4\n\txfs\n' };
  const loop = { '/dev/loop-control': { kind: 'other', uid: 0, mode: 0o660 } } as const;
  const programs = ['mkfs.ext4', 'resize2fs', 'mkfs.xfs', 'xfs_growfs', 'fsfreeze'];

  it('is well with everything there', async () => {
    expect(faults(await checkMachine(machine({ texts, facts: loop, programs }), 'loopback'))).toEqual([]);
  });

  it('lacks a program, and loop devices', async () => {
    const found = await checkMachine(machine({ texts, programs: programs.slice(1) }), 'loopback');
    expect(faults(found)).toEqual([
      'there are no loop devices: /dev/loop-control is missing',
      'the program mkfs.ext4 is missing: volumes with ext4 fails',
    ]);
    expect(found.find(({ text }) => text.includes('mkfs.ext4'))?.remedy).toBe('apt install e2fsprogs');
  });

  it('says of a filesystem that is not listed that it does not know', async () => {
    const found = await checkMachine(machine({ facts: loop, programs }), 'loopback');
    expect(found.filter(({ status }) => status === 'unknown')).toHaveLength(2);
  });
});

describe('storage', () => {
  const root = '22 1 8:1 / / rw shared:1 - ext4 /dev/sda1 rw\n';

  it('has to be on a shared mount', async () => {
    expect(faults(await checkStorage(machine({ mountinfo: root }), config))).toEqual([]);
    const mine = `${root}30 22 8:2 / /flocker rw - ext4 /dev/sda2 rw\n`;
    expect(faults(await checkStorage(machine({ mountinfo: mine }), config))).toEqual([
      '/flocker lies on /flocker, which is not shared: the agent makes it so when it starts',
    ]);
  });

  it('is nearly full', async () => {
    expect(faults(await checkStorage(machine({ mountinfo: root, availableBytes: 4 }), config))).toEqual([
      '/var/lib/flocker/agent: 4 bytes of 100 bytes free',
    ]);
  });

  it('has a loop device whose file was deleted', async () => {
    const texts = {
      '/sys/block/loop0/loop/backing_file': '/pool/a\n',
      '/sys/block/loop1/loop/backing_file': '/pool/b (deleted)\n',
    };
    const found = faults(await checkStorage(machine({ mountinfo: root, texts }), config));
    expect(found).toEqual([expect.stringContaining('/dev/loop1 on /pool/b (deleted)')]);
  });
});

describe("a Mesos agent's flags", () => {
  const agent = (args: readonly string[], more: Readonly<Record<string, string>> = {}): Machine =>
    machine({ texts: { '/proc/77/cmdline': ['/usr/sbin/mesos-agent', ...args, ''].join('\0'), ...more } });
  const MODULE = 'com_clusterhq_flocker_FlockerIsolator';
  const modules = (socket: string): string => `{"parameters": [{"key": "socket", "value": "${socket}"}]}`;

  it('are read from the command line before the environment', () => {
    const flags = flagsOf(
      ['--isolation=a,b', '--port', '5051', '--no-help'],
      ['MESOS_ISOLATION=c', 'MESOS_WORK_DIR=/w'],
    );
    expect(Object.fromEntries(flags)).toMatchObject({ isolation: 'a,b', port: '5051', work_dir: '/w' });
  });

  it('bring volumes to tasks', async () => {
    const args = [`--isolation=filesystem/linux,${MODULE}`, '--modules=file:///m.json'];
    const found = await checkMesos(agent(args, { '/m.json': modules('/run/flocker/isolator.sock') }), config);
    expect(found.map(({ status }) => status)).toEqual(['ok']);
  });

  it('look for another socket', async () => {
    const args = [`--isolation=filesystem/linux,${MODULE}`, '--modules=/m.json'];
    const found = await checkMesos(agent(args, { '/m.json': modules('/elsewhere.sock') }), config);
    expect(faults(found)).toEqual([
      'the Mesos agent (pid 77) looks for /elsewhere.sock, and flocker agent listens on /run/flocker/isolator.sock',
    ]);
  });

  it('give no mounts, no volumes, and lack dvdcli', async () => {
    expect(faults(await checkMesos(agent(['--launcher=posix']), config))).toHaveLength(3);
    const docker = await checkMesos(agent(['--isolation=filesystem/linux,docker/volume']), config);
    expect(faults(docker)).toEqual(['the Mesos agent (pid 77) uses docker/volume, and there is no dvdcli']);
  });

  it('are not asked for where no Mesos agent runs', async () => {
    expect(await checkMesos(machine({ texts: { '/proc/1/cmdline': 'init\0' } }), config)).toEqual([]);
  });
});

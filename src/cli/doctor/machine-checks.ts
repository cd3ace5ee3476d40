import { type Finding, fault, ok, unknown, warning } from './finding.ts';
import type { Machine } from './machine.ts';
import { satisfies } from './node-range.ts';

interface Tool {
  readonly name: string;
  readonly debianPackage: string;
  readonly use: string;
}

const COMMON: readonly Tool[] = [
  { name: 'mkfs.ext4', debianPackage: 'e2fsprogs', use: 'volumes with ext4' },
  { name: 'resize2fs', debianPackage: 'e2fsprogs', use: 'making ext4 volumes larger' },
  { name: 'mkfs.xfs', debianPackage: 'xfsprogs', use: 'volumes with xfs' },
  { name: 'xfs_growfs', debianPackage: 'xfsprogs', use: 'making xfs volumes larger' },
  { name: 'fsfreeze', debianPackage: 'util-linux', use: 'snapshots of mounted volumes' },
];
const TOOLS: Readonly<Record<string, readonly Tool[]>> = {
  loopback: COMMON,
  btrfs: [
    { name: 'btrfs', debianPackage: 'btrfs-progs', use: 'the btrfs backend' },
    { name: 'mkfs.btrfs', debianPackage: 'btrfs-progs', use: 'making a pool of a device or a file' },
  ],
  ceph: [{ name: 'ceph-fuse', debianPackage: 'ceph-fuse', use: 'mounting volumes' }],
};
const FILESYSTEMS: Readonly<Record<string, readonly string[]>> = { loopback: ['ext4', 'xfs'], btrfs: ['btrfs'] };
const NEEDS_ROOT: ReadonlySet<string> = new Set(['loopback', 'btrfs', 'ceph']);

/** Node, rights, kernel and programs, for an agent with this backend. */
export async function checkMachine(machine: Machine, backend: string | undefined): Promise<Finding[]> {
  return [
    checkNode(machine),
    ...checkRoot(machine, backend),
    ...(await checkKernel(machine, backend)),
    ...(await checkPrograms(machine, backend)),
  ];
}

function checkNode({ nodeVersion, nodeEngines }: Machine): Finding {
  return satisfies(nodeVersion, nodeEngines)
    ? ok(`Node ${nodeVersion}`)
    : fault(`Node ${nodeVersion} is not among those that this program runs on`, `Install Node ${nodeEngines}.`);
}

function checkRoot({ isRoot }: Machine, backend: string | undefined): Finding[] {
  if (isRoot) return [ok('this user is root')];
  if (backend !== undefined && NEEDS_ROOT.has(backend))
    return [
      fault(`the backend ${backend} mounts filesystems, which only root may`, 'Run the agent, and this, as root.'),
    ];
  return [warning('this user is not root, so some checks see less', 'Run this as root.')];
}

async function checkKernel(machine: Machine, backend: string | undefined): Promise<Finding[]> {
  const known = await machine.readText('/proc/filesystems');
  const names = new Set((known ?? '').split('\n').map((line) => line.split('\t').at(-1)));
  const findings = (FILESYSTEMS[backend ?? ''] ?? []).map((name): Finding => {
    if (names.has(name)) return ok(`the kernel has ${name}`);
    // A module that is not loaded yet is not listed.
    return unknown(`the kernel does not list ${name}; it may be a module that is not loaded yet`);
  });
  if (backend !== 'loopback') return findings;
  const control = await machine.facts('/dev/loop-control');
  const loop =
    control === undefined
      ? fault('there are no loop devices: /dev/loop-control is missing', 'modprobe loop')
      : ok('there are loop devices');
  return [...findings, loop];
}

async function checkPrograms(machine: Machine, backend: string | undefined): Promise<Finding[]> {
  const findings: Finding[] = [];
  for (const { name, debianPackage, use } of TOOLS[backend ?? ''] ?? []) {
    const path = await machine.findProgram(name);
    if (path !== undefined) findings.push(ok(path));
    else findings.push(fault(`the program ${name} is missing: ${use} fails`, `apt install ${debianPackage}`));
  }
  return findings;
}

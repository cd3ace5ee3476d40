import { type ChildProcess, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { readdir, readlink } from 'node:fs/promises';
import { sh, signal } from './program.ts';
import type { CutWay } from './schedule.ts';

/** Where the control service listens: the bridge that all machines are on. */
export const HUB = '10.77.0.1';

/**
 * A boot of a machine has an id of its own, and mounts below `$2` reach the namespaces of containers, as everywhere where systemd runs.
 */
const BOOT = `
set -e
id=$(mktemp)
echo "$1" > "$id"
mount --no-mtab --bind "$id" /proc/sys/kernel/random/boot_id
rm "$id"
mount --no-mtab --bind "$2" "$2"
mount --no-mtab --make-shared "$2"
ip link set lo up
echo up
exec sleep infinity
`;

/** Makes this network namespace the hub. */
export async function makeHub(): Promise<void> {
  await sh('ip', 'link', 'set', 'lo', 'up');
  await sh('ip', 'link', 'add', 'hub', 'type', 'bridge');
  await sh('ip', 'address', 'add', `${HUB}/24`, 'dev', 'hub');
  await sh('ip', 'link', 'set', 'hub', 'up');
}

/** A machine: a mount and a network namespace with an address of its own. It ends with its last process. */
export class Machine {
  readonly address: string;
  readonly #number: number;
  readonly #shared: string;
  #init: ChildProcess | undefined;
  boots = 0;

  /** Mounts below `shared` reach containers. */
  constructor(number: number, shared: string) {
    this.#number = number;
    this.#shared = shared;
    this.address = `10.77.0.${11 + number}`;
  }

  get on(): boolean {
    return this.#init !== undefined;
  }

  get pid(): number {
    const pid = this.#init?.pid;
    if (pid === undefined) throw new Error(`machine ${this.#number} is off`);
    return pid;
  }

  async boot(): Promise<void> {
    const own = ['--net', '--mount', '--propagation', 'private'];
    const boot = ['sh', '-c', BOOT, 'boot', randomUUID(), this.#shared];
    const init = spawn('unshare', [...own, ...boot], { stdio: ['ignore', 'pipe', 'inherit'] });
    await new Promise<void>((resolve, reject) => {
      init.once('error', reject);
      init.once('exit', (status) => reject(new Error(`machine ${this.#number} did not start: ${status}`)));
      init.stdout.once('data', () => resolve());
    });
    const cable = `cable${this.#number}`;
    await sh('ip', 'link', 'add', cable, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', String(init.pid));
    await sh('ip', 'link', 'set', cable, 'master', 'hub', 'up');
    this.#init = init;
    this.boots += 1;
    await this.sh('ip', 'address', 'add', `${this.address}/24`, 'dev', 'eth0');
    await this.sh('ip', 'link', 'set', 'eth0', 'up');
  }

  /** The command line that runs a program on it. */
  inside(file: string, ...args: readonly string[]): [string, ...string[]] {
    return ['nsenter', '--target', String(this.pid), '--net', '--mount', '--', file, ...args];
  }

  async sh(...command: readonly [string, ...string[]]): Promise<string> {
    const [file, ...args] = this.inside(...command);
    return sh(file, ...args);
  }

  async cut(way: CutWay): Promise<void> {
    if (way === 'both') await sh('ip', 'link', 'set', `cable${this.#number}`, 'down');
    if (way === 'out') await this.sh('ip', 'route', 'replace', 'blackhole', `${HUB}/32`);
    if (way === 'in') await sh('ip', 'route', 'replace', 'blackhole', `${this.address}/32`);
  }

  async heal(): Promise<void> {
    await sh('ip', 'route', 'del', 'blackhole', `${this.address}/32`).catch(() => undefined);
    if (!this.on) return;
    await sh('ip', 'link', 'set', `cable${this.#number}`, 'up');
    await this.sh('ip', 'route', 'del', 'blackhole', `${HUB}/32`).catch(() => undefined);
  }

  /** Ends every process on it at once, and with the last its mounts. */
  async powerOff(): Promise<void> {
    const namespace = await readlink(`/proc/${this.pid}/ns/net`);
    this.#init = undefined;
    for (;;) {
      const left = await processesIn(namespace);
      if (left.length === 0) break;
      for (const pid of left) signal(pid, 'SIGKILL');
      await new Promise((resolve) => {
        setTimeout(resolve, 5);
      });
    }
    await sh('ip', 'link', 'del', `cable${this.#number}`).catch(() => undefined);
  }
}

/** Processes whose network namespace is this one, zombies left out. */
export async function processesIn(namespace: string): Promise<number[]> {
  const pids = (await readdir('/proc')).map(Number).filter(Number.isInteger);
  const theirs = await Promise.all(pids.map((pid) => readlink(`/proc/${pid}/ns/net`).catch(() => '')));
  return pids.filter((_, index) => theirs[index] === namespace);
}

import { spawn } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, rmdir, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'vitest';
import { eventually } from './eventually.ts';
import { type Ended, Program } from './program.ts';

const BOOT = fileURLToPath(new URL('./own-machine.sh', import.meta.url));
/** Where systemd keeps its cgroups: alone, or beside the controllers of version 1. */
const CGROUP_ROOTS = ['/sys/fs/cgroup/systemd', '/sys/fs/cgroup'];

/** A throw-away copy of this machine with a systemd of its own: other processes, mounts, cgroups and network. Needs root. */
export class OwnMachine {
  readonly #directory: string;
  readonly #cgroup: string;
  readonly #init: number;

  private constructor(directory: string, cgroup: string, init: number) {
    this.#directory = directory;
    this.#cgroup = cgroup;
    this.#init = init;
  }

  /** `shared` is a directory of this machine that it has at /srv/shared. */
  static async boot(shared = ''): Promise<OwnMachine> {
    const directory = await mkdtemp(join(tmpdir(), 'flocker-machine-'));
    const cgroup = await ownCgroup(basename(directory));
    const into = `echo $$ > "$1/cgroup.procs"; shift; exec "$@"`;
    const namespaces = ['unshare', '--mount', '--propagation', 'private', '--pid', '--fork', '--cgroup', '--net'];
    const parameters = ['-c', into, 'sh', cgroup, ...namespaces, 'sh', BOOT, directory, shared];
    const child = spawn('sh', parameters, { stdio: ['ignore', 'pipe', 'pipe'] });
    let said = '';
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (chunk: Buffer) => {
        said += chunk.toString();
      });
    try {
      let init: number | undefined;
      await eventually(async () => {
        init = await onlyChild(child.pid ?? -1);
        expect(init, `no systemd: ${said}`).toBeDefined();
        expect(await readFile(`/proc/${init}/comm`, 'utf8'), said).toBe('systemd\n');
      }, 20_000);
      const machine = new OwnMachine(directory, cgroup, init ?? -1);
      await eventually(async () => {
        const { stdout } = await machine.run('systemctl', 'is-active', 'basic.target');
        expect(stdout, said).toBe('active\n');
      }, 30_000);
      return machine;
    } catch (error) {
      child.kill('SIGKILL');
      throw error;
    }
  }

  /** A program on the machine. */
  start(program: string, ...args: readonly string[]): Program {
    const inside = ['--target', String(this.#init), '--mount', '--pid', '--cgroup', '--net', '--root', '--wd'];
    const path = 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
    return new Program('nsenter', [...inside, 'env', '-i', path, 'LC_ALL=C.UTF-8', program, ...args], process.env);
  }

  run(program: string, ...args: readonly string[]): Promise<Ended> {
    return this.start(program, ...args).ended;
  }

  /** Its first process, as this machine counts. */
  get pid(): number {
    return this.#init;
  }

  /** Standard output of a shell script that has to end well. */
  async sh(script: string): Promise<string> {
    const { status, stdout, stderr } = await this.run('sh', '-euc', script);
    if (status !== 0) throw new Error(`${script} ended with ${status}: ${stderr}${stdout}`);
    return stdout;
  }

  /** Copies a file of this machine onto it. */
  async put(path: string, target: string): Promise<void> {
    await writeFile(`/proc/${this.#init}/root${target}`, await readFile(path));
  }

  /** Ends every process on it, and with them all of it. */
  async remove(): Promise<void> {
    process.kill(this.#init, 'SIGKILL');
    await eventually(async () => expect(await onlyChild(this.#init)).toBeUndefined(), 10_000);
    await eventually(() => removeCgroups(this.#cgroup), 10_000);
    await eventually(() => rm(this.#directory, { recursive: true }), 10_000);
  }
}

async function ownCgroup(name: string): Promise<string> {
  const [first = '', second = ''] = CGROUP_ROOTS;
  const root = await readdir(first).then(
    () => first,
    () => second,
  );
  await mkdir(join(root, name), { recursive: true });
  return join(root, name);
}

/** cgroups are removed by rmdir(2), innermost first; the files in them cannot be. */
async function removeCgroups(directory: string): Promise<void> {
  for (const entry of await readdir(directory, { withFileTypes: true }))
    if (entry.isDirectory()) await removeCgroups(join(directory, entry.name));
  await rmdir(directory);
}

async function onlyChild(pid: number): Promise<number | undefined> {
  const text = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8').catch(() => '');
  const [child] = text.split(' ').filter((part) => part !== '');
  return child === undefined ? undefined : Number(child);
}

import { execFile } from 'node:child_process';
import { mkdtemp, readdir, readFile, realpath, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect } from 'vitest';
import { eventually } from './eventually.ts';

const run = promisify(execFile);

/**
 * A directory for everything that a test starts: each process gets it as TMPDIR and hands it on, so that whatever is left
 * on this machine can be told from what others do on it.
 */
export class Scratch {
  readonly directory: string;
  readonly env: NodeJS.ProcessEnv;

  private constructor(directory: string) {
    this.directory = directory;
    this.env = { ...process.env, TMPDIR: directory };
  }

  static async make(): Promise<Scratch> {
    return new Scratch(await mkdtemp(join(await realpath(tmpdir()), 'flocker-e2e-')));
  }

  /** Processes, mounts in their mount namespaces and in ours, and loop devices of this directory, one line each. */
  async traces(): Promise<string[]> {
    const [processes, mounts, loops] = await Promise.all([this.processes(), this.#mounts(), this.#loops()]);
    return [
      ...processes.map(({ pid, commandLine }) => `process ${pid}: ${commandLine}`),
      ...mounts.map((line) => `mount ${line}`),
      ...loops.map(({ device, file }) => `loop device ${device}: ${file}`),
    ];
  }

  /** Processes that were started by a test with this directory, zombies left out (they have no command line). */
  async processes(): Promise<{ pid: number; commandLine: string }[]> {
    const found: { pid: number; commandLine: string }[] = [];
    for (const pid of await pids()) {
      const [environment, commandLine] = await Promise.all([
        text(`/proc/${pid}/environ`),
        text(`/proc/${pid}/cmdline`),
      ]);
      const ours = `${environment}\0`.includes(`TMPDIR=${this.directory}\0`) || commandLine.includes(this.directory);
      if (ours && commandLine !== '') found.push({ pid, commandLine: commandLine.replaceAll('\0', ' ').trim() });
    }
    return found;
  }

  /** Fails unless no process, mount and loop device is left; orphans get a moment, as they are reaped lazily. */
  async expectNoTraces(): Promise<void> {
    await eventually(async () => expect(await this.traces()).toEqual([]));
  }

  /** Checks that nothing is left, takes away what is, and removes the directory. */
  async remove(): Promise<void> {
    try {
      await this.expectNoTraces();
    } finally {
      await this.#clear();
      await rm(this.directory, { recursive: true, force: true });
    }
  }

  /** Takes everything away as a power cut would: processes, then mounts, then loop devices. */
  async powerCut(): Promise<void> {
    await this.#clear();
    await this.expectNoTraces();
  }

  async #clear(): Promise<void> {
    // Those that start others first, and again for what they started meanwhile.
    for (let left = await this.processes(); left.length > 0; left = await this.processes()) {
      for (const { pid } of left) kill(pid);
    }
    for (const line of await this.#mounts()) await run('umount', [line.split(' ')[1] ?? '']).catch(() => undefined);
    for (const { device } of await this.#loops()) await run('losetup', ['--detach', device]).catch(() => undefined);
  }

  /** `<pid> <mount point>`, innermost first; of several processes in one mount namespace only the first counts. */
  async #mounts(): Promise<string[]> {
    const tables = new Set<string>();
    const found: string[] = [];
    // A process of somebody else may have copied our mounts with its namespace; that is not ours to judge.
    const ours = (await this.processes()).map(({ pid }) => pid);
    for (const pid of [process.pid, ...ours]) {
      const table = await text(`/proc/${pid}/mountinfo`);
      if (tables.has(table)) continue;
      tables.add(table);
      const lines = table.split('\n').filter((line) => line.includes(this.directory));
      found.push(...lines.map((line) => `${pid} ${line.split(' ')[4]}`).toReversed());
    }
    return found;
  }

  async #loops(): Promise<{ device: string; file: string }[]> {
    const names = (await readdir('/sys/block')).filter((name) => name.startsWith('loop'));
    const all = await Promise.all(
      names.map(async (name) => ({
        device: `/dev/${name}`,
        file: (await text(`/sys/block/${name}/loop/backing_file`)).trim(),
      })),
    );
    return all.filter(({ file }) => file.includes(this.directory));
  }
}

async function pids(): Promise<number[]> {
  const names = await readdir('/proc');
  return names.map(Number).filter((pid) => Number.isInteger(pid) && pid !== process.pid);
}

/** The text of a file of the kernel; empty when what it is about is gone. */
function text(path: string): Promise<string> {
  return readFile(path, 'utf8').catch(() => '');
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It has ended.
  }
}

import { execFile } from 'node:child_process';
import { readdir, readFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { expect } from 'vitest';

const run = promisify(execFile);

/** What of this machine a test could leave behind. */
export interface MachineState {
  readonly mounts: readonly string[];
  readonly loops: readonly string[];
  readonly daemons: readonly string[];
}

/** Mount points, loop devices in use, and processes of ours. */
export async function machineState(): Promise<MachineState> {
  const table = await readFile('/proc/self/mountinfo', 'utf8');
  const mounts = table.split('\n').flatMap((line) => line.split(' ')[4] ?? []);
  const loops = (await run('losetup', ['--all', '--noheadings', '--output', 'NAME'])).stdout.trim().split('\n');
  return { mounts: mounts.sort(), loops: loops.filter((name) => name !== '').sort(), daemons: await ourProcesses() };
}

/** Fails the test unless everything is as it was `before`; gives orphans a moment, as their parent reaps them lazily. */
export async function expectSameMachine(before: MachineState): Promise<void> {
  await expect.poll(machineState, { timeout: 10_000, interval: 100 }).toEqual(before);
}

/** Processes that run from this project's build, zombies left out (they have no command line). */
async function ourProcesses(): Promise<string[]> {
  const found: string[] = [];
  for (const pid of await readdir('/proc')) {
    if (!/^\d+$/.test(pid) || Number(pid) === process.pid) continue;
    const commandLine = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
    if (commandLine.includes('/dist/src/bin/')) found.push(`${pid} ${commandLine.replaceAll('\0', ' ').trim()}`);
  }
  return found.sort();
}

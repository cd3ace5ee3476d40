import { lstat, readdir, readFile, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { readMountTable } from '../../agent/host/mount-table.ts';
import { SYSTEM_ENVIRONMENT } from '../../agent/host/run-program.ts';
import type { Clock } from '../../kit/clock.ts';
import type { FileFacts, Machine } from './machine.ts';

/** Files under /proc and configuration are never larger. */
const LONGEST_TEXT_BYTES = 2 ** 20;

/** The machine that this process runs on. */
export function systemMachine(
  process: { readonly uid: number | undefined; readonly nodeVersion: string; readonly nodeEngines: string },
  clock: Clock,
): Machine {
  const facts = async (path: string): Promise<FileFacts | undefined> => {
    const stats = await orUndefined(lstat(path));
    if (stats === undefined) return undefined;
    const kind = stats.isSocket() ? 'socket' : stats.isDirectory() ? 'directory' : stats.isFile() ? 'file' : 'other';
    return { kind, uid: stats.uid, mode: stats.mode & 0o7777 };
  };
  return {
    isRoot: process.uid === 0,
    nodeVersion: process.nodeVersion,
    nodeEngines: process.nodeEngines,
    wallMs: () => clock.wallMs(),
    readText: async (path) => (await orUndefined(readFile(path, 'utf8')))?.slice(0, LONGEST_TEXT_BYTES),
    facts,
    list: async (directory) => (await orUndefined(readdir(directory))) ?? [],
    room: async (path) => {
      const found = await orUndefined(statfs(path));
      return found && { totalBytes: found.blocks * found.bsize, availableBytes: found.bavail * found.bsize };
    },
    findProgram: async (name) => {
      for (const directory of SYSTEM_ENVIRONMENT.PATH.split(':')) {
        const path = join(directory, name);
        if ((await facts(path)) !== undefined) return path;
      }
      return undefined;
    },
    mounts: () => readMountTable(),
  };
}

function orUndefined<T>(work: Promise<T>): Promise<T | undefined> {
  return work.catch(() => undefined);
}

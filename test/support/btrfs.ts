import { execFile } from 'node:child_process';
import { access } from 'node:fs/promises';
import { join } from 'node:path';
import { geteuid } from 'node:process';
import { promisify } from 'node:util';
import type { WorldPlace } from '../contract/backend-world.ts';

const run = promisify(execFile);

/** Why tests with btrfs cannot run here; null when they can. */
export async function btrfsSkipReason(...programs: readonly string[]): Promise<string | null> {
  if (geteuid?.() !== 0) return ' (skipped: needs root)';
  const needed = ['/dev/loop-control', '/sys/fs/btrfs/features', '/usr/sbin/mkfs.btrfs', ...programs];
  for (const path of needed) {
    const there = await access(path).then(
      () => true,
      () => false,
    );
    if (!there) return ` (skipped: ${path} is not there)`;
  }
  return null;
}

/** A pool in a file of its own. */
export function btrfsPlace(directory: string): WorldPlace {
  const disk = join(directory, 'disk');
  return {
    rootPath: join(disk, 'pool'),
    section: { pool_file: join(directory, 'pool.img'), pool_size: '1GiB', pool_mount: disk },
  };
}

export interface Compsize {
  readonly stored: number;
  readonly uncompressed: number;
  readonly referenced: number;
}

/** What `compsize` counts at `path`, in bytes. */
export async function compsize(path: string): Promise<Compsize> {
  const { stdout } = await run('compsize', ['-b', path]);
  const total = /^TOTAL\s+\d+%\s+(\d+)\s+(\d+)\s+(\d+)/m.exec(stdout) ?? [];
  return { stored: Number(total[1]), uncompressed: Number(total[2]), referenced: Number(total[3]) };
}

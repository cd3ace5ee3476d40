import { constants } from 'node:fs';
import { mkdir, open, readdir, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import { syncDirectory } from '../../../kit/atomic-file.ts';
import { errorCode } from '../../../kit/coded-error.ts';
import type { Kernel } from '../../host/kernel.ts';
import type { PoolFilesystem } from '../pool-layout.ts';
import { removeTree } from '../remove-tree.ts';

/** Snapshots of CephFS that are made here begin with it. */
const SNAPSHOT_PREFIX = 'flocker-';
/** Each waits for the cluster. */
const FILES_AT_ONCE = 3;
/** Every directory of CephFS has it; `readdir` does not show it. */
const SNAPSHOTS = '.snap';

/** The directory within a volume's or snapshot's directory that tasks get. */
export function bytesPath(directory: string): string {
  return join(directory, 'data');
}

/** How directories of a pool on CephFS are made durable and removed; `discard` removes what else belongs to one. */
export function poolFilesystem(discard: (directory: string) => Promise<void>): PoolFilesystem {
  return {
    syncDirectory,
    removeTree: async (directory) => {
      await discard(directory);
      // A directory with snapshots cannot be removed.
      await dropSnapshots(bytesPath(directory));
      await removeTree(directory);
    },
  };
}

/** Bytes that may be in a directory, at some seconds' notice. Durable. */
export async function setQuota(kernel: Kernel, path: string, sizeBytes: number): Promise<void> {
  await setAttribute(kernel, path, 'ceph.quota.max_bytes', String(sizeBytes));
}

/** Where the bytes of new files in an empty directory go. Durable. */
export async function setDataPool(kernel: Kernel, path: string, pool: string): Promise<void> {
  await setAttribute(kernel, path, 'ceph.dir.layout.pool', pool);
}

/**
 * Makes all files below a directory durable, one by one: `sync -f` reaches the kernel's cache, and no further than to what `ceph-fuse` has
 * in its own.
 */
export async function syncTree(path: string, signal: AbortSignal): Promise<void> {
  const entries = await readdir(path, { withFileTypes: true });
  for (let first = 0; first < entries.length; first += FILES_AT_ONCE) {
    signal.throwIfAborted();
    await Promise.all(
      entries.slice(first, first + FILES_AT_ONCE).map(async (entry) => {
        if (entry.isDirectory()) await syncTree(join(path, entry.name), signal);
        else if (entry.isFile()) await syncFile(join(path, entry.name));
      }),
    );
  }
  await syncDirectory(path);
}

async function syncFile(path: string): Promise<void> {
  const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  try {
    await file.sync();
  } finally {
    await file.close();
  }
}

/** What a directory has at this instant, for as long as `work` takes. */
export async function withSnapshot<T>(path: string, name: string, work: (frozen: string) => Promise<T>): Promise<T> {
  const frozen = join(path, SNAPSHOTS, `${SNAPSHOT_PREFIX}${name}`);
  await mkdir(frozen);
  try {
    return await work(frozen);
  } finally {
    await rmdir(frozen);
  }
}

/** Removes what interrupted work left of {@link withSnapshot}; fine when the directory does not exist. */
export async function dropSnapshots(path: string): Promise<void> {
  const directory = join(path, SNAPSHOTS);
  const names = await readdir(directory).catch((error: unknown) => {
    if (errorCode(error) === 'ENOENT' || errorCode(error) === 'ENOTDIR') return [];
    throw error;
  });
  for (const name of names) if (name.startsWith(SNAPSHOT_PREFIX)) await rmdir(join(directory, name));
}

async function setAttribute(kernel: Kernel, path: string, name: string, value: string): Promise<void> {
  const directory = await open(path, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW);
  try {
    await kernel.setAttribute(directory.fd, name, value);
    await directory.sync();
  } finally {
    await directory.close();
  }
}

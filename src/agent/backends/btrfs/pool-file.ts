import { link, mkdir, open, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { syncDirectory } from '../../../kit/atomic-file.ts';
import type { Clock } from '../../../kit/clock.ts';
import { errorCode } from '../../../kit/coded-error.ts';
import type { NewUuid } from '../../../kit/ids.ts';
import { formatSize } from '../../../kit/sizes.ts';
import { makeFilesystem, minimumFilesystemBytes } from '../../host/filesystem.ts';
import { BackendError } from '../backend.ts';

export interface PoolFile {
  readonly filePath: string;
  /** Bytes of a new one. */
  readonly sizeBytes: number | null;
}

/**
 * Makes the sparse file of a pool, with an empty btrfs in it, unless something is at its path already. Agents that start
 * at the same time agree on one file; it is whole from the moment it has its name.
 */
export async function ensurePoolFile(
  { filePath, sizeBytes }: PoolFile,
  sources: { readonly clock: Clock; readonly newUuid: NewUuid; readonly signal: AbortSignal },
): Promise<void> {
  if (await exists(filePath)) return;
  if (sizeBytes === null) {
    const text = `${filePath} does not exist: mount the storage it is on, or set dataset.pool_size to have it made`;
    throw new BackendError('pool_unreachable', text);
  }
  const minimum = minimumFilesystemBytes('btrfs');
  if (sizeBytes < minimum) {
    const text = `dataset.pool_size ${formatSize(sizeBytes)} is too small for btrfs: give at least ${formatSize(minimum)}`;
    throw new BackendError('bad_size', text);
  }
  await mkdir(dirname(filePath), { recursive: true, mode: 0o700 });
  const draft = `${filePath}.${sources.newUuid()}`;
  try {
    const file = await open(draft, 'wx', 0o600);
    try {
      await file.truncate(sizeBytes);
      await makeFilesystem(draft, 'btrfs', sources);
      await file.sync();
    } finally {
      await file.close();
    }
    await link(draft, filePath);
  } catch (error) {
    // Another agent was first.
    if (errorCode(error) !== 'EEXIST' || !(await exists(filePath))) throw error;
  } finally {
    await rm(draft, { force: true });
  }
  await syncDirectory(dirname(filePath));
}

async function exists(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return false;
    throw error;
  }
}

import { chmod, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { errorCode } from '../../kit/coded-error.ts';

/**
 * Removes a directory and all below it, following no symlink; fine when it does not exist. Directories without write
 * permission, which stop an owner who is not root, are opened up first.
 */
export async function removeTree(path: string): Promise<void> {
  try {
    // A program of a killed agent may write into it for some milliseconds more.
    await rm(path, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 });
  } catch (error) {
    if (errorCode(error) !== 'EACCES') throw error;
    await openUp(path);
    await rm(path, { recursive: true, force: true });
  }
}

async function openUp(directory: string): Promise<void> {
  await chmod(directory, 0o700);
  for (const entry of await readdir(directory, { withFileTypes: true })) {
    if (entry.isDirectory()) await openUp(join(directory, entry.name));
  }
}

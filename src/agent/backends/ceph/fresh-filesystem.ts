import { constants } from 'node:fs';
import { open, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import { errorCode } from '../../../kit/coded-error.ts';
import { mountDetached } from '../../host/detached-mount.ts';
import type { FilesystemType } from '../../host/filesystem.ts';

/** Gives the root of a filesystem that was just made to everybody, as Flocker does: tasks run as any user. Durable. */
export async function prepareRoot(device: string, type: FilesystemType): Promise<void> {
  await withRoot(device, type, async (path) => {
    await removeLostAndFound(path);
    const root = await open(path, constants.O_RDONLY | constants.O_DIRECTORY);
    try {
      await root.chmod(0o777);
      await root.sync();
    } finally {
      await root.close();
    }
  });
}

/** Removes the directory that e2fsck makes and no task expects among its files; with something in it, it stays. */
export async function dropLostAndFound(device: string): Promise<void> {
  await withRoot(device, 'ext4', removeLostAndFound);
}

async function withRoot(device: string, type: FilesystemType, work: (path: string) => Promise<void>): Promise<void> {
  const mount = await mountDetached(type, { source: device });
  try {
    await work(mount.path);
  } finally {
    await mount.close();
  }
}

async function removeLostAndFound(root: string): Promise<void> {
  await rmdir(join(root, 'lost+found')).catch((error: unknown) => {
    if (errorCode(error) !== 'ENOENT' && errorCode(error) !== 'ENOTEMPTY') throw error;
  });
}

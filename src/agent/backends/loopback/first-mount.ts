import { constants } from 'node:fs';
import { access, open, readdir, rmdir, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { syncDirectory } from '../../../kit/atomic-file.ts';

/** File beside the image of a volume that was never handed to a task. */
export const FRESH_MARKER = 'fresh';

/**
 * Gives the root of a volume that is mounted for the first time to everybody, as Flocker does: tasks run as any user.
 * Later mounts leave it as it is. An interruption is made up for by the next mount, unless the root is in use by then.
 */
export async function finishFirstMount(directory: string, mountPoint: string): Promise<void> {
  const marker = join(directory, FRESH_MARKER);
  try {
    await access(marker);
  } catch {
    return;
  }
  const root = await open(mountPoint, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    const entries = await readdir(mountPoint);
    if (entries.every((name) => name === 'lost+found')) {
      if (entries.length > 0) await rmdir(join(mountPoint, 'lost+found'));
      await root.chmod(0o777);
      // Must be on disk before the marker is gone: it would not be done again.
      await root.sync();
    }
  } finally {
    await root.close();
  }
  await unlink(marker);
  await syncDirectory(directory);
}

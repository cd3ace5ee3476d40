import { open, rename, unlink } from 'node:fs/promises';
import { dirname } from 'node:path';

/**
 * Replaces `path` so that after a crash or a power cut it holds either the old or the new content, never a mixture:
 * write a sibling, fsync it, rename, fsync the directory.
 */
export async function writeFileDurably(path: string, content: string, mode: number): Promise<void> {
  const sibling = `${path}.new`;
  const file = await open(sibling, 'w', mode);
  try {
    await file.writeFile(content);
    await file.sync();
  } catch (error) {
    await file.close();
    await unlink(sibling).catch(() => undefined);
    throw error;
  }
  await file.close();
  await rename(sibling, path);
  await syncDirectory(dirname(path));
}

/** Makes creations, renames and removals in a directory survive a power cut. */
export async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, 'r');
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

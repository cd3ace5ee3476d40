import { open, rename, unlink } from 'node:fs/promises';
import { dirname } from 'node:path';

/**
 * Replaces `path` so that after a crash or a power cut it holds either the old or the new content, never a mixture:
 * write a sibling, fsync it, rename, fsync the directory. `replaced` hears the new file's inode once it is in place, also
 * when the directory cannot be synced afterwards and the call fails.
 */
export async function writeFileDurably(
  path: string,
  content: string,
  mode: number,
  replaced?: (inode: number) => void,
): Promise<void> {
  const sibling = `${path}.new`;
  const file = await open(sibling, 'w', mode);
  let inode: number;
  try {
    await file.writeFile(content);
    await file.sync();
    inode = (await file.stat()).ino;
  } catch (error) {
    await file.close();
    await unlink(sibling).catch(() => undefined);
    throw error;
  }
  await file.close();
  await rename(sibling, path);
  replaced?.(inode);
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

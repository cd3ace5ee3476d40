import { stat, statfs } from 'node:fs/promises';
import { errorCode } from '../../kit/coded-error.ts';

/** How full a filesystem is, in bytes. */
export interface MountUsage {
  readonly usedBytes: number;
  readonly availableBytes: number;
}

/** How full the filesystem at `mountPoint`, a directory in `parent`, is; undefined when nothing is mounted there. */
export async function mountUsage(mountPoint: string, parent: string): Promise<MountUsage | undefined> {
  const { dev } = await stat(parent);
  if (!(await isMount(mountPoint, dev))) return undefined;
  const { blocks, bfree, bavail, bsize } = await statfs(mountPoint);
  // It may have been unmounted meanwhile: then the figures are those of the parent.
  if (!(await isMount(mountPoint, dev))) return undefined;
  return { usedBytes: (blocks - bfree) * bsize, availableBytes: bavail * bsize };
}

async function isMount(mountPoint: string, parentDevice: number): Promise<boolean> {
  try {
    return (await stat(mountPoint)).dev !== parentDevice;
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return false;
    throw error;
  }
}

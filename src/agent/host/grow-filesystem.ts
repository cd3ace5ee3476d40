import { open } from 'node:fs/promises';
import type { Clock } from '../../kit/clock.ts';
import { ProgramError, runProgram } from './run-program.ts';

interface Surroundings {
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/** Below the deadline of a step, and far above what a filesystem of some terabytes takes. */
const TIMEOUT_MS = 240_000;
const E2FSCK = { name: 'e2fsck', debianPackage: 'e2fsprogs' };
const RESIZE2FS = { name: 'resize2fs', debianPackage: 'e2fsprogs' };
const TUNE2FS = { name: 'tune2fs', debianPackage: 'e2fsprogs' };
const XFS_GROWFS = { name: 'xfs_growfs', debianPackage: 'xfsprogs' };
/** e2fsck: no errors, or errors that were corrected (its manual page). */
const CHECKED = [0, 1];

/** Grows a mounted ext4 to its device. False when the kernel does not let this process: that takes CAP_SYS_RESOURCE. */
export async function growMountedExt4(device: string, surroundings: Surroundings): Promise<boolean> {
  try {
    await runProgram(RESIZE2FS, [device], { ...surroundings, timeoutMs: TIMEOUT_MS });
    return true;
  } catch (error) {
    if (error instanceof ProgramError && /permission denied|not permitted/i.test(error.message)) return false;
    throw error;
  }
}

/**
 * Checks an ext4 that nobody has and grows it to the size of its file; one that fills it already stays as it is. Interrupted, it
 * may leave nothing that can be used: for copies only.
 */
export async function growExt4(path: string, surroundings: Surroundings): Promise<void> {
  await checkExt4(path, surroundings);
  await fillExt4File(path, surroundings);
}

/** Makes a copy of an ext4 a filesystem of its own: checked, with a new UUID, and as large as its file. */
export async function renewExt4(path: string, surroundings: Surroundings): Promise<void> {
  // tune2fs refuses a filesystem that was not checked since it was written to.
  await checkExt4(path, surroundings);
  await runProgram(TUNE2FS, ['-U', 'random', path], { ...surroundings, timeoutMs: TIMEOUT_MS });
  await fillExt4File(path, surroundings);
}

/** Makes an ext4 as large as its file. resize2fs cuts a file to whole blocks: what it cut is put back, as it held nothing. */
async function fillExt4File(path: string, surroundings: Surroundings): Promise<void> {
  const file = await open(path, 'r+');
  try {
    const { size } = await file.stat();
    await runProgram(RESIZE2FS, [path], { ...surroundings, timeoutMs: TIMEOUT_MS });
    if ((await file.stat()).size < size) await file.truncate(size);
  } finally {
    await file.close();
  }
}

/** Grows a mounted XFS to its device; one that fills it already stays as it is. */
export async function growMountedXfs(mountPoint: string, surroundings: Surroundings): Promise<void> {
  await runProgram(XFS_GROWFS, [mountPoint], { ...surroundings, timeoutMs: TIMEOUT_MS });
}

async function checkExt4(path: string, surroundings: Surroundings): Promise<void> {
  await runProgram(E2FSCK, ['-fp', path], { ...surroundings, timeoutMs: TIMEOUT_MS, successes: CHECKED });
}

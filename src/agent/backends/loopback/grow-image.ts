import { access, type FileHandle, open, rename, rm, rmdir, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { syncDirectory } from '../../../kit/atomic-file.ts';
import type { Clock } from '../../../kit/clock.ts';
import { copySparse } from '../../host/copy-tree.ts';
import type { FilesystemType } from '../../host/filesystem.ts';
import { growExt4, growMountedExt4, growMountedXfs } from '../../host/grow-filesystem.ts';
import { type LoopDevices, loopNumber } from '../../host/loop-devices.ts';
import type { MountEntry } from '../../host/mount-table.ts';
import { BackendError } from '../backend.ts';
import { type VolumeRecord, writeVolumeRecord } from '../volume-record.ts';
import type { ImageLock, VolumeDirectory } from './image-lock.ts';
import { imagePath, openWholeImage, UNFINISHED_MARKER } from './volume-image.ts';

/** Below the deadline of a step. */
const COPY_TIMEOUT_MS = 240_000;

interface GrowthParts {
  readonly loops: LoopDevices;
  readonly lock: ImageLock;
  readonly clock: Clock;
}

/** A volume and what it is to have. */
interface Growth {
  readonly volume: VolumeDirectory;
  readonly record: VolumeRecord;
  readonly type: FilesystemType;
  readonly sizeBytes: number;
  /** Where it is mounted; undefined when it is not. */
  readonly mount: MountEntry | undefined;
}

/**
 * Makes an image and its filesystem larger. The record comes last: until then the volume has what it had, and the next try
 * goes on from wherever this one was interrupted. Nothing here makes anything smaller.
 */
export async function growImage(growth: Growth, parts: GrowthParts, signal: AbortSignal): Promise<void> {
  const { volume, record, mount, type } = growth;
  let { sizeBytes } = growth;
  if (mount !== undefined) {
    sizeBytes = await growFile(growth);
    await growMounted(growth, mount, parts, signal);
  } else {
    await markUnfinished(volume.directory);
    if (type === 'xfs') sizeBytes = await growFile(growth);
    else sizeBytes = await growAtRest(growth, parts, signal);
  }
  await writeVolumeRecord(volume.directory, { ...record, sizeBytes });
}

/** Removes what a growth that was interrupted has left beside the image. */
export async function removeGrownCopy(directory: string): Promise<void> {
  await rm(grownCopyPath(directory), { force: true });
}

/** Does what is left to do once the filesystem of an image that was made larger, or is a copy, is mounted. */
export async function finishGrowth(
  directory: string,
  mountPoint: string,
  type: FilesystemType,
  surroundings: { readonly clock: Clock; readonly signal: AbortSignal },
): Promise<void> {
  const marker = join(directory, UNFINISHED_MARKER);
  try {
    await access(marker);
  } catch {
    return;
  }
  if (type === 'xfs') await growMountedXfs(mountPoint, surroundings);
  // With something in it, it is what e2fsck saved, or somebody's.
  else await rmdir(join(mountPoint, 'lost+found')).catch(() => undefined);
  await unlink(marker);
  await syncDirectory(directory);
}

async function growFile({ volume, record, sizeBytes }: Growth): Promise<number> {
  const image = await openWholeImage(volume.directory, record);
  try {
    const grownBytes = await enlarge(image, sizeBytes);
    await image.datasync();
    return grownBytes;
  } finally {
    await image.close();
  }
}

/** The file's new size, bytes: an interrupted growth may have made it larger than is asked for now. */
async function enlarge(file: FileHandle, sizeBytes: number): Promise<number> {
  const { size } = await file.stat();
  if (size >= sizeBytes) return size;
  await file.truncate(sizeBytes);
  return sizeBytes;
}

/**
 * Grows a copy of the image and puts it in its place. resize2fs writes into a filesystem that is not mounted without a journal:
 * killed in the middle it leaves one that e2fsck does not mend without asking (3 of 300 tries). Pools that share blocks make the
 * copy in no time; on others it costs the time and, for a while, the room of the data.
 */
async function growAtRest(
  { volume, record, sizeBytes }: Growth,
  { lock, clock }: GrowthParts,
  signal: AbortSignal,
): Promise<number> {
  await (await openWholeImage(volume.directory, record)).close();
  const held = await lock.holdAtRest(volume, signal);
  const copy = grownCopyPath(volume.directory);
  try {
    await removeGrownCopy(volume.directory);
    await copySparse(imagePath(volume.directory), copy, { clock, signal, timeoutMs: COPY_TIMEOUT_MS });
    const file = await open(copy, 'r+');
    try {
      const grownBytes = await enlarge(file, sizeBytes);
      await growExt4(copy, { clock, signal });
      await file.datasync();
      await rename(copy, imagePath(volume.directory));
      await syncDirectory(volume.directory);
      return grownBytes;
    } finally {
      await file.close();
    }
  } catch (error) {
    await removeGrownCopy(volume.directory);
    throw error;
  } finally {
    await held?.close();
  }
}

function grownCopyPath(directory: string): string {
  return `${imagePath(directory)}.growing`;
}

async function growMounted(
  { volume, type }: Growth,
  mount: MountEntry,
  { loops, clock }: GrowthParts,
  signal: AbortSignal,
): Promise<void> {
  const surroundings = { clock, signal };
  const number = loopNumber(mount.device);
  if (number === undefined) throw new Error(`${mount.mountPoint} is on no loop device`);
  const device = await loops.refreshSize(number);
  if (type === 'xfs') return growMountedXfs(mount.mountPoint, surroundings);
  if (await growMountedExt4(device, surroundings)) return;
  throw new BackendError(
    'volume_in_use',
    `volume ${volume.datasetId} cannot grow while it is mounted: the agent lacks the capability CAP_SYS_RESOURCE, which ` +
      'ext4 asks for. It grows when it is next unmounted; or give the agent that capability, or use xfs.',
  );
}

/** Notes durably that the next mount has to finish the growth. */
export async function markUnfinished(directory: string): Promise<void> {
  await (await open(join(directory, UNFINISHED_MARKER), 'w', 0o600)).close();
  await syncDirectory(directory);
}

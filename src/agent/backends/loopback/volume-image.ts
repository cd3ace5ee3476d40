import { type FileHandle, open } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { Clock } from '../../../kit/clock.ts';
import { errorCode } from '../../../kit/coded-error.ts';
import { type FilesystemType, makeFilesystem } from '../../host/filesystem.ts';
import { BackendError } from '../backend.ts';
import { type VolumeRecord, writeVolumeRecord } from '../volume-record.ts';
import { FRESH_MARKER } from './first-mount.ts';

/**
 * File beside an image for which the next mount has something to do: an XFS grows only while it is mounted, and e2fsck makes
 * the `lost+found` anew that no task expects among its files.
 */
export const UNFINISHED_MARKER = 'unfinished';

/** The file that holds the bytes of the volume in `directory`. */
export function imagePath(directory: string): string {
  return join(directory, 'image');
}

/** Fills a new volume's directory: a sparse file of the record's size, formatted, all of it durable. */
export async function makeVolumeImage(
  directory: string,
  record: VolumeRecord & { readonly filesystem: FilesystemType },
  surroundings: { readonly clock: Clock; readonly signal: AbortSignal },
): Promise<void> {
  const path = imagePath(directory);
  const image = await open(path, 'wx', 0o600);
  try {
    await image.truncate(record.sizeBytes);
    // Both must have ended before a failure is reported: the directory is removed then.
    const work = [makeFilesystem(path, record.filesystem, surroundings), describe(directory, record)];
    for (const result of await Promise.allSettled(work)) if (result.status === 'rejected') throw result.reason;
    // mkfs.ext4 and mkfs.xfs write through the page cache. Without this a power cut could leave a blank file that
    // counts as a volume.
    await image.datasync();
  } finally {
    await image.close();
  }
}

async function describe(directory: string, record: VolumeRecord): Promise<void> {
  await (await open(join(directory, FRESH_MARKER), 'wx', 0o600)).close();
  // Syncs the directory too, with the marker and the image in it.
  await writeVolumeRecord(directory, record);
}

/** Opens the image of the volume in `directory`; undefined when there is none. */
export async function openImage(directory: string): Promise<FileHandle | undefined> {
  try {
    return await open(imagePath(directory), 'r+');
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}

/** Opens the image of a volume that is to be mounted. Fails with `volume_lost` unless it is whole. */
export async function openWholeImage(directory: string, record: VolumeRecord): Promise<FileHandle> {
  const lost = (why: string): BackendError =>
    new BackendError(
      'volume_lost',
      `volume ${record.datasetId} is not mounted: ${imagePath(directory)} ${why}; restore it from a copy (an empty one is never put in its place)`,
    );
  const image = await openImage(directory);
  if (image === undefined) throw lost('is missing');
  const stats = await image.stat();
  // Larger than its record is an image whose growth was interrupted.
  if (stats.isFile() && stats.size >= record.sizeBytes) return image;
  await image.close();
  throw lost(stats.isFile() ? `has ${stats.size} bytes instead of ${record.sizeBytes}` : 'is no file');
}

/** Whether a loop device's backing path can be the image of the volume `datasetId`, wherever in the pool it was. */
export function looksLikeImageOf(datasetId: string, backingPath: string): boolean {
  const path = backingPath.replace(/ \(deleted\)$/, '');
  return path.endsWith(`/${datasetId}/${basename(imagePath(datasetId))}`);
}

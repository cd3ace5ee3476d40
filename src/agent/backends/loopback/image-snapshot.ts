import { access, copyFile, type FileHandle, open, readdir, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { syncDirectory } from '../../../kit/atomic-file.ts';
import { type Clock, pause } from '../../../kit/clock.ts';
import { errorText } from '../../../kit/coded-error.ts';
import type { Logger } from '../../../kit/logger.ts';
import { copySparse } from '../../host/copy-tree.ts';
import type { FilesystemType } from '../../host/filesystem.ts';
import { thaw, whileFrozen } from '../../host/frozen-filesystem.ts';
import { renewExt4 } from '../../host/grow-filesystem.ts';
import type { Kernel } from '../../host/kernel.ts';
import { mountsAt, readMountTable } from '../../host/mount-table.ts';
import { BackendError } from '../backend.ts';
import type { VolumeRecord } from '../volume-record.ts';
import { FRESH_MARKER } from './first-mount.ts';
import { markUnfinished } from './grow-image.ts';
import type { ImageLock, VolumeDirectory } from './image-lock.ts';
import { imagePath, openWholeImage, UNFINISHED_MARKER } from './volume-image.ts';

/** File beside an image whose filesystem is frozen: what a killed agent and a killed guard left is thawed by `recover`. */
const FROZEN_MARKER = 'frozen';
/** Tasks that write wait for as long. Copies that share blocks take milliseconds, others about a second for each GiB. */
export const LONGEST_FREEZE_MS = 60_000;
/** Waits for a guard that notices that its agent was killed; it takes milliseconds, and more on a busy machine. */
const GUARD_WAITS_MS = [5, 10, 20, 40, 80, 160, 320, 640, 1280, 2560, 5120] as const;
/** Below the deadline of a step. */
const COPY_TIMEOUT_MS = 240_000;

interface Surroundings {
  readonly kernel: Kernel;
  readonly lock: ImageLock;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/**
 * Copies an image as it is at one instant into `to`, durably, and tells when that was. A mounted volume is frozen while it is
 * copied; one that is not mounted is held at rest.
 */
export async function copyImage(
  volume: VolumeDirectory,
  record: VolumeRecord,
  mountPoint: string | undefined,
  to: string,
  surroundings: Surroundings,
): Promise<number> {
  const { kernel, lock, clock, signal } = surroundings;
  const from = imagePath(volume.directory);
  await (await openWholeImage(volume.directory, record)).close();
  const copy = async (until: AbortSignal): Promise<number> => {
    const atMs = clock.wallMs();
    await copySparse(from, imagePath(to), { clock, signal: until, timeoutMs: COPY_TIMEOUT_MS });
    return atMs;
  };
  let takenAtMs: number;
  if (mountPoint === undefined) {
    const image = await lock.holdAtRest(volume, signal);
    try {
      takenAtMs = await copy(signal);
    } finally {
      await image?.close();
    }
  } else {
    takenAtMs = await withGuardFile(volume, surroundings, (guardFile) =>
      whileFrozen(kernel, { mountPoint, guardFile, longestMs: LONGEST_FREEZE_MS, signal }, copy),
    );
  }
  await copyMarkers(volume.directory, to);
  await syncImage(to);
  return takenAtMs;
}

/**
 * Thaws what an earlier agent left frozen. Its guard is waited for: it thaws as soon as it notices that the agent is gone, and
 * must not do that to the next freeze. A filesystem that was unmounted while it was frozen is still frozen when it is mounted
 * again.
 */
export async function thawRemains(
  volume: VolumeDirectory,
  mountPoint: string,
  surroundings: Omit<Surroundings, 'lock'>,
): Promise<void> {
  try {
    await access(join(volume.directory, FROZEN_MARKER));
  } catch {
    return;
  }
  await withGuardFile(volume, surroundings, () => thaw(surroundings.kernel, mountPoint));
}

/** Does so for all volumes of a node that starts. What cannot be thawed is logged: the others must not wait for it. */
export async function thawAll(
  volumes: readonly VolumeDirectory[],
  mountPointOf: (volume: VolumeDirectory) => string,
  { kernel, clock, log }: { readonly kernel: Kernel; readonly clock: Clock; readonly log: Logger },
): Promise<void> {
  const table = await readMountTable();
  const { signal } = new AbortController();
  const thaws = volumes.map(async (volume) => {
    const mountPoint = mountPointOf(volume);
    if (mountsAt(table, mountPoint).length > 0) await thawRemains(volume, mountPoint, { kernel, clock, signal });
  });
  for (const end of await Promise.allSettled(thaws)) {
    if (end.status === 'rejected') log.error({ problem: errorText(end.reason) }, 'cannot thaw a volume');
  }
}

/** Runs `work` with the marker, locked: no guard of an earlier freeze is left. The marker stays when `work` fails. */
export async function withGuardFile<T>(
  { datasetId, directory }: VolumeDirectory,
  { kernel, clock, signal }: Omit<Surroundings, 'lock'>,
  work: (guardFile: FileHandle) => Promise<T>,
): Promise<T> {
  const path = join(directory, FROZEN_MARKER);
  const guardFile = await open(path, 'a', 0o600);
  try {
    for (const waitMs of [...GUARD_WAITS_MS, null]) {
      if (await kernel.lock(guardFile.fd)) break;
      if (waitMs === null) {
        const text = `volume ${datasetId}: a snapshot that an earlier agent began still holds ${path}; it ends within ${LONGEST_FREEZE_MS / 1000} s`;
        throw new BackendError('volume_in_use', text);
      }
      await pause(clock, waitMs, signal);
    }
    const result = await work(guardFile);
    await unlink(path);
    return result;
  } finally {
    await guardFile.close();
  }
}

/**
 * Makes the image of a new volume from that of a snapshot: at least as large, and a filesystem of its own, so that both can
 * be mounted on one machine.
 */
export async function cloneImage(
  from: string,
  to: string,
  { filesystem, sizeBytes }: { readonly filesystem: FilesystemType; readonly sizeBytes: number },
  surroundings: { readonly clock: Clock; readonly signal: AbortSignal },
): Promise<void> {
  const path = imagePath(to);
  await copySparse(imagePath(from), path, { ...surroundings, timeoutMs: COPY_TIMEOUT_MS });
  const image = await open(path, 'r+');
  try {
    await image.chmod(0o600);
    if ((await image.stat()).size < sizeBytes) await image.truncate(sizeBytes);
  } finally {
    await image.close();
  }
  // XFS keeps its UUID, since its log is not clean; it is mounted with `nouuid`, and grows when it is.
  if (filesystem === 'ext4') await renewExt4(path, surroundings);
  await markUnfinished(to);
  await copyMarkers(from, to);
  await syncImage(to);
}

/** The first mount of a volume that was never mounted before makes its root fit for tasks, also when it is a copy. */
async function copyMarkers(from: string, to: string): Promise<void> {
  for (const name of await readdir(from)) {
    if (name === FRESH_MARKER || name === UNFINISHED_MARKER) await copyFile(join(from, name), join(to, name));
  }
}

async function syncImage(directory: string): Promise<void> {
  const image = await open(imagePath(directory), 'r+');
  try {
    await image.datasync();
  } finally {
    await image.close();
  }
  await syncDirectory(directory);
}

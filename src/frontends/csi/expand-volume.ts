import { withDeadline } from '../../kit/deadline.ts';
import type { DatasetId } from '../../kit/ids.ts';
import { formatSize, roundUp } from '../../kit/sizes.ts';
import { bytesIn, required } from './arguments.ts';
import { stepOf, storageBytesFor } from './block-size.ts';
import type { Access } from './capabilities.ts';
import { CsiError } from './csi-error.ts';
import type { CsiWorld } from './csi-world.ts';
import { requireVolume } from './find-volume.ts';
import type { CapacityRange, ControllerExpandVolumeRequest } from './generated/csi_pb.ts';

/** A volume that is large enough. */
interface GrownVolume {
  readonly access: Access;
  /** Bytes, as callers count them. */
  readonly sizeBytes: number;
}

/** ControllerExpandVolume; what is left to do is on the node that has a block volume. */
export async function expandVolume(
  world: CsiWorld,
  request: ControllerExpandVolumeRequest,
  signal: AbortSignal,
): Promise<GrownVolume> {
  const volumeId = required(request.volumeId, 'volume_id');
  if (request.capacityRange === undefined)
    throw new CsiError('INVALID_ARGUMENT', `volume ${volumeId}: the request has no capacity_range`);
  return growVolume(world, volumeId, request.capacityRange, signal);
}

/**
 * Grows a volume, its filesystem included; the device of a block volume is yet to see it. One that is large enough stays as it is;
 * so does any when no range is given.
 */
export async function growVolume(
  world: CsiWorld,
  volumeId: string,
  range: CapacityRange | undefined,
  signal: AbortSignal,
): Promise<GrownVolume> {
  const { client } = world;
  const requiredBytes = bytesIn(range?.requiredBytes ?? 0n, 'required_bytes');
  const limitBytes = bytesIn(range?.limitBytes ?? 0n, 'limit_bytes');
  const volume = await requireVolume(world, volumeId, signal);
  const sizeBytes = Math.max(roundUp(requiredBytes, stepOf(volume.access)), volume.sizeBytes);
  if (limitBytes !== 0 && sizeBytes > limitBytes)
    throw new CsiError(
      'OUT_OF_RANGE',
      `volume ${volumeId} has ${formatSize(volume.sizeBytes)} and cannot have between ${requiredBytes} and ${limitBytes} bytes: ` +
        `a volume only grows, in steps of ${stepOf(volume.access)} bytes`,
    );
  const { access } = volume;
  const storageBytes = access === 'block' ? storageBytesFor(sizeBytes) : sizeBytes;
  if (sizeBytes > volume.sizeBytes) await client.resizeDataset(volume.id, storageBytes, signal);
  // Also when it was asked for before: then that request was cut off.
  try {
    const grownBytes = await client.waitUntilGrown(volume.id, storageBytes, signal);
    return { access, sizeBytes: access === 'block' ? sizeBytes : grownBytes };
  } catch (error) {
    const problem = signal.aborted ? await problemOf(world, volume.id) : undefined;
    if (problem === undefined) throw error;
    throw new CsiError('FAILED_PRECONDITION', `volume ${volumeId} has not grown yet: ${problem}`, { cause: error });
  }
}

/** Time to look what was in the way when the caller's time is over, milliseconds. */
const LAST_LOOK_MS = 200;

async function problemOf({ client, clock }: CsiWorld, id: DatasetId): Promise<string | undefined> {
  const look = withDeadline(clock, LAST_LOOK_MS, 'a look', undefined, (soon) => client.inspectDataset(id, soon));
  const found = await look.catch(() => undefined);
  return (found?.growth ?? found?.problem)?.message;
}

import { formatSize, roundUp } from '../../kit/sizes.ts';
import { SIZE_STEP_BYTES } from '../../model/dataset.ts';
import { bytesIn, required } from './arguments.ts';
import { CsiError } from './csi-error.ts';
import type { CsiWorld } from './csi-world.ts';
import { requireVolume } from './find-volume.ts';
import type { ControllerExpandVolumeRequest } from './generated/csi_pb.ts';

/** Grows a volume, its filesystem included; resolves with its real size in bytes. One that is large enough stays as it is. */
export async function expandVolume(
  world: CsiWorld,
  request: ControllerExpandVolumeRequest,
  signal: AbortSignal,
): Promise<number> {
  const { client } = world;
  const volumeId = required(request.volumeId, 'volume_id');
  const range = request.capacityRange;
  if (range === undefined)
    throw new CsiError('INVALID_ARGUMENT', `volume ${volumeId}: the request has no capacity_range`);
  const requiredBytes = bytesIn(range.requiredBytes, 'required_bytes');
  const limitBytes = bytesIn(range.limitBytes, 'limit_bytes');
  const sizeBytes = roundUp(requiredBytes, SIZE_STEP_BYTES);
  const volume = await requireVolume(world, volumeId, signal);
  const isAboveLimit = limitBytes !== 0 && Math.max(sizeBytes, volume.sizeBytes) > limitBytes;
  if (isAboveLimit)
    throw new CsiError(
      'OUT_OF_RANGE',
      `volume ${volumeId} has ${formatSize(volume.sizeBytes)} and cannot have between ${requiredBytes} and ${limitBytes} bytes: ` +
        `a volume only grows, in steps of ${SIZE_STEP_BYTES} bytes`,
    );
  if (sizeBytes > volume.sizeBytes) await client.resizeDataset(volume.id, sizeBytes, signal);
  // Also when it was asked for before: then that request was cut off.
  return client.waitUntilGrown(volume.id, Math.max(sizeBytes, volume.sizeBytes), signal);
}

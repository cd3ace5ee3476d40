import type { MessageInitShape } from '@bufbuild/protobuf';
import { parseNodeId } from '../../kit/ids.ts';
import { MINIMUM_SIZE_BYTES } from '../../model/dataset.ts';
import { blockBytesIn } from './block-size.ts';
import { capabilityProblem } from './capabilities.ts';
import type { CsiWorld } from './csi-world.ts';
import type { GetCapacityRequest, GetCapacityResponseSchema } from './generated/csi_pb.ts';
import { NODE_SEGMENT, POOL_SEGMENT } from './topology.ts';
import { parseParameters } from './volume-wish.ts';

/**
 * Room for new volumes, as the pools were last measured: of those that have the profile and are within reach of the
 * topology. A pool that has no figures counts for nothing.
 */
export async function capacity(
  { client }: CsiWorld,
  request: GetCapacityRequest,
  signal: AbortSignal,
): Promise<MessageInitShape<typeof GetCapacityResponseSchema>> {
  const { profile } = parseParameters(request.parameters, '(capacity)');
  const none = { availableCapacity: 0n };
  if (request.volumeCapabilities.some((capability) => capabilityProblem(capability) !== undefined)) return none;
  const segments = request.accessibleTopology?.segments ?? {};
  const node = segments[NODE_SEGMENT];
  const pool = segments[POOL_SEGMENT];
  const { pools } = await client.storageState(signal);
  const rooms = pools
    .filter((one) => pool === undefined || one.pool === pool)
    .filter((one) => node === undefined || one.nodes.some((uuid) => parseNodeId(uuid) === parseNodeId(node)))
    .filter((one) => profile === undefined || one.profiles.some(({ name }) => name === profile))
    .flatMap(({ figures }) => figures.available ?? []);
  if (rooms.length === 0) return none;
  const isBlock = request.volumeCapabilities.some(({ accessType }) => accessType.case === 'block');
  const [available, largest] = [rooms.reduce((sum, room) => sum + room, 0), Math.max(...rooms)];
  return {
    availableCapacity: BigInt(isBlock ? blockBytesIn(available) : available),
    maximumVolumeSize: BigInt(isBlock ? blockBytesIn(largest) : largest),
    minimumVolumeSize: BigInt(MINIMUM_SIZE_BYTES),
  };
}

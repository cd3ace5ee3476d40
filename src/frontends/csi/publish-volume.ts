import { errorCode } from '../../kit/coded-error.ts';
import { orAbort } from '../../kit/deadline.ts';
import { type DatasetId, type NodeId, parseDatasetId } from '../../kit/ids.ts';
import { nodeIn, required } from './arguments.ts';
import { accessProblem, useOf } from './capabilities.ts';
import { CsiError } from './csi-error.ts';
import type { CsiWorld } from './csi-world.ts';
import { findVolume, requireVolume } from './find-volume.ts';
import type { ControllerPublishVolumeRequest, ControllerUnpublishVolumeRequest } from './generated/csi_pb.ts';
import { addPublication, readLeases, removePublication } from './publications.ts';

/** Key of the publish context: the node mounts it so that nobody can write. */
export const READ_ONLY_CONTEXT = 'readOnly';

/** Reserves a volume for a node and brings it there; resolves with the publish context once it is mounted there. */
export async function publishVolume(
  world: CsiWorld,
  request: ControllerPublishVolumeRequest,
  signal: AbortSignal,
): Promise<Record<string, string>> {
  const { client } = world;
  const volumeId = required(request.volumeId, 'volume_id');
  const node = required(request.nodeId, 'node_id');
  const use = useOf(request.volumeCapability, volumeId);
  const readOnly = request.readonly || use.readOnly;
  const volume = await requireVolume(world, volumeId, signal);
  const otherAccess = accessProblem(volume.access, use.access);
  if (otherAccess !== undefined) throw new CsiError('INVALID_ARGUMENT', `volume ${volumeId}: ${otherAccess}`);
  const nodeId = await requireNode(world, node, signal);
  const leases = await readLeases(client, signal);
  const present = leases.publication(volume.id);
  if (present !== undefined && present.nodeId !== nodeId) throw takenBy(volumeId, present.nodeId);
  if (present !== undefined && present.readOnly !== readOnly) {
    const was = present.readOnly ? 'read-only' : 'writable';
    throw new CsiError(
      'ALREADY_EXISTS',
      `volume ${volumeId} is published on node ${nodeId} already, ${was}; unpublish it first to change that`,
    );
  }
  const user = leases.user(volume.id);
  if (user !== undefined && user !== nodeId) throw takenBy(volumeId, user);
  if (present === undefined) {
    await addPublication(client, volume.id, { nodeId, readOnly }, signal).catch(async (error: unknown) => {
      if (errorCode(error) !== 'lease_held') throw error;
      const winner = (await readLeases(client, signal)).publication(volume.id);
      throw takenBy(volumeId, winner?.nodeId);
    });
  }
  await bring(world, { id: volume.id, primary: volume.primary }, nodeId, signal);
  return { [READ_ONLY_CONTEXT]: String(readOnly) };
}

/** Gives the reservation up. A volume that is not published there, or not there at all, is fine. */
export async function unpublishVolume(
  world: CsiWorld,
  request: ControllerUnpublishVolumeRequest,
  signal: AbortSignal,
): Promise<void> {
  const { client } = world;
  const volumeId = required(request.volumeId, 'volume_id');
  // One that was deleted by somebody else may have left its publication.
  const id = (await findVolume(world, volumeId, signal))?.id ?? parseDatasetId(volumeId);
  if (id === undefined) return;
  const present = (await readLeases(client, signal)).publication(id);
  // Without a node: from wherever it is published.
  const elsewhere = request.nodeId !== '' && present?.nodeId !== nodeIn(request.nodeId);
  if (present === undefined || elsewhere) return;
  await removePublication(client, id, signal);
}

/** Moves a volume and waits; a problem that keeps it away is told when the caller's time is over. */
async function bring(
  { client }: CsiWorld,
  volume: { readonly id: DatasetId; readonly primary: NodeId | undefined },
  nodeId: NodeId,
  signal: AbortSignal,
): Promise<void> {
  if (volume.primary !== nodeId) await client.moveDataset(volume.id, nodeId, { kind: 'none' }, signal);
  let waitingFor: string | undefined;
  try {
    const note = (problem: string): void => {
      waitingFor = problem;
    };
    await orAbort(client.waitUntilMounted(volume.id, nodeId, note, signal), signal);
  } catch (error) {
    if (!signal.aborted || waitingFor === undefined) throw error;
    throw new CsiError('DEADLINE_EXCEEDED', `volume ${volume.id} is not on node ${nodeId} yet: ${waitingFor}`, {
      cause: error,
    });
  }
}

async function requireNode({ client }: CsiWorld, text: string, signal: AbortSignal): Promise<NodeId> {
  const nodeId = nodeIn(text);
  const inspected = nodeId === undefined ? [] : await client.inspectNodes(signal);
  const nodes = inspected ?? (await client.listNodes(signal));
  if (nodeId === undefined || !nodes.some(({ uuid }) => uuid.toLowerCase() === nodeId))
    throw new CsiError('NOT_FOUND', `there is no node ${text} in this cluster`);
  return nodeId;
}

function takenBy(volumeId: string, nodeId: NodeId | undefined): CsiError {
  return new CsiError(
    'FAILED_PRECONDITION',
    `volume ${volumeId} is in use on node ${nodeId ?? '(another)'}, and a volume is on one node at a time; end its use there first`,
  );
}

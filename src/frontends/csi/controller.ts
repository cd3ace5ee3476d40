import { required } from './arguments.ts';
import { accessProblem, capabilityProblem, useOf } from './capabilities.ts';
import { capacity } from './capacity.ts';
import { createVolume } from './create-volume.ts';
import { CsiError } from './csi-error.ts';
import type { CsiWorld } from './csi-world.ts';
import { deleteVolume } from './delete-volume.ts';
import { expandVolume } from './expand-volume.ts';
import { requireVolume } from './find-volume.ts';
import {
  type Controller,
  ControllerServiceCapability_RPC_Type as Type,
  type ValidateVolumeCapabilitiesRequest,
} from './generated/csi_pb.ts';
import type { Handlers } from './grpc-service.ts';
import { getVolume, listVolumes } from './list-volumes.ts';
import { publishVolume, unpublishVolume } from './publish-volume.ts';
import { createSnapshot, deleteSnapshot, listSnapshots } from './snapshots.ts';
import { parseParameters } from './volume-wish.ts';

const CAPABILITIES: readonly Type[] = [
  ...[Type.CREATE_DELETE_VOLUME, Type.PUBLISH_UNPUBLISH_VOLUME, Type.PUBLISH_READONLY, Type.LIST_VOLUMES],
  ...[Type.LIST_VOLUMES_PUBLISHED_NODES, Type.GET_VOLUME, Type.VOLUME_CONDITION, Type.GET_CAPACITY],
  ...[Type.CREATE_DELETE_SNAPSHOT, Type.LIST_SNAPSHOTS, Type.CLONE_VOLUME, Type.EXPAND_VOLUME],
  Type.SINGLE_NODE_MULTI_WRITER,
];

/** The service for volumes of the whole cluster. Every node agent serves it, and all give the same answers. */
export function controllerService(world: CsiWorld): Handlers<typeof Controller> {
  return {
    controllerGetCapabilities: () =>
      Promise.resolve({ capabilities: CAPABILITIES.map((type) => ({ type: { case: 'rpc', value: { type } } })) }),
    createVolume: async (request, signal) => ({ volume: await createVolume(world, request, signal) }),
    deleteVolume: async ({ volumeId }, signal) => {
      await deleteVolume(world, required(volumeId, 'volume_id'), signal);
      return {};
    },
    controllerPublishVolume: async (request, signal) => ({
      publishContext: await publishVolume(world, request, signal),
    }),
    controllerUnpublishVolume: async (request, signal) => {
      await unpublishVolume(world, request, signal);
      return {};
    },
    validateVolumeCapabilities: (request, signal) => validate(world, request, signal),
    listVolumes: async (request, signal) => {
      const { items, nextToken } = await listVolumes(world, request, signal);
      return { entries: [...items], nextToken };
    },
    controllerGetVolume: ({ volumeId }, signal) => getVolume(world, volumeId, signal),
    getCapacity: (request, signal) => capacity(world, request, signal),
    controllerExpandVolume: async (request, signal) => {
      const { access, sizeBytes } = await expandVolume(world, request, signal);
      return { capacityBytes: BigInt(sizeBytes), nodeExpansionRequired: access === 'block' };
    },
    createSnapshot: async (request, signal) => ({ snapshot: await createSnapshot(world, request, signal) }),
    deleteSnapshot: async ({ snapshotId }, signal) => {
      await deleteSnapshot(world, snapshotId, signal);
      return {};
    },
    listSnapshots: async (request, signal) => {
      const { items, nextToken } = await listSnapshots(world, request, signal);
      return { entries: items.map((snapshot) => ({ snapshot })), nextToken };
    },
  };
}

async function validate(
  world: CsiWorld,
  request: ValidateVolumeCapabilitiesRequest,
  signal: AbortSignal,
): ReturnType<Handlers<typeof Controller>['validateVolumeCapabilities']> {
  const volumeId = required(request.volumeId, 'volume_id');
  const { volumeCapabilities, volumeContext, parameters } = request;
  if (volumeCapabilities.length === 0)
    throw new CsiError('INVALID_ARGUMENT', `volume ${volumeId}: the request has no capabilities`);
  const volume = await requireVolume(world, volumeId, signal);
  const problems = volumeCapabilities.flatMap((capability) => {
    const fsType = capability.accessType.case === 'mount' ? capability.accessType.value.fsType : '';
    const otherFilesystem = fsType !== '' && volume.filesystem !== undefined && fsType !== volume.filesystem;
    const problem = capabilityProblem(capability) ?? accessProblem(volume.access, useOf(capability, volumeId).access);
    return problem ?? (otherFilesystem ? `it has ${volume.filesystem}, not ${fsType}` : []);
  });
  const { profile } = parseParameters(parameters, volumeId);
  if (profile !== undefined && profile !== volume.profile)
    problems.push(`it has ${volume.profile ?? 'the default profile'}, not ${profile}`);
  if (problems.length > 0) return { message: `volume ${volumeId}: ${problems.join('; ')}` };
  return { confirmed: { volumeCapabilities, volumeContext, parameters } };
}

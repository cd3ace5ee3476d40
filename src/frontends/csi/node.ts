import { statfs } from 'node:fs/promises';
import { plainPath } from '../../kit/mount-target.ts';
import { required } from './arguments.ts';
import { CsiError } from './csi-error.ts';
import type { CsiWorld } from './csi-world.ts';
import { growVolume } from './expand-volume.ts';
import { findVolume } from './find-volume.ts';
import {
  type Node,
  type NodeGetVolumeStatsRequest,
  NodeServiceCapability_RPC_Type as Type,
  VolumeUsage_Unit as Unit,
} from './generated/csi_pb.ts';
import type { Handlers } from './grpc-service.ts';
import { publishTarget, unpublishTarget } from './publish-target.ts';
import { requireBlocks, stageVolume, unstageVolume } from './stage-volume.ts';
import { type Stage, Stages } from './stages.ts';
import { segmentsOf } from './topology.ts';

/** The service for volumes on this node. */
export function nodeService(world: CsiWorld, stages: Stages): Handlers<typeof Node> {
  const types = [
    ...[Type.STAGE_UNSTAGE_VOLUME, Type.GET_VOLUME_STATS, Type.VOLUME_CONDITION, Type.SINGLE_NODE_MULTI_WRITER],
    Type.EXPAND_VOLUME,
  ];
  const looks = new Map<string, Promise<Usage>>();
  return {
    nodeGetCapabilities: () =>
      Promise.resolve({ capabilities: types.map((type) => ({ type: { case: 'rpc', value: { type } } })) }),
    nodeGetInfo: () =>
      Promise.resolve({
        nodeId: world.nodeId,
        maxVolumesPerNode: 0n,
        accessibleTopology: { segments: segmentsOf(world) },
      }),
    nodeStageVolume: async (request, signal) => {
      await stageVolume(world, stages, request, signal);
      return {};
    },
    nodeUnstageVolume: async (request, signal) => {
      await unstageVolume(world, stages, request, signal);
      return {};
    },
    nodePublishVolume: async (request, signal) => {
      await publishTarget(world, stages, request, signal);
      return {};
    },
    nodeUnpublishVolume: async (request, signal) => {
      await unpublishTarget(world, stages, request, signal);
      return {};
    },
    nodeGetVolumeStats: async (request, signal) => {
      const stage = await shownAt(world, stages, request, signal);
      const { blockBytes } = stage;
      if (blockBytes !== undefined)
        return { usage: [{ unit: Unit.BYTES, total: BigInt(blockBytes) }], volumeCondition: conditionOf(world, stage) };
      return { ...(await usageOf(stage, looks)), volumeCondition: conditionOf(world, stage) };
    },
    nodeExpandVolume: async (request, signal) => {
      const { name, datasetId } = await shownAt(world, stages, request, signal);
      // Nothing is left to do for a filesystem after ControllerExpandVolume; callers that know no controller grow it this way.
      const { access, sizeBytes } = await growVolume(world, datasetId, request.capacityRange, signal);
      if (access === 'block') await growDevices(world, stages, { name, sizeBytes }, signal);
      return { capacityBytes: BigInt(sizeBytes) };
    },
  };
}

interface Usage {
  readonly usage: { readonly unit: Unit; readonly total: bigint; readonly used: bigint; readonly available: bigint }[];
}

/** The volume that is shown at the path of a request. Fails with `NOT_FOUND`. */
async function shownAt(
  world: CsiWorld,
  stages: Stages,
  request: Pick<NodeGetVolumeStatsRequest, 'volumeId' | 'volumePath'>,
  signal: AbortSignal,
): Promise<Stage> {
  const volumeId = required(request.volumeId, 'volume_id');
  const path = plainPath(required(request.volumePath, 'volume_path'));
  const stage = stages.find(volumeId);
  if (stage === undefined) {
    const found = await findVolume(world, volumeId, signal);
    const problem = found === undefined ? `there is no volume ${volumeId}` : `volume ${volumeId} is not on this node`;
    throw new CsiError('NOT_FOUND', problem);
  }
  const shown = [...stage.stagings, ...stage.targets.map((target) => target.path)];
  if (!shown.includes(path)) throw new CsiError('NOT_FOUND', `volume ${volumeId} is not at ${path} on this node`);
  return stage;
}

/** A look at storage that hangs occupies one of libuv's few threads: there is never a second one at the same time. */
function usageOf({ path }: Stage, looks: Map<string, Promise<Usage>>): Promise<Usage> {
  const running = looks.get(path);
  if (running !== undefined) return running;
  const look = statfs(path, { bigint: true })
    .then(({ bsize, blocks, bfree, bavail, files, ffree }) => ({
      usage: [
        { unit: Unit.BYTES, total: blocks * bsize, used: (blocks - bfree) * bsize, available: bavail * bsize },
        { unit: Unit.INODES, total: files, used: files - ffree, available: ffree },
      ],
    }))
    .finally(() => looks.delete(path));
  looks.set(path, look);
  return look;
}

/** Lets the devices of a block volume see that there is more room. */
async function growDevices(
  world: CsiWorld,
  stages: Stages,
  { name, sizeBytes }: { readonly name: string; readonly sizeBytes: number },
  signal: AbortSignal,
): Promise<void> {
  await stages.serially(name, signal, async () => {
    const stage = stages.find(name);
    if (stage === undefined) return;
    await requireBlocks(world, name).prepare(stage.path, sizeBytes);
    await stages.keep(stage, { blockBytes: sizeBytes });
  });
}

function conditionOf({ volumes }: CsiWorld, { name, datasetId }: Stage): { abnormal: boolean; message: string } {
  const lease = volumes.list().find((one) => one.datasetId === datasetId)?.lease;
  if (lease?.kind === 'lost')
    return { abnormal: true, message: `another node took the lease of volume ${name}: ${lease.problem}` };
  return { abnormal: false, message: 'mounted' };
}

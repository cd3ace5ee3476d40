import type { MessageInitShape } from '@bufbuild/protobuf';
import type { DatasetInspection } from '../../api/inspection.ts';
import { parseDatasetId } from '../../kit/ids.ts';
import { required } from './arguments.ts';
import { volumeMessage } from './create-volume.ts';
import type { CsiWorld } from './csi-world.ts';
import { type FoundVolume, foundVolume, requireVolume } from './find-volume.ts';
import type {
  ControllerGetVolumeResponseSchema,
  ListVolumesRequest,
  ListVolumesResponse_EntrySchema,
  VolumeConditionSchema,
} from './generated/csi_pb.ts';
import { type Page, pageOf } from './pages.ts';
import { type LeasesNow, readLeases } from './publications.ts';
import { poolsOf } from './topology.ts';

type Entry = MessageInitShape<typeof ListVolumesResponse_EntrySchema>;

/** All volumes of the cluster, whoever made them, in order of their ids. */
export async function listVolumes(
  world: CsiWorld,
  request: ListVolumesRequest,
  signal: AbortSignal,
): Promise<Page<Entry>> {
  const { client } = world;
  const [inspected, leases, pools] = await Promise.all([
    client.inspectDatasets(signal),
    readLeases(client, signal),
    poolsOf(world, signal),
  ]);
  const all = (inspected ?? (await listed(client, signal)))
    .filter(({ configuration }) => !configuration.deleted)
    .map(({ configuration, problem }) => foundVolume(configuration, problem));
  const isId = (text: string): boolean => parseDatasetId(text) !== undefined;
  const { items, nextToken } = pageOf(all, ({ id }) => id, request, isId);
  return { items: items.map((volume) => entryOf(volume, leases, pools)), nextToken };
}

/** One volume; fails with `NOT_FOUND`. */
export async function getVolume(
  world: CsiWorld,
  volumeId: string,
  signal: AbortSignal,
): Promise<MessageInitShape<typeof ControllerGetVolumeResponseSchema>> {
  const volume = await requireVolume(world, required(volumeId, 'volume_id'), signal);
  const [leases, pools] = await Promise.all([readLeases(world.client, signal), poolsOf(world, signal)]);
  return entryOf(volume, leases, pools);
}

async function listed(
  client: CsiWorld['client'],
  signal: AbortSignal,
): Promise<(Pick<DatasetInspection, 'configuration'> & { problem: undefined })[]> {
  const { datasets } = await client.listDatasets(signal);
  return datasets.map((configuration) => ({ configuration, problem: undefined }));
}

function entryOf(
  volume: FoundVolume,
  leases: LeasesNow,
  pools: ReadonlyMap<string, string>,
): { volume: NonNullable<Entry['volume']>; status: { publishedNodeIds: string[]; volumeCondition: Condition } } {
  const publication = leases.publication(volume.id);
  return {
    volume: volumeMessage(volume, pools.get(volume.primary ?? '')),
    status: {
      publishedNodeIds: publication === undefined ? [] : [publication.nodeId],
      volumeCondition: conditionOf(volume),
    },
  };
}

type Condition = MessageInitShape<typeof VolumeConditionSchema>;

/** Abnormal is what will not get better by waiting. */
function conditionOf({ problem }: FoundVolume): Condition {
  const abnormal = problem?.needs_action === true;
  return { abnormal, message: problem?.message ?? 'nothing is known to be wrong' };
}

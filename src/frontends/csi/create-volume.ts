import type { MessageInitShape } from '@bufbuild/protobuf';
import type { NewDataset } from '../../client/flocker-client.ts';
import { errorCode } from '../../kit/coded-error.ts';
import { type DatasetId, newDatasetId } from '../../kit/ids.ts';
import { formatSize } from '../../kit/sizes.ts';
import { FILESYSTEM_KEY, FLOCKER_ID_KEY, NAME_KEY, PROFILE_KEY } from '../../model/dataset.ts';
import { blockMetadata, storageBytesFor } from './block-size.ts';
import { accessProblem } from './capabilities.ts';
import { finishClone, type OpenedSource, openSource } from './clone.ts';
import { sameSource, sourceMessage, sourceMetadata } from './content-source.ts';
import { CsiError } from './csi-error.ts';
import type { CsiWorld } from './csi-world.ts';
import { type FoundVolume, findByName } from './find-volume.ts';
import type { CreateVolumeRequest, VolumeSchema } from './generated/csi_pb.ts';
import { accessibleFrom, choosePlace, fitsAny, poolsOf } from './topology.ts';
import { parseVolumeWish, type VolumeWish } from './volume-wish.ts';

type VolumeMessage = MessageInitShape<typeof VolumeSchema>;

/**
 * Makes a volume, or finds that it is made already: its name decides, and the control service lets only one volume have a
 * name. Resolves once the volume is durable; its storage is made meanwhile.
 */
export async function createVolume(
  world: CsiWorld,
  request: CreateVolumeRequest,
  signal: AbortSignal,
): Promise<VolumeMessage> {
  const wish = parseVolumeWish(request);
  const additions = await world.client.hasAdditions(signal);
  if (wish.source !== undefined && !additions)
    throw new CsiError(
      'INVALID_ARGUMENT',
      `volume ${wish.name}: this control service has no snapshots to make it from`,
    );
  // A volume from nothing is made first and looked for only if that fails: most are new.
  if (wish.source !== undefined || !additions) {
    const present = await findByName(world, wish.name, signal);
    if (present !== undefined) return existing(world, wish, present, signal);
  }
  for (;;) {
    try {
      return await made(world, wish, additions, signal);
    } catch (error) {
      if (errorCode(error) !== 'condition_failed') throw error;
    }
    const present = await findByName(world, wish.name, signal);
    if (present !== undefined) return existing(world, wish, present, signal);
    signal.throwIfAborted();
  }
}

async function made(
  world: CsiWorld,
  wish: VolumeWish,
  additions: boolean,
  signal: AbortSignal,
): Promise<VolumeMessage> {
  const { client, newUuid } = world;
  const opened = wish.source === undefined ? undefined : await openSource(world, wish, wish.source, signal);
  const place = await choosePlace(world, wish.topology, opened?.pool, signal);
  const sizeBytes = sizeFor(wish, opened);
  const isBlock = wish.access === 'block';
  const storageBytes = Math.max(isBlock ? storageBytesFor(sizeBytes) : sizeBytes, opened?.storageBytes ?? 0);
  const dataset: NewDataset = {
    primary: place.nodeId,
    datasetId: newDatasetId(newUuid),
    maximumSizeBytes: storageBytes,
    metadata: {
      [NAME_KEY]: wish.name,
      [FLOCKER_ID_KEY]: wish.name,
      ...optional(PROFILE_KEY, wish.profile ?? opened?.profile),
      ...optional(FILESYSTEM_KEY, wish.filesystem ?? opened?.filesystem),
      ...blockMetadata(isBlock ? sizeBytes : undefined),
      ...sourceMetadata(wish.source),
    },
    ...(opened === undefined ? {} : { sourceSnapshot: opened.snapshotId }),
  };
  const condition = additions
    ? ({ kind: 'nameUnused', name: wish.name } as const)
    : (await client.findByName(wish.name, signal)).ifUnchanged;
  const { dataset_id } = await client.createDataset(dataset, condition, signal);
  const id = dataset_id as DatasetId;
  if (wish.source?.kind === 'volume')
    await finishClone(world, { id, primary: place.nodeId }, wish.name, wish.source, signal);
  return volumeMessage({ id, sizeBytes, source: wish.source }, place.pool);
}

/** The same request again is fine, another one for the same name is not. */
async function existing(
  world: CsiWorld,
  wish: VolumeWish,
  volume: FoundVolume,
  signal: AbortSignal,
): Promise<VolumeMessage> {
  const refuse = (problem: string): never => {
    throw new CsiError('ALREADY_EXISTS', `volume ${wish.name} exists already (${volume.id}), ${problem}`);
  };
  const { smallestBytes, largestBytes, profile, filesystem, source } = wish;
  const { sizeBytes } = volume;
  const otherAccess = accessProblem(volume.access, wish.access);
  if (otherAccess !== undefined) refuse(`and ${otherAccess}`);
  if (sizeBytes < smallestBytes || (largestBytes !== undefined && sizeBytes > largestBytes))
    refuse(`with ${formatSize(sizeBytes)}, which is not in the range that was asked for`);
  if (profile !== undefined && profile !== volume.profile)
    refuse(
      `with ${volume.profile === undefined ? 'the default profile' : `profile ${volume.profile}`}, not ${profile}`,
    );
  if (filesystem !== undefined && filesystem !== volume.filesystem)
    refuse(`with ${volume.filesystem ?? 'the default filesystem'}, not ${filesystem}`);
  if (!sameSource(source, volume.source)) refuse('made from something else than what was asked for');
  const isHere = volume.primary === world.nodeId;
  const pools = isHere ? undefined : await poolsOf(world, signal);
  const pool = isHere ? world.pool : pools?.get(volume.primary ?? '');
  if (wish.topology !== undefined && !fitsAny(pool, volume.primary, wish.topology))
    refuse('where the topology that was asked for does not reach it');
  // It may have been cut off after the volume was made.
  if (source?.kind === 'volume' && volume.primary !== undefined)
    await finishClone(world, { id: volume.id, primary: volume.primary }, wish.name, source, signal);
  return volumeMessage(volume, pool);
}

function sizeFor({ name, sizeBytes, largestBytes }: VolumeWish, opened: OpenedSource | undefined): number {
  const least = opened?.sizeBytes ?? 0;
  if (largestBytes !== undefined && least > largestBytes)
    throw new CsiError(
      'OUT_OF_RANGE',
      `volume ${name}: what it is made from has ${formatSize(least)}, and at most ${formatSize(largestBytes)} are allowed`,
    );
  return Math.max(sizeBytes, least);
}

export function volumeMessage(
  { id, sizeBytes, source }: Pick<FoundVolume, 'id' | 'sizeBytes' | 'source'>,
  pool: string | undefined,
): VolumeMessage {
  return {
    volumeId: id,
    capacityBytes: BigInt(sizeBytes),
    accessibleTopology: accessibleFrom(pool),
    ...(source === undefined ? {} : { contentSource: sourceMessage(source) }),
  };
}

function optional(key: string, value: string | undefined): Record<string, string> {
  return value === undefined ? {} : { [key]: value };
}

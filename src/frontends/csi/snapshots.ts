import type { MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromDate } from '@bufbuild/protobuf/wkt';
import type { SnapshotView } from '../../api/snapshots.ts';
import { errorCode, errorText } from '../../kit/coded-error.ts';
import { parseDatasetId, parseSnapshotId } from '../../kit/ids.ts';
import { FILESYSTEM_KEY, NAME_KEY, PROFILE_KEY } from '../../model/dataset.ts';
import { checkName } from '../../volumes/volume-spec.ts';
import { required } from './arguments.ts';
import { blockBytesOf, blockMetadata } from './block-size.ts';
import { CLONE_KEY } from './clone.ts';
import { CsiError } from './csi-error.ts';
import type { CsiWorld } from './csi-world.ts';
import { derivedSnapshot } from './derived-snapshot.ts';
import { requireVolume } from './find-volume.ts';
import type { CreateSnapshotRequest, ListSnapshotsRequest, SnapshotSchema } from './generated/csi_pb.ts';
import { type Page, pageOf } from './pages.ts';

type SnapshotMessage = MessageInitShape<typeof SnapshotSchema>;

/** Takes a snapshot and waits until it is taken. The same name and volume again is the same snapshot. */
export async function createSnapshot(
  world: CsiWorld,
  request: CreateSnapshotRequest,
  signal: AbortSignal,
): Promise<SnapshotMessage> {
  const { client } = world;
  const name = required(request.name, 'name of a snapshot');
  const volumeId = required(request.sourceVolumeId, 'source_volume_id');
  try {
    checkName(name);
  } catch (error) {
    throw new CsiError('INVALID_ARGUMENT', errorText(error), { cause: error });
  }
  const [unknown] = Object.keys(request.parameters).filter((key) => !key.startsWith('csi.storage.k8s.io/'));
  if (unknown !== undefined)
    throw new CsiError('INVALID_ARGUMENT', `snapshot ${name}: there is no parameter ${unknown}; snapshots have none`);
  const volume = await requireVolume(world, volumeId, signal);
  const { id, found } = await derivedSnapshot(client, ['csi snapshot', name], signal);
  const refuse = (other: string): never => {
    throw new CsiError('ALREADY_EXISTS', `snapshot ${name} exists already, of volume ${other}, not of ${volume.id}`);
  };
  if (found !== undefined && found.dataset_id.toLowerCase() !== volume.id) refuse(found.dataset_id);
  if (found === undefined) {
    const metadata = {
      [NAME_KEY]: name,
      // A volume made from it is to be like the one it was taken of, which may be gone by then.
      ...(volume.profile === undefined ? {} : { [PROFILE_KEY]: volume.profile }),
      ...(volume.filesystem === undefined ? {} : { [FILESYSTEM_KEY]: volume.filesystem }),
      ...blockMetadata(volume.access === 'block' ? volume.sizeBytes : undefined),
    };
    await client.createSnapshot({ datasetId: volume.id, snapshotId: id, metadata }, signal).catch((error: unknown) => {
      if (errorCode(error) === 'id_in_use') refuse('another name');
      throw error;
    });
  }
  return snapshotMessage(await client.waitForSnapshot(id, signal));
}

/** A snapshot that is not there is fine. */
export async function deleteSnapshot({ client }: CsiWorld, snapshotId: string, signal: AbortSignal): Promise<void> {
  const id = parseSnapshotId(required(snapshotId, 'snapshot_id'));
  if (id === undefined) return;
  await client.deleteSnapshot(id, signal).catch((error: unknown) => {
    const code = errorCode(error);
    if (code !== 'not_found' && code !== 'deleted') throw error;
  });
}

export async function listSnapshots(
  { client }: CsiWorld,
  request: ListSnapshotsRequest,
  signal: AbortSignal,
): Promise<Page<SnapshotMessage>> {
  const snapshotId = parseSnapshotId(request.snapshotId);
  const datasetId = parseDatasetId(request.sourceVolumeId);
  const nothing = { items: [], nextToken: '' };
  if (request.snapshotId !== '' && snapshotId === undefined) return nothing;
  if (request.sourceVolumeId !== '' && datasetId === undefined) return nothing;
  const filter = {
    ...(snapshotId === undefined ? {} : { snapshotId }),
    ...(datasetId === undefined ? {} : { datasetId }),
  };
  const all = (await client.listSnapshots(filter, signal)).filter(isShown);
  const isId = (text: string): boolean => parseSnapshotId(text) !== undefined;
  const { items, nextToken } = pageOf(all, (one) => one.snapshot_id, request, isId);
  return { items: items.map(snapshotMessage), nextToken };
}

/** What is not taken yet has no time, which CSI requires. */
function isShown({ status, metadata, taken }: SnapshotView): boolean {
  return status === 'ready' && taken !== null && metadata[CLONE_KEY] === undefined;
}

function snapshotMessage({ snapshot_id, dataset_id, metadata, size, taken, status }: SnapshotView): SnapshotMessage {
  return {
    snapshotId: snapshot_id,
    sourceVolumeId: dataset_id,
    sizeBytes: BigInt(blockBytesOf(metadata, size) ?? size ?? 0),
    readyToUse: status === 'ready',
    ...(taken === null ? {} : { creationTime: timestampFromDate(new Date(taken)) }),
  };
}

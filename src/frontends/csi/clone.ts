import type { SnapshotView } from '../../api/snapshots.ts';
import { errorCode } from '../../kit/coded-error.ts';
import { type DatasetId, type NodeId, parseDatasetId, parseSnapshotId, type SnapshotId } from '../../kit/ids.ts';
import { BLOCK_KEY, FILESYSTEM_KEY, PROFILE_KEY } from '../../model/dataset.ts';
import { blockBytesIn, blockBytesOf, blockMetadata } from './block-size.ts';
import { type Access, accessProblem } from './capabilities.ts';
import type { ContentSource } from './content-source.ts';
import { CsiError } from './csi-error.ts';
import type { CsiWorld } from './csi-world.ts';
import { type DerivedSnapshot, derivedSnapshot } from './derived-snapshot.ts';
import { findVolume } from './find-volume.ts';
import type { VolumeWish } from './volume-wish.ts';

/** A snapshot that is ready, for a new volume to begin with. */
export interface OpenedSource {
  readonly snapshotId: SnapshotId;
  readonly pool: string | undefined;
  readonly access: Access;
  /** Bytes that a volume made from it has at least, as callers count them. */
  readonly sizeBytes: number;
  /** Bytes that its dataset has at least. */
  readonly storageBytes: number;
  readonly profile: string | undefined;
  readonly filesystem: string | undefined;
}

/** Metadata key of the snapshot that stands between a volume and its clone; such a one is not listed. */
export const CLONE_KEY = 'flocker:csi-clone';

/**
 * Gets the source of a new volume ready. A clone is made from a snapshot that is there only as long as that takes; its id
 * is made from the new volume's name, so that a repeated request goes on with the one of the request before.
 */
export async function openSource(
  world: CsiWorld,
  wish: VolumeWish,
  source: ContentSource,
  signal: AbortSignal,
): Promise<OpenedSource> {
  return (source.kind === 'snapshot' ? openSnapshot : openVolume)(world, wish, source, signal);
}

/** A copy is what its source is. Fails with `INVALID_ARGUMENT`. */
function requireLike(
  { name, access, filesystem }: VolumeWish,
  source: ContentSource,
  present: Pick<OpenedSource, 'access' | 'filesystem'>,
): void {
  const refuse = (problem: string): never => {
    throw new CsiError(
      'INVALID_ARGUMENT',
      `volume ${name} cannot be made from ${source.kind} ${source.id}: ${problem}`,
    );
  };
  const otherAccess = accessProblem(present.access, access);
  if (otherAccess !== undefined) refuse(otherAccess);
  if (filesystem !== undefined && present.filesystem !== undefined && filesystem !== present.filesystem)
    refuse(`it has ${present.filesystem}, and a copy cannot have ${filesystem}`);
}

async function openSnapshot(
  { client }: CsiWorld,
  wish: VolumeWish,
  source: ContentSource,
  signal: AbortSignal,
): Promise<OpenedSource> {
  const { id } = source;
  const snapshotId = parseSnapshotId(id);
  const [found] = snapshotId === undefined ? [] : await client.listSnapshots({ snapshotId }, signal);
  if (snapshotId === undefined || found === undefined || found.status === 'deleted' || found.status === 'deleting')
    throw new CsiError('NOT_FOUND', `volume ${wish.name}: there is no snapshot ${id} to make it from`);
  const ready = await client.waitForSnapshot(snapshotId, signal);
  const metadata = { ...(await blockOfOrigin(client, found, signal)), ...ready.metadata };
  const result = opened(snapshotId, { ...ready, metadata });
  requireLike(wish, source, result);
  return result;
}

/** Snapshots that were not taken through CSI do not say what kind of volume they are of. */
async function blockOfOrigin(
  client: CsiWorld['client'],
  { dataset_id, metadata, size }: SnapshotView,
  signal: AbortSignal,
): Promise<Record<string, string>> {
  const origin = parseDatasetId(dataset_id);
  if (metadata[BLOCK_KEY] !== undefined || origin === undefined) return {};
  const found = await client.inspectDataset(origin, signal);
  const wasBlock = found?.configuration.metadata[BLOCK_KEY] !== undefined;
  return wasBlock ? blockMetadata(blockBytesIn(size ?? 0)) : {};
}

async function openVolume(
  world: CsiWorld,
  wish: VolumeWish,
  source: ContentSource,
  signal: AbortSignal,
): Promise<OpenedSource> {
  const { client } = world;
  const { name } = wish;
  const volume = await findVolume(world, source.id, signal);
  if (volume === undefined)
    throw new CsiError('NOT_FOUND', `volume ${name}: there is no volume ${source.id} to make it from`);
  requireLike(wish, source, volume);
  const { id: snapshotId } = await cloneSnapshot(client, name, source, signal);
  const metadata = {
    [CLONE_KEY]: name,
    ...(volume.profile === undefined ? {} : { [PROFILE_KEY]: volume.profile }),
    ...(volume.filesystem === undefined ? {} : { [FILESYSTEM_KEY]: volume.filesystem }),
    ...blockMetadata(volume.access === 'block' ? volume.sizeBytes : undefined),
  };
  await client.createSnapshot({ datasetId: volume.id, snapshotId, metadata }, signal);
  return opened(snapshotId, await client.waitForSnapshot(snapshotId, signal));
}

function opened(
  snapshotId: SnapshotId,
  { pool, size, metadata }: Awaited<ReturnType<CsiWorld['client']['waitForSnapshot']>>,
): OpenedSource {
  const blockBytes = blockBytesOf(metadata, size);
  return {
    snapshotId,
    pool: pool ?? undefined,
    access: blockBytes === undefined ? 'mount' : 'block',
    sizeBytes: blockBytes ?? size ?? 0,
    storageBytes: size ?? 0,
    profile: metadata[PROFILE_KEY],
    filesystem: metadata[FILESYSTEM_KEY],
  };
}

/** Waits until a clone has its data and takes the snapshot away. Doing it again is fine. */
export async function finishClone(
  world: CsiWorld,
  clone: { readonly id: DatasetId; readonly primary: NodeId },
  name: string,
  source: ContentSource,
  signal: AbortSignal,
): Promise<void> {
  const { found } = await cloneSnapshot(world.client, name, source, signal);
  if (found === undefined) return;
  await world.client.waitUntilMounted(clone.id, clone.primary, () => undefined, signal);
  await dropCloneSnapshot(world, name, source, signal);
}

/** Takes away what a clone that was never finished has left. */
export async function dropCloneSnapshot(
  { client }: CsiWorld,
  name: string,
  source: ContentSource,
  signal: AbortSignal,
): Promise<void> {
  const { id, found } = await cloneSnapshot(client, name, source, signal);
  if (found === undefined) return;
  await client.deleteSnapshot(id, signal).catch((error: unknown) => {
    if (errorCode(error) !== 'not_found') throw error;
  });
}

function cloneSnapshot(
  client: CsiWorld['client'],
  name: string,
  source: ContentSource,
  signal: AbortSignal,
): Promise<DerivedSnapshot> {
  return derivedSnapshot(client, ['csi clone', name, source.id], signal);
}

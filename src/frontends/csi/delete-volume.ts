import type { DatasetConfiguration } from '../../api/datasets.ts';
import { errorCode } from '../../kit/coded-error.ts';
import { type DatasetId, parseDatasetId } from '../../kit/ids.ts';
import { nameOf } from '../../model/dataset.ts';
import { dropCloneSnapshot } from './clone.ts';
import { sourceIn } from './content-source.ts';
import { CsiError } from './csi-error.ts';
import type { CsiWorld } from './csi-world.ts';
import { findVolume } from './find-volume.ts';
import { leasedIds, readLeases } from './publications.ts';

/** Deletes a volume that nobody uses; resolves once that is durable. One that is not there is fine. */
export async function deleteVolume(world: CsiWorld, volumeId: string, signal: AbortSignal): Promise<void> {
  const id = parseDatasetId(volumeId);
  const deleted = id === undefined ? undefined : await deleteUnused(world, id, signal);
  if (deleted === undefined) {
    await deleteSlowly(world, volumeId, signal);
    return;
  }
  const source = sourceIn(deleted.metadata);
  const name = nameOf(deleted.metadata);
  if (source?.kind === 'volume' && name !== undefined) await dropCloneSnapshot(world, name, source, signal);
}

/**
 * All in one request: the control service deletes the volume only if nobody has a lease on it and it is not published.
 * Undefined when that is not so, or there is none of this id, or the control service cannot do that.
 */
async function deleteUnused(
  { client }: CsiWorld,
  id: DatasetId,
  signal: AbortSignal,
): Promise<DatasetConfiguration | undefined> {
  if (!(await client.hasAdditions(signal))) return undefined;
  try {
    return await client.deleteDataset(id, { kind: 'unleased', ids: leasedIds(id) }, signal);
  } catch (error) {
    const code = errorCode(error);
    if (code === 'condition_failed' || code === 'not_found') return undefined;
    throw error;
  }
}

/** Says who uses it, and finds volumes by name. */
async function deleteSlowly(world: CsiWorld, volumeId: string, signal: AbortSignal): Promise<void> {
  const { client, volumes } = world;
  const [volume, leases] = await Promise.all([findVolume(world, volumeId, signal), readLeases(client, signal)]);
  if (volume === undefined) return;
  const publication = leases.publication(volume.id);
  if (publication !== undefined)
    throw new CsiError(
      'FAILED_PRECONDITION',
      `volume ${volumeId} is published on node ${publication.nodeId}; unpublish it first`,
    );
  await volumes.catalog.delete({ name: volume.name ?? volume.id, datasetId: volume.id }, signal);
  if (volume.source?.kind === 'volume' && volume.name !== undefined)
    await dropCloneSnapshot(world, volume.name, volume.source, signal);
}

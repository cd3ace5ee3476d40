import { dropCloneSnapshot } from './clone.ts';
import { CsiError } from './csi-error.ts';
import type { CsiWorld } from './csi-world.ts';
import { findVolume } from './find-volume.ts';
import { readLeases } from './publications.ts';

/** Deletes a volume that nobody uses; resolves once that is durable. One that is not there is fine. */
export async function deleteVolume(world: CsiWorld, volumeId: string, signal: AbortSignal): Promise<void> {
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

import { FILESYSTEM_KEY } from '../../../model/dataset.ts';
import { FILESYSTEM_TYPES, type FilesystemType, minimumFilesystemBytes } from '../../host/filesystem.ts';
import { BackendError, type VolumeRecipe } from '../backend.ts';
import type { SnapshotRecord } from '../snapshot-record.ts';
import { planVolume, requireSize, type VolumeDefaults } from '../volume-plan.ts';
import type { VolumeRecord } from '../volume-record.ts';

export interface LoopbackProfile {
  readonly filesystem?: FilesystemType;
}

export interface ImageDefaults extends VolumeDefaults<LoopbackProfile> {
  readonly defaultFilesystem: FilesystemType;
}

/** The record of the volume that a recipe and, if it has a source, a snapshot lead to. Fails as `Backend.create` does. */
export function planImage(
  recipe: VolumeRecipe,
  source: SnapshotRecord | null,
  defaults: ImageDefaults,
): VolumeRecord & { readonly filesystem: FilesystemType } {
  const { datasetId, metadata } = recipe;
  const { sizeBytes, profile, profileName, name } = planVolume(recipe, defaults, source);
  const copied = source?.filesystem;
  const wanted = metadata[FILESYSTEM_KEY] ?? copied ?? profile?.filesystem ?? defaults.defaultFilesystem;
  const filesystem = knownFilesystem(wanted);
  if (filesystem === undefined) {
    const text = `volume ${datasetId} asks for the filesystem "${wanted}"; there are: ${FILESYSTEM_TYPES.join(', ')}`;
    throw new BackendError('no_such_profile', text);
  }
  if (source !== null && copied !== filesystem) {
    const text = `volume ${datasetId} asks for the filesystem "${wanted}", and the snapshot it is made from has ${copied}; leave it out`;
    throw new BackendError('no_such_profile', text);
  }
  requireSize(datasetId, sizeBytes, minimumFilesystemBytes(filesystem), `an ${filesystem} filesystem`);
  return { datasetId, sizeBytes, filesystem, profile: profileName, name };
}

/** The filesystem of a volume that exists. Fails with `backend_failed` when this release does not know it. */
export function filesystemOf({ datasetId, filesystem }: VolumeRecord): FilesystemType {
  const type = knownFilesystem(filesystem ?? '');
  if (type !== undefined) return type;
  throw new BackendError('backend_failed', `volume ${datasetId} has the unknown filesystem ${filesystem}`);
}

function knownFilesystem(text: string): FilesystemType | undefined {
  return FILESYSTEM_TYPES.find((type) => type === text);
}

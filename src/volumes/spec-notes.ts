import { formatSize } from '../kit/sizes.ts';
import { DEFAULT_SIZE_BYTES, FILESYSTEM_KEY, FLOCKER_ID_KEY, NAME_KEY, PROFILE_KEY } from '../model/dataset.ts';
import type { VolumeSpec } from './volume-spec.ts';

/** Metadata of a volume that is made for a spec. Both name keys, so that every known client finds it. */
export function metadataFor(spec: VolumeSpec): Record<string, string> {
  return {
    [NAME_KEY]: spec.name,
    [FLOCKER_ID_KEY]: spec.name,
    ...(spec.profile === undefined ? {} : { [PROFILE_KEY]: spec.profile }),
    ...(spec.filesystem === undefined ? {} : { [FILESYSTEM_KEY]: spec.filesystem }),
  };
}

/**
 * Where an existing volume differs from what was asked. It is used as it is, also when it is smaller: Flocker cannot
 * resize, and refusing would keep a task from its data after somebody edited a size.
 */
export function notesOn(
  spec: VolumeSpec,
  existing: { readonly metadata: Readonly<Record<string, string>>; readonly maximum_size?: number | undefined },
): string[] {
  const notes: string[] = [];
  const sizeBytes = existing.maximum_size ?? DEFAULT_SIZE_BYTES;
  if (spec.sizeBytes !== undefined && spec.sizeBytes !== sizeBytes)
    notes.push(`${formatSize(spec.sizeBytes)} was asked for, but the volume exists with ${formatSize(sizeBytes)}`);
  const profile = existing.metadata[PROFILE_KEY];
  if (spec.profile !== undefined && spec.profile !== profile)
    notes.push(`profile ${spec.profile} was asked for, but the volume exists with ${profile ?? 'the default profile'}`);
  const filesystem = existing.metadata[FILESYSTEM_KEY];
  if (spec.filesystem !== undefined && spec.filesystem !== filesystem)
    notes.push(
      `${spec.filesystem} was asked for, but the volume exists with ${filesystem ?? 'the default filesystem'}`,
    );
  return notes;
}

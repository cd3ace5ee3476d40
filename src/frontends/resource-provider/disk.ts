import type { Resource } from './mesos-messages.ts';
import { VOLUME_LABEL } from './pool-labels.ts';
import type { Disk } from './provider-state.ts';

/** The disk behind a resource; undefined for one without an id, or of which no volume is known. `root` of a RAW disk is `''`. */
export function diskOf(resource: Resource): Disk | undefined {
  const source = resource.disk?.source;
  const volume = source?.metadata?.labels?.find(({ key }) => key === VOLUME_LABEL)?.value;
  if (source?.id === undefined || volume === undefined) return undefined;
  return { id: source.id, volume, root: source.mount?.root ?? '' };
}

/** The profile in the labels of a disk that existed before. */
export const PROFILE_LABEL = 'profile';

import { PROFILE_LABEL } from './disk.ts';
import type { OperationInfo, Resource } from './mesos-messages.ts';
import { VOLUME_LABEL } from './pool-labels.ts';
import type { ProviderRecord } from './provider-record.ts';

/** Name of the volume for a disk: readable, and no two disks have the same. */
export function volumeName(profile: string, datasetId: string): string {
  return `mesos-${profile}-${datasetId.replaceAll('-', '').slice(0, 12)}`;
}

/**
 * The disk that CREATE_DISK makes of its source. Quantity, reservations and allocation stay exactly as they are: another
 * quantity would end the master (contract 1.16: H1, H2).
 */
export function convertedDisk(
  { source, target_profile: targetProfile }: NonNullable<OperationInfo['create_disk']>,
  newId: string,
  mountRoot: string,
): Resource {
  const { id, profile: sourceProfile, metadata, ...kept } = source.disk?.source ?? {};
  const profile = targetProfile ?? sourceProfile ?? '';
  const labels = metadata?.labels ?? [];
  const named = labels.some(({ key }) => key === VOLUME_LABEL);
  return {
    ...source,
    disk: {
      source: {
        ...kept,
        type: 'MOUNT',
        id: id ?? newId,
        profile,
        metadata: { labels: named ? labels : [...labels, { key: VOLUME_LABEL, value: volumeName(profile, newId) }] },
        mount: { root: mountRoot },
      },
    },
  };
}

/** What DESTROY_DISK gives back: room in the pool of its profile, or nothing when that is not offered any more. */
export function convertedPool(source: Resource, pools: ProviderRecord['pools'], vendor: string): readonly Resource[] {
  const { profile, metadata } = source.disk?.source ?? {};
  const wanted = profile ?? metadata?.labels?.find(({ key }) => key === PROFILE_LABEL)?.value;
  const pool = pools.find((one) => one.profile === wanted);
  if (pool === undefined) return [];
  const { profile: name, labels } = pool;
  return [{ ...source, disk: { source: { type: 'RAW', profile: name, vendor, metadata: { labels } } } }];
}

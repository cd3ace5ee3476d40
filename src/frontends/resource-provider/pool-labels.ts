import type { ProfileView } from '../../api/storage.ts';

/** Label with the name of the volume behind a disk. */
export const VOLUME_LABEL = 'flocker.volume';
/** Label with the identity of the storage pool: agents with the same value reach the same volumes. */
const POOL_LABEL = 'flocker.pool';
/** Label with the address of the storage state, where the figures are that change. */
const STATE_LABEL = 'flocker.storage-state';

/**
 * What a profile is like, as labels. Only what never changes by itself: a resource with another label is another resource.
 * What is not known has no label.
 */
export function poolLabels(
  traits: Pick<ProfileView, 'media' | 'compression' | 'dedup' | 'replication' | 'encryption'>,
  pool: { readonly id: string; readonly backend: string; readonly stateUrl: string | null },
): { key: string; value: string }[] {
  const all: readonly (readonly [string, string | number | boolean | null])[] = [
    ['media', traits.media],
    ['compression', traits.compression],
    ['dedup', traits.dedup],
    ['replication', traits.replication],
    ['encryption', traits.encryption],
    ['backend', pool.backend],
    [POOL_LABEL, pool.id],
    [STATE_LABEL, pool.stateUrl],
  ];
  return all.flatMap(([key, value]) => (value === null ? [] : [{ key, value: String(value) }]));
}

import { type MilliMib, mibOfMilli, milliOfBytes } from './disk-quantity.ts';
import type { Resource } from './mesos-messages.ts';
import { VOLUME_LABEL } from './pool-labels.ts';
import type { ProviderRecord } from './provider-record.ts';
import type { KnownDataset, OfferSettings, StorageLook } from './provider-state.ts';
import { diskIdOf, kindOf, quantityOf, sameReservations, sumOf } from './resource-arithmetic.ts';

/** What the storage lets us offer: totals whose unconverted parts follow `look`, and what pools look like. */
export function offeredTotals(
  record: ProviderRecord,
  look: StorageLook,
  settings: OfferSettings,
): Pick<ProviderRecord, 'totals' | 'pools'> {
  const pools = look.profiles.filter(({ profile }) => settings.profiles?.has(profile) ?? true);
  const kept = record.totals.filter((resource) => isConverted(resource, settings));
  const sizes = poolSizes(record.totals, kept, pools, look, settings);
  const offered = pools.flatMap(({ profile, labels }) => {
    const milli = sizes.get(profile) ?? 0;
    return milli === 0 ? [] : [poolResource(record, settings, { profile, labels: [...labels] }, milli)];
  });
  const taken = new Set(kept.map(diskIdOf));
  const existing = existingDisks(record, look, settings).filter((disk) => !taken.has(diskIdOf(disk)));
  return {
    totals: [...kept, ...offered, ...existing],
    pools: pools.map(({ profile, labels }) => ({ profile, labels: [...labels] })),
  };
}

/** An unconverted pool. */
export function poolResource(
  record: ProviderRecord,
  settings: OfferSettings,
  pool: ProviderRecord['pools'][number],
  milli: MilliMib,
): Resource {
  return {
    ...common(record, settings),
    scalar: { value: mibOfMilli(milli) },
    disk: {
      source: {
        type: 'RAW',
        profile: pool.profile,
        vendor: settings.vendor,
        metadata: { labels: pool.labels },
      },
    },
  };
}

/** Whether `wanted` differs from what there is by enough to disturb frameworks for it. */
export function differsMuch(present: readonly Resource[], wanted: readonly Resource[]): boolean {
  const before = new Map(present.map((resource) => [kindOf(resource), quantityOf(resource)]));
  const after = new Map(wanted.map((resource) => [kindOf(resource), quantityOf(resource)]));
  if (present.length !== wanted.length || before.size !== after.size) return true;
  for (const [kind, milli] of after) {
    const present = before.get(kind);
    if (present === undefined) return true;
    if (Math.abs(milli - present) > Math.max(SMALLEST_CHANGE, present / 100)) return true;
  }
  return false;
}

/** The smallest volume: with less change nothing can be done. */
const SMALLEST_CHANGE: MilliMib = 64_000;

/**
 * Thick promises: what the pool has, less the sizes of all volumes in it. Profiles share a pool by weight, so that no byte is
 * offered twice; what is reserved or made already counts for its profile.
 */
function poolSizes(
  totals: readonly Resource[],
  kept: readonly Resource[],
  pools: StorageLook['profiles'],
  look: StorageLook,
  settings: OfferSettings,
): ReadonlyMap<string, MilliMib> {
  const weight = (profile: string): number => settings.profiles?.get(profile) ?? 1;
  const weights = pools.reduce((sum, { profile }) => sum + weight(profile), 0);
  const made = totals.filter((resource) => resource.disk?.source?.type === 'MOUNT');
  const free = milliOfBytes(look.freeBytes);
  const whole = look.totalBytes === null ? free + sumOf(made) : milliOfBytes(look.totalBytes);
  const promise = Math.max(0, Math.min(free, Math.floor(whole * settings.share) - sumOf(made)));
  const quotas = new Map(
    pools.map(({ profile }) => {
      const ours = sumOf(made.filter((resource) => resource.disk?.source?.profile === profile));
      const part = weights === 0 ? 0 : ((promise + sumOf(made)) * weight(profile)) / weights;
      return [profile, Math.max(0, part - ours)];
    }),
  );
  const asked = [...quotas.values()].reduce((sum, quota) => sum + quota, 0);
  const scale = asked > promise ? promise / asked : 1;
  const reserved = kept.filter(isPool);
  return new Map(
    [...quotas].map(([profile, quota]) => {
      const promised = sumOf(reserved.filter((resource) => resource.disk?.source?.profile === profile));
      return [profile, Math.max(0, Math.floor(quota * scale) - promised)];
    }),
  );
}

/** Volumes that exist, as disks with an id and no profile. */
function existingDisks(record: ProviderRecord, look: StorageLook, settings: OfferSettings): readonly Resource[] {
  const present = new Map(look.datasets.map((dataset) => [dataset.id, dataset]));
  // What is offered already stays for as long as it exists: also disks of an earlier identity.
  const offered = record.totals.filter(
    (resource) => isExisting(resource) && !isConverted(resource, settings) && present.has(diskIdOf(resource) ?? ''),
  );
  if (!settings.offerExisting) return offered;
  const known = new Set(offered.map(diskIdOf));
  const more = look.datasets.filter((dataset) => dataset.idleHere && !known.has(dataset.id));
  return [...offered, ...more.flatMap((dataset) => existingDisk(record, look, settings, dataset) ?? [])];
}

function existingDisk(
  record: ProviderRecord,
  look: StorageLook,
  settings: OfferSettings,
  { id, name, profile, sizeBytes }: KnownDataset,
): Resource | undefined {
  const labels = labelsOfExisting(look, profile);
  if (name === null || sizeBytes === null || labels === undefined) return undefined;
  return {
    ...common(record, settings),
    scalar: { value: mibOfMilli(milliOfBytes(sizeBytes)) },
    disk: {
      source: {
        type: 'RAW',
        id,
        vendor: settings.vendor,
        metadata: {
          labels: [
            ...labels,
            ...(profile === null ? [] : [{ key: 'profile', value: profile }]),
            { key: VOLUME_LABEL, value: name },
          ],
        },
      },
    },
  };
}

/** What a volume is like; undefined when that is not known: one without a profile, where profiles differ. */
function labelsOfExisting(
  look: StorageLook,
  profile: string | null,
): StorageLook['profiles'][number]['labels'] | undefined {
  if (profile !== null) return look.profiles.find((pool) => pool.profile === profile)?.labels;
  const kinds = new Set(look.profiles.map(({ labels }) => JSON.stringify(labels)));
  return kinds.size === 1 ? look.profiles[0]?.labels : undefined;
}

function common(record: ProviderRecord, { defaultReservations }: OfferSettings): Omit<Resource, 'scalar' | 'disk'> {
  return {
    name: 'disk',
    type: 'SCALAR',
    ...(record.providerId === null ? {} : { provider_id: { value: record.providerId } }),
    ...(defaultReservations.length === 0 ? {} : { reservations: [...defaultReservations] }),
  };
}

function isPool(resource: Resource): boolean {
  const source = resource.disk?.source;
  return source?.type === 'RAW' && source.id === undefined;
}

function isExisting(resource: Resource): boolean {
  const source = resource.disk?.source;
  return source?.type === 'RAW' && source.id !== undefined;
}

/** Whether a framework did something with it: then it stays, whatever the storage says. */
function isConverted(resource: Resource, { defaultReservations }: OfferSettings): boolean {
  if (!isPool(resource) && !isExisting(resource)) return true;
  return !sameReservations(resource.reservations ?? [], defaultReservations);
}

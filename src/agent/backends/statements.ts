import type { Media, ProfileTraits } from '../../model/storage-state.ts';
import type { BackendSettings } from './backend-settings.ts';

/** What the operator says of a profile in `agent.yml`, because it cannot be measured from here. */
export type StatedTraits = Partial<Omit<ProfileTraits, 'name'>>;

/** What the operator says of a pool. */
export interface Statements {
  /** Of every profile that says nothing else. */
  readonly media: Media | undefined;
  readonly profiles: Readonly<Record<string, StatedTraits>>;
}

/** Keys of a profile that {@link readStatedTraits} reads. */
export const STATED_KEYS = ['media', 'compression', 'dedup', 'replication', 'encryption'] as const;
export const MEDIA: readonly Media[] = ['ssd', 'hdd', 'nvme'];
const DEDUP = ['none', 'offline', 'inline'] as const;

/** Reads what a profile's section states; every error names its key. */
export function readStatedTraits(profile: BackendSettings): StatedTraits {
  return withoutUndefined({
    media: profile.choice('media', MEDIA),
    compression: profile.text('compression'),
    dedup: profile.choice('dedup', DEDUP),
    replication: profile.count('replication'),
    encryption: profile.flag('encryption'),
  });
}

/** The traits of each profile: as stated, where nothing is stated as measured of the pool. */
export function traitsOf(
  { media, profiles }: Statements,
  measured: Omit<ProfileTraits, 'name'>,
): readonly ProfileTraits[] {
  const ofPool = media === undefined ? measured : { ...measured, media };
  return Object.entries(profiles).map(([name, stated]) => ({ name, ...ofPool, ...stated }));
}

function withoutUndefined(
  traits: { readonly [Key in keyof StatedTraits]: StatedTraits[Key] | undefined },
): StatedTraits {
  return Object.fromEntries(Object.entries(traits).filter(([, value]) => value !== undefined));
}

import type { DatasetId } from '../../kit/ids.ts';
import { formatSize, roundUp } from '../../kit/sizes.ts';
import { nameOf, PROFILE_KEY } from '../../model/dataset.ts';
import { BackendError, type TakenSnapshot, type VolumeRecipe } from './backend.ts';

/** What the operator has settled about new volumes. */
export interface VolumeDefaults<Profile> {
  /** Bytes; sizes are rounded up to a multiple of it. */
  readonly allocationUnitBytes: number;
  /** Bytes of a volume nobody gave a size for. */
  readonly defaultSizeBytes: number;
  readonly profiles: Readonly<Record<string, Profile>>;
}

/** A recipe after the operator's settings were applied to it. */
export interface VolumePlan<Profile> {
  readonly datasetId: DatasetId;
  readonly sizeBytes: number;
  readonly profileName: string | null;
  readonly profile: Profile | null;
  readonly name: string | null;
}

/** Applies the settings. Fails with `bad_size` or with `no_such_profile`, naming the profiles there are. */
export function planVolume<Profile>(
  recipe: VolumeRecipe,
  defaults: VolumeDefaults<Profile>,
  source: TakenSnapshot | null = null,
): VolumePlan<Profile> {
  const { datasetId, metadata } = recipe;
  const asked = recipe.sizeBytes ?? source?.sizeBytes ?? defaults.defaultSizeBytes;
  const sizeBytes = wholeUnits(datasetId, asked, defaults.allocationUnitBytes);
  if (source !== null) requireSize(datasetId, sizeBytes, source.sizeBytes, 'the snapshot it is made from');
  const profileName = metadata[PROFILE_KEY] ?? null;
  const profile = profileName === null ? null : ownValue(defaults.profiles, profileName);
  if (profile === undefined) {
    const known = Object.keys(defaults.profiles).sort().join(', ') || 'none';
    const text = `volume ${datasetId} asks for the profile "${profileName}", which this node lacks; there are: ${known}`;
    throw new BackendError('no_such_profile', text);
  }
  return { datasetId, sizeBytes, profileName, profile, name: nameOf(metadata) ?? null };
}

/** `sizeBytes` rounded up to whole allocation units. Fails with `bad_size` for what is no size. */
export function wholeUnits(datasetId: DatasetId, sizeBytes: number, allocationUnitBytes: number): number {
  const rounded = roundUp(sizeBytes, allocationUnitBytes);
  if (Number.isSafeInteger(sizeBytes) && sizeBytes > 0 && Number.isSafeInteger(rounded)) return rounded;
  throw new BackendError(
    'bad_size',
    `volume ${datasetId} cannot have ${sizeBytes} bytes: ask for a whole number above 0`,
  );
}

/** Fails with `bad_size` when a volume would be too small for what goes on it. */
export function requireSize(datasetId: DatasetId, sizeBytes: number, minimumBytes: number, what: string): void {
  if (sizeBytes >= minimumBytes) return;
  const sizes = `${formatSize(sizeBytes)} is too small for ${what}: ask for at least ${formatSize(minimumBytes)}`;
  throw new BackendError('bad_size', `volume ${datasetId}: ${sizes}`);
}

function ownValue<Value>(record: Readonly<Record<string, Value>>, key: string): Value | undefined {
  return Object.hasOwn(record, key) ? record[key] : undefined;
}

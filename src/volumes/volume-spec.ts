import type { DatasetId } from '../kit/ids.ts';
import { formatSize, roundUp } from '../kit/sizes.ts';
import { MINIMUM_SIZE_BYTES, SIZE_STEP_BYTES } from '../model/dataset.ts';
import { VolumeError } from './volume-error.ts';

/** Who uses a volume on this node, for as long as it does. */
export interface Holder {
  /** Unique on this node, 1 to 512 characters: `run/<uuid>`, `mesos/<container chain>`, `dvdcli/<volume>`. */
  readonly id: string;
  /** For people: what it is and where it comes from, up to 1024 characters. */
  readonly detail: string;
  /** A text kept with each of its volumes, durably before anything else is done, for the frontend's own recovery. */
  readonly note?: string;
}

/** The volume that is wanted. */
export interface VolumeSpec {
  /**
   * 1 to 256 code points; no control or line-separating characters, no `/`, and neither `.` nor `..`, as frontends make
   * paths and addresses of it.
   */
  readonly name: string;
  /** Bytes, at least 64 MiB and a multiple of 1024. Only for a volume that is made now. */
  readonly sizeBytes?: number;
  /** Only for a volume that is made now. */
  readonly profile?: string;
  /** Only for a volume that is made now. */
  readonly filesystem?: 'ext4' | 'xfs';
  /** Whether a missing volume is made. */
  readonly create: 'auto' | 'never';
  /** How the holder will mount it. The node's own mount is always writable. */
  readonly mode: 'rw' | 'ro';
  /** Profiles of this node, when the caller knows them; a wish for another one is refused. */
  readonly knownProfiles?: readonly string[];
}

/** A volume that is mounted on this node and stays until the holder is released. */
export interface AcquiredVolume {
  readonly path: string;
  readonly datasetId: DatasetId;
  /** Real size; undefined when the control service does not say. */
  readonly sizeBytes: number | undefined;
  /** Whether this holder's acquire made the volume. */
  readonly created: boolean;
  /** Where the volume is not as the spec asked: it existed already and was taken as it is. */
  readonly notes: readonly string[];
}

const UNFIT = /[\p{Cc}\p{Cs}\p{Zl}\p{Zp}/]/u;

/** Throws `bad_name`, `bad_size` or `no_such_profile` when no volume can be like this. */
export function checkSpec(spec: VolumeSpec): void {
  checkName(spec.name);
  checkSize(spec.name, spec.sizeBytes);
  if (spec.profile !== undefined && (spec.profile === '' || codePoints(spec.profile) > 256 || UNFIT.test(spec.profile)))
    throw new VolumeError('no_such_profile', `volume ${spec.name}: ${JSON.stringify(spec.profile)} is no profile name`);
}

/** Throws `no_such_profile` when the spec wishes for a profile that this node is known not to have. */
export function checkProfile({ name, profile, knownProfiles }: VolumeSpec): void {
  if (profile === undefined || knownProfiles === undefined || knownProfiles.includes(profile)) return;
  const choice = knownProfiles.length === 0 ? 'this node has none' : `this node has ${knownProfiles.join(', ')}`;
  throw new VolumeError('no_such_profile', `volume ${name}: there is no profile ${profile}; ${choice}`);
}

/** Throws `bad_holder` when the holder's id or detail is too long, empty or unprintable. */
export function checkHolder(holder: Holder): void {
  if (holder.id === '' || codePoints(holder.id) > 512 || /[\p{Cc}\p{Cs}]/u.test(holder.id))
    throw new VolumeError(
      'bad_holder',
      `a holder id has 1 to 512 printable characters, not ${JSON.stringify(holder.id)}`,
    );
  if (codePoints(holder.detail) > 1024)
    throw new VolumeError('bad_holder', `holder ${holder.id}: its detail is longer than 1024 characters`);
}

/** Throws `bad_name` when no volume can have this name. */
export function checkName(name: string): void {
  const shown = JSON.stringify(name.length > 300 ? `${name.slice(0, 300)}…` : name);
  if (name === '') throw new VolumeError('bad_name', 'a volume name must not be empty');
  if (name === '.' || name === '..') throw new VolumeError('bad_name', `a volume cannot be named ${shown}`);
  if (codePoints(name) > 256) throw new VolumeError('bad_name', `volume name ${shown} is longer than 256 characters`);
  if (UNFIT.test(name))
    throw new VolumeError('bad_name', `volume name ${shown} has a slash or a control character; use neither`);
}

function checkSize(name: string, sizeBytes: number | undefined): void {
  if (sizeBytes === undefined) return;
  if (!Number.isSafeInteger(sizeBytes) || sizeBytes < MINIMUM_SIZE_BYTES)
    throw new VolumeError(
      'bad_size',
      `volume ${name}: ${sizeBytes} bytes is no size for a volume; the smallest is ${formatSize(MINIMUM_SIZE_BYTES)} ` +
        `(${MINIMUM_SIZE_BYTES} bytes)`,
    );
  if (sizeBytes % SIZE_STEP_BYTES !== 0)
    throw new VolumeError(
      'bad_size',
      `volume ${name}: ${sizeBytes} bytes is not a multiple of ${SIZE_STEP_BYTES}; the next that is: ` +
        `${roundUp(sizeBytes, SIZE_STEP_BYTES)}`,
    );
}

function codePoints(text: string): number {
  return Array.from(text).length;
}

import { VolumeError } from '../../volumes/volume-error.ts';
import type { VolumeSpec } from '../../volumes/volume-spec.ts';

const UNIT_BYTES: Readonly<Record<string, number>> = { '': 1, k: 2 ** 10, m: 2 ** 20, g: 2 ** 30, t: 2 ** 40 };

/**
 * The volume that `docker volume create` asks for. Options are read as Flocker's plugin read them (contract 5), except that
 * a size it could not read became 75 GiB and is an error here. `ignored` are options that mean nothing to us, which Flocker
 * took in silence.
 */
export function parseDockerOptions(
  name: string,
  options: Readonly<Record<string, unknown>>,
): { readonly spec: VolumeSpec; readonly ignored: readonly string[] } {
  const { size, profile, ...others } = options;
  const spec: VolumeSpec = {
    name,
    create: 'auto',
    mode: 'rw',
    ...(size === undefined ? {} : { sizeBytes: parseDockerSize(name, size) }),
    ...(profile === undefined ? {} : { profile: parseProfile(name, profile) }),
  };
  return { spec, ignored: Object.keys(others) };
}

/** Bytes of `67108864`, `100mb`, `10GiB`: all units are binary. Throws `bad_size`. */
function parseDockerSize(name: string, size: unknown): number {
  const match = typeof size === 'string' ? /^(\d+)(?:([kmgt])(?:i?b)?)?$/i.exec(size) : null;
  const unitBytes = UNIT_BYTES[(match?.[2] ?? '').toLowerCase()];
  if (match !== null && unitBytes !== undefined) {
    const sizeBytes = Number(match[1]) * unitBytes;
    if (Number.isSafeInteger(sizeBytes)) return sizeBytes;
  }
  throw new VolumeError(
    'bad_size',
    `volume ${name}: ${JSON.stringify(size)} is no size; write bytes, or a whole number with a unit as in 100MiB or 10GiB`,
  );
}

function parseProfile(name: string, profile: unknown): string {
  if (typeof profile === 'string') return profile;
  throw new VolumeError('no_such_profile', `volume ${name}: ${JSON.stringify(profile)} is no profile name`);
}

import { errorText } from '../../kit/coded-error.ts';
import { formatSize, roundUp } from '../../kit/sizes.ts';
import { DEFAULT_SIZE_BYTES, MINIMUM_SIZE_BYTES } from '../../model/dataset.ts';
import { checkName } from '../../volumes/volume-spec.ts';
import { bytesIn, required } from './arguments.ts';
import { stepOf } from './block-size.ts';
import { type Access, type Filesystem, isFilesystem, useOf } from './capabilities.ts';
import { type ContentSource, sourceOf } from './content-source.ts';
import { CsiError } from './csi-error.ts';
import type { CapacityRange, CreateVolumeRequest, TopologyRequirement } from './generated/csi_pb.ts';

/** A volume that CreateVolume asks for, checked. */
export interface VolumeWish {
  readonly name: string;
  readonly access: Access;
  /** Size to make it with, bytes. */
  readonly sizeBytes: number;
  /** Sizes that an existing volume of the name may have, bytes. */
  readonly smallestBytes: number;
  readonly largestBytes: number | undefined;
  readonly profile: string | undefined;
  readonly filesystem: Filesystem | undefined;
  readonly source: ContentSource | undefined;
  readonly topology: TopologyRequirement | undefined;
}

/** Kubernetes hands the filesystem of a storage class over in this one as well. */
const FILESYSTEM_PARAMETERS = ['fsType', 'csi.storage.k8s.io/fstype'];
/** What Kubernetes's provisioner tells about the claim, when it is told to. */
const TOLD_BY_KUBERNETES = /^csi\.storage\.k8s\.io\/(?:pvc|pv)\//;

/** Reads a CreateVolume request. Fails with `INVALID_ARGUMENT` or `OUT_OF_RANGE`. */
export function parseVolumeWish(request: CreateVolumeRequest): VolumeWish {
  const name = required(request.name, 'name of a volume');
  try {
    checkName(name);
  } catch (error) {
    throw new CsiError('INVALID_ARGUMENT', errorText(error), { cause: error });
  }
  const { volumeCapabilities } = request;
  if (volumeCapabilities.length === 0)
    throw new CsiError('INVALID_ARGUMENT', `volume ${name}: the request has no capabilities`);
  const uses = volumeCapabilities.map((capability) => useOf(capability, name));
  const [access = 'mount', ...others] = new Set(uses.map((use) => use.access));
  if (others.length > 0)
    throw new CsiError('INVALID_ARGUMENT', `volume ${name}: a volume is used by mount or by block, not both`);
  if (Object.keys(request.mutableParameters).length > 0)
    throw new CsiError('INVALID_ARGUMENT', `volume ${name}: mutable parameters are not served; use parameters`);
  const { profile, filesystem } = parseParameters(request.parameters, name);
  const filesystems = new Set([filesystem, ...uses.map((use) => use.filesystem)].filter((one) => one !== undefined));
  if (filesystems.size > 1)
    throw new CsiError(
      'INVALID_ARGUMENT',
      `volume ${name}: a volume has one filesystem, not ${[...filesystems].join(' and ')}`,
    );
  const [wanted] = filesystems;
  const range = sizeRange(request.capacityRange, name, stepOf(access));
  return {
    name,
    access,
    ...range,
    profile,
    filesystem: wanted,
    source: sourceOf(request.volumeContentSource),
    topology: request.accessibilityRequirements,
  };
}

/** `profile` and `fsType`. Fails with `INVALID_ARGUMENT` for any other: a misspelt one should not be lost. */
export function parseParameters(
  parameters: Readonly<Record<string, string>>,
  subject: string,
): { readonly profile: string | undefined; readonly filesystem: Filesystem | undefined } {
  let profile: string | undefined;
  let filesystem: Filesystem | undefined;
  for (const [key, value] of Object.entries(parameters)) {
    if (value === '' || TOLD_BY_KUBERNETES.test(key)) continue;
    if (key === 'profile') profile = value;
    else if (!FILESYSTEM_PARAMETERS.includes(key))
      throw new CsiError(
        'INVALID_ARGUMENT',
        `volume ${subject}: there is no parameter ${key}; there are profile and fsType`,
      );
    else if (!isFilesystem(value))
      throw new CsiError('INVALID_ARGUMENT', `volume ${subject}: filesystem ${value} is not served; use ext4 or xfs`);
    else if (filesystem !== undefined && filesystem !== value)
      throw new CsiError('INVALID_ARGUMENT', `volume ${subject}: ${FILESYSTEM_PARAMETERS.join(' and ')} differ`);
    else filesystem = value;
  }
  return { profile, filesystem };
}

/** The size to make a volume with, and the range around it. Fails with `OUT_OF_RANGE` when no volume has such a size. */
export function sizeRange(
  range: CapacityRange | undefined,
  name: string,
  stepBytes: number,
): Pick<VolumeWish, 'sizeBytes' | 'smallestBytes' | 'largestBytes'> {
  const smallestBytes = bytesIn(range?.requiredBytes ?? 0n, 'required_bytes');
  const limitBytes = bytesIn(range?.limitBytes ?? 0n, 'limit_bytes');
  const largestBytes = limitBytes === 0 ? undefined : limitBytes;
  const wanted = smallestBytes === 0 ? Math.min(DEFAULT_SIZE_BYTES, largestBytes ?? DEFAULT_SIZE_BYTES) : smallestBytes;
  const sizeBytes =
    smallestBytes === 0
      ? Math.floor(wanted / stepBytes) * stepBytes
      : roundUp(Math.max(wanted, MINIMUM_SIZE_BYTES), stepBytes);
  if (sizeBytes < MINIMUM_SIZE_BYTES || (largestBytes !== undefined && sizeBytes > largestBytes))
    throw new CsiError(
      'OUT_OF_RANGE',
      `volume ${name}: no volume can have between ${smallestBytes} and ${largestBytes ?? 'any number of'} bytes: the smallest ` +
        `has ${formatSize(MINIMUM_SIZE_BYTES)}, and sizes are multiples of ${stepBytes}`,
    );
  return { sizeBytes, smallestBytes, largestBytes };
}

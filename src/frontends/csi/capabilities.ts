import { CsiError } from './csi-error.ts';
import { VolumeCapability_AccessMode_Mode as Mode, type VolumeCapability } from './generated/csi_pb.ts';

export const FILESYSTEMS = ['ext4', 'xfs'] as const;
export type Filesystem = (typeof FILESYSTEMS)[number];

/** A filesystem, or a block device without one. */
export type Access = 'mount' | 'block';

/** How a caller wants to use a volume, checked. */
export interface Use {
  readonly access: Access;
  readonly filesystem: Filesystem | undefined;
  readonly mountFlags: readonly string[];
  /** By its access mode, or because the flags say `ro`. */
  readonly readOnly: boolean;
}

/** Flags of a bind mount, and those that say what is so anyway. Others are options of a filesystem's driver. */
const MOUNT_FLAGS: ReadonlySet<string> = new Set([
  ...['ro', 'rw', 'noatime', 'relatime', 'strictatime', 'nodiratime', 'nosuid', 'nodev', 'noexec', 'defaults'],
]);

const SINGLE_NODE: ReadonlySet<Mode> = new Set([
  ...[Mode.SINGLE_NODE_WRITER, Mode.SINGLE_NODE_READER_ONLY],
  ...[Mode.SINGLE_NODE_SINGLE_WRITER, Mode.SINGLE_NODE_MULTI_WRITER],
]);

/** Why a volume cannot be used like this, or undefined when it can. */
export function capabilityProblem(capability: VolumeCapability): string | undefined {
  const { accessType, accessMode } = capability;
  if (accessType.case === undefined) return 'the capability says neither mount nor block';
  if (accessMode === undefined || accessMode.mode === Mode.UNKNOWN) return 'the capability has no access mode';
  if (!SINGLE_NODE.has(accessMode.mode))
    return `access mode ${Mode[accessMode.mode] ?? accessMode.mode} needs a volume on several nodes at once, and a volume here is on one; use SINGLE_NODE_WRITER`;
  if (accessType.case === 'block') return undefined;
  const { fsType, mountFlags, volumeMountGroup } = accessType.value;
  if (fsType !== '' && !isFilesystem(fsType))
    return `filesystem ${fsType} is not served; use ${FILESYSTEMS.join(' or ')}`;
  const unknown = mountFlags.filter((flag) => !MOUNT_FLAGS.has(flag));
  if (unknown.length > 0)
    return `mount flag ${unknown.join(', ')} is not allowed; allowed are ${[...MOUNT_FLAGS].join(', ')}`;
  if (volumeMountGroup !== '') return 'volume_mount_group is not served; let the caller set the group';
  return undefined;
}

/** The use that a capability asks for. Fails with `INVALID_ARGUMENT` when there is none, or it is not served. */
export function useOf(capability: VolumeCapability | undefined, volume: string): Use {
  if (capability === undefined)
    throw new CsiError('INVALID_ARGUMENT', `volume ${volume}: the request has no capability`);
  const problem = capabilityProblem(capability);
  if (problem !== undefined) throw new CsiError('INVALID_ARGUMENT', `volume ${volume}: ${problem}`);
  const mount = capability.accessType.case === 'mount' ? capability.accessType.value : undefined;
  const fsType = mount?.fsType ?? '';
  const mountFlags = mount?.mountFlags ?? [];
  return {
    access: mount === undefined ? 'block' : 'mount',
    filesystem: isFilesystem(fsType) ? fsType : undefined,
    mountFlags,
    readOnly: capability.accessMode?.mode === Mode.SINGLE_NODE_READER_ONLY || mountFlags.includes('ro'),
  };
}

/** Why a volume with this access cannot be used with the other, or undefined when it is the same. */
export function accessProblem(present: Access, wanted: Access): string | undefined {
  if (present === wanted) return undefined;
  return present === 'block'
    ? 'it is a block volume; use a block capability'
    : 'it has a filesystem and is no block volume; use a mount capability';
}

export function isFilesystem(text: string): text is Filesystem {
  return (FILESYSTEMS as readonly string[]).includes(text);
}

import type { FlockerClient } from '../../client/flocker-client.ts';
import type { StorageClient } from '../../client/storage-client.ts';
import type { Clock } from '../../kit/clock.ts';
import type { NewUuid, NodeId } from '../../kit/ids.ts';
import type { Logger } from '../../kit/logger.ts';
import type { LastingHolders } from '../../volumes/lasting-holders.ts';
import type { Volumes } from '../../volumes/volumes.ts';

/** Options of a bind mount, by their names in mount(8). */
export type BindFlags = ReadonlySet<string>;

/** Bind mounts on this machine. A target is a directory in one that exists; the system's own trees are refused. */
export interface BindMounts {
  /** Shows `source` at `target`, which is made unless it is an empty directory. Doing it again sets the flags again. */
  bind(source: string, target: string, flags: BindFlags): Promise<void>;
  /** Ends what is mounted at `target` and removes the directory if it is empty. One that is not there is fine. */
  unbind(target: string): Promise<void>;
  /** Whether anything is mounted at `target`. */
  isMounted(target: string): Promise<boolean>;
}

/** Block volumes on this machine: a file in the volume's directory, and loop devices that show it. */
export interface BlockMounts {
  /** Makes the file of the volume in `directory`, or grows it, and lets devices that have it see that. Never shrinks it. */
  prepare(directory: string, sizeBytes: number): Promise<void>;
  /** Shows the volume in `directory` at `target`, a file that is made unless it is an empty one. Again is fine. */
  show(directory: string, target: string, readOnly: boolean): Promise<void>;
  /** Ends what is shown at `target` and removes the file if it is empty. One that is not there is fine. */
  hide(target: string): Promise<void>;
  /** Lets go of all devices but those of the kinds to keep. Resolves with the paths of those that somebody has open. */
  detach(directory: string, keep: ReadonlySet<DeviceKind>, signal: AbortSignal): Promise<readonly string[]>;
}

/** A volume has one device of each kind at most. */
export type DeviceKind = 'writable' | 'readOnly';

/** What the CSI services work with. */
export interface CsiWorld {
  readonly client: FlockerClient & StorageClient;
  readonly volumes: Volumes;
  readonly holders: LastingHolders;
  readonly nodeId: NodeId;
  /** Pool of this node; undefined when this agent has no storage of its own. */
  readonly pool: string | undefined;
  /** Without, NodePublishVolume is refused. */
  readonly mounts: BindMounts | undefined;
  /** Without, block volumes are not staged here. */
  readonly blocks: BlockMounts | undefined;
  /** Whether a mounted filesystem can grow here: ext4 wants CAP_SYS_RESOURCE for it. */
  readonly growsOnline: boolean;
  readonly version: string;
  readonly clock: Clock;
  readonly newUuid: NewUuid;
  readonly logger: Logger;
}

/** Holders of this frontend: `csi/<volume name>`. */
export const CSI_PREFIX = 'csi/';

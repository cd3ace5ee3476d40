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
  /** Whether a mounted filesystem can grow here: ext4 wants CAP_SYS_RESOURCE for it. */
  readonly growsOnline: boolean;
  readonly version: string;
  readonly clock: Clock;
  readonly newUuid: NewUuid;
  readonly logger: Logger;
}

/** Holders of this frontend: `csi/<volume name>`. */
export const CSI_PREFIX = 'csi/';

import type { NewUuid } from '../../kit/ids.ts';
import type { AgentMessage, Label, Reservation, Resource } from './mesos-messages.ts';
import type { ProviderRecord } from './provider-record.ts';

/** What an operator decides about what is offered. */
export interface OfferSettings {
  readonly vendor: string;
  readonly defaultReservations: readonly Reservation[];
  /** Disks are found at `<mountRoot>/<id>/target`. */
  readonly mountRoot: string;
  /** Profiles to offer and their weights in the pool that they share; null offers all, with equal weights. */
  readonly profiles: ReadonlyMap<string, number> | null;
  /** Part of the storage pool that this provider may offer, above 0 to 1. */
  readonly share: number;
  /** Whether volumes of this node that nobody uses are offered as disks. */
  readonly offerExisting: boolean;
  /** Shortest time between two changes of what is offered that nobody asked for, milliseconds. */
  readonly adjustEveryMs: number;
}

/** A volume of the cluster. */
export interface KnownDataset {
  readonly id: string;
  readonly name: string | null;
  readonly profile: string | null;
  /** Bytes; null when not known. */
  readonly sizeBytes: number | null;
  /** It is mounted on this node, nobody has a lease on it, and its name is its own. */
  readonly idleHere: boolean;
}

/** What the storage looks like now. */
export interface StorageLook {
  readonly profiles: readonly { readonly profile: string; readonly labels: readonly Required<Label>[] }[];
  /** Bytes that can still be promised in the pool of this node. */
  readonly freeBytes: number;
  /** Size of the pool; null when not known. */
  readonly totalBytes: number | null;
  readonly datasets: readonly KnownDataset[];
  /** {@link ProviderState.diskEpoch} when the look began. */
  readonly diskEpoch: number;
  /** Monotonic milliseconds. */
  readonly atMs: number;
}

export type Session =
  | { readonly kind: 'away' }
  /** `versionUuid` is null before the first UPDATE_STATE. `reconcile`: questions that came before it. */
  | { readonly kind: 'subscribed'; readonly versionUuid: string | null; readonly reconcile: readonly string[] };

export interface ProviderState {
  /** Durable; whatever is done comes after it is on disk. */
  readonly record: ProviderRecord;
  readonly session: Session;
  /** Pending operations whose work has begun. */
  readonly begun: ReadonlySet<string>;
  /** How often the status of an operation was sent in this session. */
  readonly sent: ReadonlyMap<string, number>;
  /** The newest look that could be used. */
  readonly look: StorageLook | null;
  /** Changes whenever a disk begins or ends to be made or destroyed. */
  readonly diskEpoch: number;
  /** The last look wanted other totals too. */
  readonly differed: boolean;
  /** A disk could not be made for want of room: what is offered is wrong. */
  readonly overpromised: boolean;
  /** When what is offered last changed by itself, monotonic milliseconds. */
  readonly adjustedAtMs: number | null;
}

/** A disk that is mounted, emptied or destroyed. */
export interface Disk {
  readonly id: string;
  /** Name of the volume. */
  readonly volume: string;
  readonly root: string;
}

export type WorkOutcome =
  | { readonly ok: true }
  /** `full`: there was no room. `doubtful`: something may have been made. */
  | { readonly ok: false; readonly message: string; readonly full?: boolean; readonly doubtful?: boolean };

export type ProviderEvent =
  /** First of all, after the record was read. */
  | { readonly kind: 'started' }
  | { readonly kind: 'subscribed'; readonly providerId: string; readonly agentId: string }
  | { readonly kind: 'lost' }
  /** The agent has forgotten our id, because it became another agent. */
  | { readonly kind: 'identityLost' }
  | { readonly kind: 'message'; readonly message: Exclude<AgentMessage, { kind: 'subscribed' }> }
  | { readonly kind: 'worked'; readonly operation: string; readonly outcome: WorkOutcome }
  | { readonly kind: 'published'; readonly publish: string; readonly ok: boolean }
  | { readonly kind: 'looked'; readonly look: StorageLook }
  | { readonly kind: 'retry'; readonly operation: string }
  | { readonly kind: 'doomedGone'; readonly datasetId: string };

/** Work on storage for one operation. Each is idempotent: after a crash it is done again. */
export type Work =
  | {
      readonly kind: 'make';
      readonly datasetId: string;
      readonly volume: string;
      readonly profile: string;
      readonly sizeBytes: number;
    }
  | { readonly kind: 'adopt'; readonly datasetId: string; readonly profile: string }
  | { readonly kind: 'wipe'; readonly disks: readonly Disk[] }
  | { readonly kind: 'destroy'; readonly disk: Disk };

export type ProviderAction =
  | { readonly kind: 'send'; readonly call: AgentCall }
  | { readonly kind: 'work'; readonly operation: string; readonly work: Work }
  | { readonly kind: 'publish'; readonly publish: string; readonly disks: readonly Disk[] }
  | { readonly kind: 'retryLater'; readonly operation: string; readonly delayMs: number }
  | { readonly kind: 'doom'; readonly datasetId: string }
  | { readonly kind: 'lookAgain' }
  /** The operator has removed this provider: it ends. */
  | { readonly kind: 'end' }
  | { readonly kind: 'say'; readonly level: 'info' | 'warn'; readonly fields: object; readonly message: string };

/** A call to the agent; the resource provider's id is added to each. */
export type AgentCall =
  | {
      readonly type: 'UPDATE_STATE';
      readonly update_state: {
        readonly resource_version_uuid: { readonly value: string };
        readonly resources: readonly Resource[];
        readonly operations: readonly object[];
      };
    }
  | { readonly type: 'UPDATE_OPERATION_STATUS'; readonly update_operation_status: object }
  | {
      readonly type: 'UPDATE_PUBLISH_RESOURCES_STATUS';
      readonly update_publish_resources_status: {
        readonly uuid: { readonly value: string };
        readonly status: 'OK' | 'FAILED';
      };
    };

/** What deciding needs besides state and event. */
export interface DecideSources {
  readonly settings: OfferSettings;
  readonly newUuid: NewUuid;
}

export interface Decision {
  readonly state: ProviderState;
  readonly actions: readonly ProviderAction[];
}

/** The state of a provider that begins with `record`. */
export function initialState(record: ProviderRecord): ProviderState {
  return {
    record,
    session: { kind: 'away' },
    begun: new Set(),
    sent: new Map(),
    look: null,
    diskEpoch: 0,
    differed: false,
    overpromised: false,
    adjustedAtMs: null,
  };
}

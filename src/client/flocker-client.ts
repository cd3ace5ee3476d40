import type { DatasetConfiguration, DatasetState } from '../api/datasets.ts';
import type { DatasetInspection } from '../api/inspection.ts';
import type { LeaseBody } from '../api/leases.ts';
import type { NodeInspection, NodeState } from '../api/nodes.ts';
import { CodedError } from '../kit/coded-error.ts';
import type { DatasetId, NodeId, SnapshotId } from '../kit/ids.ts';

/** A condition for a write; a write whose condition does not hold fails with `condition_failed` and changes nothing. */
export type Condition =
  | { readonly kind: 'none' }
  /** The configuration is still the one that carried this tag. */
  | { readonly kind: 'tag'; readonly tag: string }
  /** No dataset that is not deleted has this name. Only servers with `additions`. */
  | { readonly kind: 'nameUnused'; readonly name: string }
  /** None of these ids has a lease: of deletions only. Only servers with `additions`. */
  | { readonly kind: 'unleased'; readonly ids: readonly DatasetId[] };

export interface NewDataset {
  readonly primary: NodeId;
  readonly datasetId?: DatasetId;
  /** Bytes. */
  readonly maximumSizeBytes?: number;
  readonly metadata: Readonly<Record<string, string>>;
  /** The snapshot whose data it begins with. Only servers with `additions`. */
  readonly sourceSnapshot?: SnapshotId;
}

export interface LeaseRequest {
  readonly datasetId: DatasetId;
  readonly nodeId: NodeId;
  /** Seconds from now; null never expires. */
  readonly expiresSeconds: number | null;
}

/** Where a mounted dataset is. */
export interface MountedDataset {
  readonly path: string;
  /** Real size in bytes; undefined when the server does not say. */
  readonly sizeBytes: number | undefined;
}

/** Datasets of one name. */
export interface FoundDatasets {
  readonly datasets: readonly DatasetConfiguration[];
  /** Those that are mounted on their primary, by `dataset_id`. Empty on servers without additions. */
  readonly mounted: ReadonlyMap<string, MountedDataset & { readonly primary: string }>;
  /** Holds as long as no dataset of the name is made. */
  readonly ifUnchanged: Condition;
}

/**
 * Flocker's REST API v1 from outside. Works with any Flocker control service; where the server has our additions
 * (events, inspection) waiting costs no polling.
 *
 * Every method fails with a {@link ClientError}, or with the signal's reason.
 */
export interface FlockerClient {
  version(signal: AbortSignal): Promise<string>;
  /** Whether the server has our additions. Asked once, then remembered. */
  hasAdditions(signal: AbortSignal): Promise<boolean>;
  /** All datasets, deleted ones included. `tag` is undefined on servers older than 1.9. */
  listDatasets(signal: AbortSignal): Promise<{ datasets: DatasetConfiguration[]; tag: string | undefined }>;
  /** Datasets of this name that are not deleted, with the tag to create it under when there are none. */
  findByName(name: string, signal: AbortSignal): Promise<FoundDatasets>;
  createDataset(dataset: NewDataset, condition: Condition, signal: AbortSignal): Promise<DatasetConfiguration>;
  moveDataset(id: DatasetId, primary: NodeId, condition: Condition, signal: AbortSignal): Promise<DatasetConfiguration>;
  deleteDataset(id: DatasetId, condition: Condition, signal: AbortSignal): Promise<DatasetConfiguration>;
  listDatasetStates(signal: AbortSignal): Promise<DatasetState[]>;
  listNodes(signal: AbortSignal): Promise<NodeState[]>;
  /** All that is known of every dataset, deleted ones included; undefined on servers without our additions. */
  inspectDatasets(signal: AbortSignal): Promise<DatasetInspection[] | undefined>;
  /** All that is known of one dataset; undefined when there is none. Fails with `not_supported` without our additions. */
  inspectDataset(id: DatasetId, signal: AbortSignal): Promise<DatasetInspection | undefined>;
  /** All that is known of every node; undefined on servers without our additions. */
  inspectNodes(signal: AbortSignal): Promise<NodeInspection[] | undefined>;
  /** Fails with `not_found` while no node with this era has reported. */
  nodeByEra(era: string, signal: AbortSignal): Promise<NodeId>;
  listLeases(signal: AbortSignal): Promise<LeaseBody[]>;
  /** Takes or renews a lease. Fails with `lease_held` while another node holds it. */
  acquireLease(lease: LeaseRequest, signal: AbortSignal): Promise<void>;
  /**
   * {@link acquireLease}, and {@link findByName} once the lease is taken, in one request; undefined where the server cannot,
   * with the lease taken all the same.
   */
  acquireLeaseAndFind(lease: LeaseRequest, name: string, signal: AbortSignal): Promise<FoundDatasets | undefined>;
  /** Gives a lease back. Fails with `not_found` when there is none. */
  releaseLease(id: DatasetId, signal: AbortSignal): Promise<void>;
  /**
   * Resolves once the dataset is mounted on `nodeId`. Fails with `needs_action` when the server reports a problem that
   * waiting will not cure. `onProblem` is told of passing ones, so that a time-out can say what it waited for.
   */
  waitUntilMounted(
    id: DatasetId,
    nodeId: NodeId,
    onProblem: (message: string) => void,
    signal: AbortSignal,
  ): Promise<MountedDataset>;
  /** Resolves once the dataset has left the reported state. */
  waitUntilGone(id: DatasetId, signal: AbortSignal): Promise<void>;
  close(): Promise<void>;
}

/**
 * - `condition_failed`: 412, the condition of the write does not hold; or the snapshot to make a dataset from is not ready.
 * - `needs_action`: `cause` is the server's problem, with its code.
 * - `tls_refused`: the handshake failed; the message says which certificate to look at.
 * - `unreachable`: no connection, or it broke: nothing is known of what the server did.
 * - `not_supported`: the server lacks this addition. `in_use`: something else still needs it.
 * - `server_failed`: 5xx. `unexpected_answer`: anything the contract does not have.
 */
export type ClientErrorCode =
  | 'not_found'
  | 'deleted'
  | 'id_in_use'
  | 'lease_held'
  | 'condition_failed'
  | 'bad_request'
  | 'needs_action'
  | 'tls_refused'
  | 'unreachable'
  | 'server_failed'
  | 'not_supported'
  | 'in_use'
  | 'unexpected_answer';

/** A request that did not succeed. */
export class ClientError extends CodedError<ClientErrorCode> {
  override readonly name = 'ClientError';
}

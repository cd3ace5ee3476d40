import type { FlockerClient, MountedDataset } from '../client/flocker-client.ts';
import type { Clock } from '../kit/clock.ts';
import type { DatasetId, NewUuid, NodeId } from '../kit/ids.ts';
import type { Logger } from '../kit/logger.ts';
import type { LeaseKeeper } from './lease-keeper.ts';
import type { Ledger } from './ledger.ts';

/** What acquiring and releasing work with. */
export interface VolumesWorld {
  readonly client: FlockerClient;
  readonly nodeId: () => Promise<NodeId>;
  readonly ledger: Ledger;
  readonly leases: LeaseKeeper;
  readonly clock: Clock;
  readonly random: () => number;
  readonly newUuid: NewUuid;
  readonly logger: Logger;
  /** Whether {@link confirmMounted} looks; otherwise it only agrees. */
  readonly confirmsMounts: boolean;
  readonly confirmMounted: (datasetId: DatasetId, path: string, signal: AbortSignal) => Promise<boolean>;
  readonly requestTimeoutMs: number;
  readonly lookAgainMs: number;
  readonly patienceMs: number;
  /** Which dataset a name meant last time: a guess that is always checked. */
  readonly lastSeen: LastSeen;
  /** Datasets mounted here, each good for one unbroken term of its lease. */
  readonly mounts: Map<DatasetId, { readonly term: number; readonly mounted: MountedDataset }>;
}

const REMEMBERED_NAMES = 1_000;

/** The dataset each name meant last time; forgets the oldest of many. */
export class LastSeen {
  readonly #ids = new Map<string, DatasetId>();

  get(volume: string): DatasetId | undefined {
    return this.#ids.get(volume);
  }

  remember(volume: string, datasetId: DatasetId): void {
    this.#ids.delete(volume);
    this.#ids.set(volume, datasetId);
    const oldest = this.#ids.keys().next();
    if (this.#ids.size > REMEMBERED_NAMES && oldest.done !== true) this.#ids.delete(oldest.value);
  }
}

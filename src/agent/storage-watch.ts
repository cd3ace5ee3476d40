import type { StorageReport } from '../api/agent-channel.ts';
import type { Clock } from '../kit/clock.ts';
import { errorText } from '../kit/coded-error.ts';
import { orAbort, startDeadline } from '../kit/deadline.ts';
import type { DatasetId } from '../kit/ids.ts';
import type { Logger } from '../kit/logger.ts';
import type { PoolReport, VolumeUsage } from '../model/storage-state.ts';
import type { Backend } from './backends/backend.ts';
import { differsNoticeably } from './noticeable.ts';

/** Time from a change to the look at it, in milliseconds: what changes together is seen together. */
const SETTLE_MS = 1_000;
const LOOK_TIMEOUT_MS = 30_000;

export interface StorageWatchOptions {
  readonly backend: Backend;
  /** Datasets that are mounted here. */
  readonly mounted: () => Iterable<DatasetId>;
  /** Takes a message while there is a connection. */
  readonly send: (report: StorageReport) => void;
  /** Time between two looks when nothing happens, in milliseconds; at least a second. */
  readonly paceMs: number;
  readonly clock: Clock;
  readonly logger: Logger;
}

/**
 * Looks how full the pool and the volumes mounted here are, and tells the control service what it does not know: everything
 * once on each connection, then what differs noticeably. Looks soon after a change and slowly otherwise, one look at a time.
 */
export class StorageWatch {
  readonly #options: StorageWatchOptions;
  #cancelTimer: () => void = () => undefined;
  /** Numbers the connections, 0 while there is none: what was seen for one is not sent on another. */
  #connection = 0;
  #connections = 0;
  #looking = false;
  #dueSoon = false;
  #toldPool: PoolReport | undefined;
  #toldVolumes = new Map<DatasetId, VolumeUsage>();
  readonly #touched = new Set<DatasetId>();
  #failed = '';

  constructor(options: StorageWatchOptions) {
    this.#options = options;
  }

  /** The control service gave its first orders and knows nothing yet. */
  connected(): void {
    if (this.#options.backend.describePool === undefined) return;
    this.#connections += 1;
    this.#connection = this.#connections;
    this.#toldPool = undefined;
    this.#toldVolumes = new Map();
    this.#dueSoon = false;
    this.#wakeIn(0);
  }

  disconnected(): void {
    this.#connection = 0;
    this.#cancelTimer();
  }

  /** A dataset got into another state here. */
  changed(id: DatasetId): void {
    if (this.#connection === 0) return;
    this.#touched.add(id);
    if (this.#dueSoon) return;
    this.#dueSoon = true;
    if (!this.#looking) this.#wakeIn(SETTLE_MS);
  }

  #wakeIn(delayMs: number): void {
    this.#cancelTimer();
    if (delayMs > 0) this.#cancelTimer = this.#options.clock.timer(delayMs, () => void this.#look());
    else void this.#look();
  }

  async #look(): Promise<void> {
    if (this.#looking) return;
    const connection = this.#connection;
    this.#looking = true;
    this.#dueSoon = false;
    // The control service forgets the figures of what is not mounted, and it may be mounted again by now.
    for (const id of this.#touched) this.#toldVolumes.delete(id);
    this.#touched.clear();
    const { backend, clock } = this.#options;
    const deadline = startDeadline(clock, LOOK_TIMEOUT_MS, `measuring pool ${backend.pool}`);
    const work = this.#measure(deadline.signal);
    try {
      const seen = await orAbort(work, deadline.signal);
      this.#failed = '';
      if (seen !== undefined && connection === this.#connection) this.#tell(seen);
    } catch (error) {
      this.#complain(errorText(error));
    } finally {
      deadline.clear();
      // A call that a hung filesystem keeps occupies one of the process's few threads: none is added to it.
      await work.catch(() => undefined);
      this.#looking = false;
      if (this.#connection !== 0) {
        const isNew = connection !== this.#connection;
        this.#wakeIn(isNew ? 0 : this.#dueSoon ? SETTLE_MS : this.#options.paceMs);
      }
    }
  }

  async #measure(signal: AbortSignal): Promise<Seen | undefined> {
    const { backend, mounted } = this.#options;
    const pool = await backend.describePool?.(signal);
    const volumes = new Map<DatasetId, VolumeUsage>();
    if (backend.usage !== undefined) {
      for (const id of [...mounted()]) {
        signal.throwIfAborted();
        try {
          const usage = await backend.usage(id, signal);
          if (usage !== undefined) volumes.set(id, usage);
        } catch (error) {
          signal.throwIfAborted();
          this.#options.logger.debug({ dataset: id, reason: errorText(error) }, 'volume cannot be measured');
          volumes.set(id, { usedBytes: null, availableBytes: null });
        }
      }
    }
    return pool === undefined ? undefined : { pool, volumes };
  }

  #tell({ pool, volumes }: Seen): void {
    const changed = [...volumes].filter(([id, usage]) => differsNoticeably(this.#toldVolumes.get(id), usage));
    for (const id of this.#toldVolumes.keys()) if (!volumes.has(id)) this.#toldVolumes.delete(id);
    if (changed.length === 0 && !differsNoticeably(this.#toldPool, pool)) return;
    this.#options.send({
      kind: 'storage',
      profiles: [...pool.profiles],
      figures: pool.figures,
      volumes: changed.map(([datasetId, usage]) => ({ datasetId, ...usage })),
    });
    this.#toldPool = pool;
    for (const [id, usage] of changed) this.#toldVolumes.set(id, usage);
  }

  #complain(reason: string): void {
    if (this.#failed === reason) return;
    this.#failed = reason;
    this.#options.logger.warn({ reason }, 'the pool cannot be measured: its figures stay as they were');
  }
}

interface Seen {
  readonly pool: PoolReport;
  readonly volumes: ReadonlyMap<DatasetId, VolumeUsage>;
}

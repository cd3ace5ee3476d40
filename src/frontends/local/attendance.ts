import type { Clock } from '../../kit/clock.ts';
import { errorText } from '../../kit/coded-error.ts';
import { KeyedQueue } from '../../kit/keyed-queue.ts';
import type { Logger } from '../../kit/logger.ts';
import { isWithin } from '../../kit/mount-target.ts';
import type { Holding } from '../../volumes/holding.ts';
import type { Volumes } from '../../volumes/volumes.ts';
import { LocalError } from './local-error.ts';
import { makeDirectories, planMountPoint, removeDirectories } from './mount-points.ts';
import type { ProcessTable } from './process-table.ts';
import { parseResidence, type Residence } from './residence.ts';

export interface AttendanceOptions {
  readonly volumes: Volumes;
  readonly processes: ProcessTable;
  readonly clock: Clock;
  readonly logger: Logger;
  /** After a start of the agent, the time a client that has registered no process has to come back, milliseconds. */
  readonly returnMs: number;
  /** Time between two looks at processes whose client is gone, milliseconds. */
  readonly lookMs: number;
}

/** Holders whose ids begin so live only as long as their client's connection or the processes it left behind. */
export const ATTENDED_PREFIX = 'run/';

/** Knows which holders still have somebody: a connected client, or processes in the mount namespace it made. */
export class Attendance {
  readonly #options: AttendanceOptions;
  readonly #connections = new Map<string, number>();
  readonly #watches = new Map<string, () => void>();
  /** Directories of one holder may be wanted by another: their making and removing takes turns. */
  readonly #directories = new KeyedQueue<'directories'>();
  #closed = false;

  constructor(options: AttendanceOptions) {
    this.#options = options;
    for (const { holders } of options.volumes.list()) {
      for (const { holderId } of holders) {
        if (!holderId.startsWith(ATTENDED_PREFIX)) continue;
        // Whether a registered process lives can be seen at once; of a client without one nothing is known but its absence.
        this.#watch(holderId, this.#residence(holderId) === undefined ? options.returnMs : 0);
      }
    }
  }

  get counts(): { attended: number; watched: number } {
    return { attended: this.#connections.size, watched: this.#watches.size };
  }

  attended(holderId: string): boolean {
    return this.#connections.has(holderId);
  }

  /** A client of the holder is connected until the returned function is called. */
  open(holderId: string): () => void {
    this.#connections.set(holderId, (this.#connections.get(holderId) ?? 0) + 1);
    this.#unwatch(holderId);
    let open = true;
    return () => {
      if (!open) return;
      open = false;
      const left = (this.#connections.get(holderId) ?? 1) - 1;
      if (left > 0) this.#connections.set(holderId, left);
      else this.#connections.delete(holderId);
      if (left === 0) this.#watch(holderId, 0);
    };
  }

  /** Remembers, durably, the process that uses the volumes and where; makes mount points. Resolves with the real targets. */
  register(holderId: string, pid: number, targets: readonly string[] | undefined): Promise<string[]> {
    const { processes, volumes } = this.#options;
    return this.#directories.run('directories', async () => {
      const process = await processes.identify(pid);
      if (process === undefined) throw new LocalError('no_such_process', `there is no process ${pid}`);
      const before = this.#residence(holderId);
      const plans = await Promise.all((targets ?? []).map(planMountPoint));
      const missing = [...new Set(plans.flatMap((plan) => plan.missing))];
      const residence: Residence = {
        kind: 'residence',
        process,
        targets: targets === undefined ? (before?.targets ?? []) : plans.map((plan) => plan.target),
        madeDirectories: [...(before?.madeDirectories ?? []), ...missing],
      };
      // On disk before they are made, so that a crash leaves none behind.
      await volumes.note(holderId, JSON.stringify(residence));
      makeDirectories(missing);
      return plans.map((plan) => plan.target);
    });
  }

  /** Ends a holder unless processes still use its volumes; those it resolves with, and the last one ends the holder. */
  async release(holderId: string, deleteIfCreated: boolean): Promise<number[]> {
    const residence = this.#residence(holderId);
    if (residence?.process.apart === true) {
      const companions = await this.#options.processes.companions(residence.process);
      if (companions.length > 0) {
        this.#watch(holderId, this.#options.lookMs);
        return companions;
      }
    }
    await this.#end(holderId, deleteIfCreated);
    return [];
  }

  /** Stops looking after processes; holders stay. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const cancel of this.#watches.values()) cancel();
    this.#watches.clear();
    await this.#directories.idle();
  }

  #residence(holderId: string): Residence | undefined {
    const noted = this.#holdings(holderId).find((holding) => holding.note !== null);
    return parseResidence(noted?.note ?? null);
  }

  #holdings(holderId: string): Holding[] {
    const all = this.#options.volumes.list().flatMap(({ holders }) => holders);
    return all.filter((holding) => holding.holderId === holderId);
  }

  #watch(holderId: string, delayMs: number): void {
    if (this.#closed) return;
    this.#unwatch(holderId);
    const cancel = this.#options.clock.timer(delayMs, () => {
      void this.#look(holderId);
    });
    this.#watches.set(holderId, cancel);
  }

  #unwatch(holderId: string): void {
    this.#watches.get(holderId)?.();
    this.#watches.delete(holderId);
  }

  async #look(holderId: string): Promise<void> {
    const { processes, logger, lookMs } = this.#options;
    try {
      const residence = this.#residence(holderId);
      const companions = residence === undefined ? [] : await processes.companions(residence.process);
      if (this.#closed || this.attended(holderId)) return;
      if (companions.length > 0) {
        this.#watch(holderId, lookMs);
        return;
      }
      const held = this.#holdings(holderId).some((holding) => holding.state !== 'releasing');
      await this.#end(holderId, false);
      if (!this.attended(holderId)) this.#unwatch(holderId);
      if (held) logger.info({ holderId }, 'released a holder whose client and processes are gone');
    } catch (error) {
      logger.warn({ holderId, error: errorText(error) }, 'could not end a holder whose client is gone; trying again');
      this.#watch(holderId, lookMs);
    }
  }

  async #end(holderId: string, deleteIfCreatedByHolder: boolean): Promise<void> {
    await this.#directories.run('directories', () => this.#removeDirectories(holderId));
    await this.#options.volumes.release(holderId, { deleteIfCreatedByHolder });
  }

  /**
   * rmdir(2) of a mount point detaches what is mounted on it in every other mount namespace: a directory that another
   * holder has a volume on is handed over to that holder instead.
   */
  async #removeDirectories(holderId: string): Promise<void> {
    const made = this.#residence(holderId)?.madeDirectories ?? [];
    if (made.length === 0) return;
    const others = new Map<string, Residence>();
    for (const { holders } of this.#options.volumes.list()) {
      for (const { holderId: other, note, state } of holders) {
        const residence = state === 'releasing' || other === holderId ? undefined : parseResidence(note);
        if (residence !== undefined) others.set(other, residence);
      }
    }
    const removable: string[] = [];
    for (const directory of made) {
      const heir = [...others].find(([, { targets }]) => targets.some((target) => isWithin(target, directory)));
      if (heir === undefined) {
        removable.push(directory);
        continue;
      }
      const [other, residence] = heir;
      const richer = { ...residence, madeDirectories: [...residence.madeDirectories, directory] };
      others.set(other, richer);
      await this.#options.volumes.note(other, JSON.stringify(richer));
    }
    removeDirectories(removable);
  }
}

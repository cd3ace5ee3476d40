import { type Clock, pause } from '../../kit/clock.ts';
import { errorText } from '../../kit/coded-error.ts';
import { withDeadline } from '../../kit/deadline.ts';
import { KeyedQueue } from '../../kit/keyed-queue.ts';
import type { Logger } from '../../kit/logger.ts';
import { VolumeError } from '../../volumes/volume-error.ts';
import { containerHolders, holdingsOf, noteOf } from './container-holdings.ts';
import { IsolatorError } from './isolator-error.ts';
import type { LaunchInfo } from './isolator-schemas.ts';
import { unmakePlaces } from './mount-place.ts';
import { type Applicant, type PreparationWorld, planVolumes, prepareVolumes } from './preparation.ts';

export interface ContainersOptions extends PreparationWorld {
  readonly clock: Clock;
  readonly logger: Logger;
}

/** A call that ends several containers answers after this long, milliseconds; the caller then asks again. */
const RECOVER_MS = 4_000;

/** The containers of this node's Mesos agent that have volumes: one thing at a time for each. */
export class Containers {
  readonly #options: ContainersOptions;
  readonly #queue = new KeyedQueue<string>();
  readonly #preparing = new Map<string, AbortController>();
  /** Number of the connection that each container came by. */
  readonly #arrivals = new Map<string, number>();

  constructor(options: ContainersOptions) {
    this.#options = options;
  }

  /**
   * Ends containers of before the machine was restarted. Nothing is deleted for them, as nobody said that they ended. All
   * others stay until Mesos says otherwise. For once, before the first call.
   */
  async endThoseOfEarlierBoots(): Promise<void> {
    const { volumes, bootId, logger } = this.#options;
    const ends = [...containerHolders(volumes)].map(async (holderId) => {
      const note = noteOf(volumes, holderId);
      if (note?.bootId === bootId) return;
      logger.info({ holder: holderId }, 'a container of before the machine was restarted gives up its volumes');
      if (note !== undefined) unmakePlaces(note.places);
      await volumes.release(holderId);
    });
    await Promise.all(ends);
  }

  /** Mounts all volumes of a container on this node, or leaves nothing of them. Fails within `timeoutMs` and a moment. */
  async prepare(
    applicant: Applicant,
    call: { readonly connection: number; readonly timeoutMs: number; readonly signal: AbortSignal },
  ): Promise<LaunchInfo> {
    const { clock } = this.#options;
    const { id } = applicant.holder;
    if (this.#preparing.has(id)) throw new IsolatorError('busy', `${id} is being prepared already`);
    const stop = new AbortController();
    this.#preparing.set(id, stop);
    this.#arrivals.set(id, call.connection);
    const given = AbortSignal.any([call.signal, stop.signal]);
    try {
      return await this.#queue.run(id, () =>
        withDeadline(clock, call.timeoutMs, 'preparing its volumes', given, (signal) =>
          this.#prepare(applicant, signal),
        ),
      );
    } finally {
      this.#preparing.delete(id);
    }
  }

  /** Ends a container; one without volumes is fine. Fails when that cannot be put on disk; then it still has them. */
  async cleanup(holderId: string): Promise<void> {
    this.#preparing
      .get(holderId)
      ?.abort(new VolumeError('released', 'the container was cleaned up while it was prepared'));
    await this.#queue.run(holderId, () => this.#end(holderId));
    this.#arrivals.delete(holderId);
  }

  /**
   * Ends every container that is not in `listed`, unless it came by a later connection than the list. Resolves with those
   * of `listed` that have volumes. Fails with `busy` when it takes long: what was begun goes on.
   */
  async recover(listed: ReadonlySet<string>, connection: number): Promise<Set<string>> {
    const { clock, logger } = this.#options;
    const present = new Set([...containerHolders(this.#options.volumes), ...this.#preparing.keys()]);
    const gone = [...present].filter((id) => !listed.has(id) && (this.#arrivals.get(id) ?? 0) < connection);
    if (gone.length > 0) logger.info({ containers: gone }, 'containers that are gone give up their volumes');
    const late = new AbortController();
    const all = Promise.all(gone.map((id) => this.cleanup(id)));
    const done = await Promise.race([
      all.then(() => true),
      pause(clock, RECOVER_MS, late.signal).then(
        () => false,
        () => false,
      ),
    ]).finally(() => late.abort());
    if (!done) {
      all.catch((error: unknown) => logger.warn({ error: errorText(error) }, 'could not end a container that is gone'));
      throw new IsolatorError('busy', `still releasing the volumes of ${gone.length} containers that are gone`);
    }
    return new Set([...listed].filter((id) => present.has(id)));
  }

  /** Resolves when nothing is under way. */
  idle(): Promise<void> {
    return this.#queue.idle();
  }

  async #prepare(applicant: Applicant, signal: AbortSignal): Promise<LaunchInfo> {
    const { logger } = this.#options;
    const { id } = applicant.holder;
    signal.throwIfAborted();
    const planned = await planVolumes(applicant, this.#options);
    try {
      return await prepareVolumes(applicant, planned, this.#options, signal);
    } catch (error) {
      const doomed = planned.filter(({ request }) => request.onExit === 'delete').map(({ request }) => request.name);
      await this.#end(id, doomed).catch((failure: unknown) => {
        logger.error({ holder: id, error: errorText(failure) }, 'could not undo a preparation that failed');
      });
      throw error;
    }
  }

  async #end(holderId: string, doomed?: readonly string[]): Promise<void> {
    const { volumes } = this.#options;
    const note = noteOf(volumes, holderId);
    // First, as what has to be removed is known only while the holder is.
    if (note !== undefined) unmakePlaces(note.places);
    const deleteOnExit = new Set(doomed ?? note?.deleteOnExit ?? []);
    await volumes.release(holderId, { deleteIfCreatedByHolder: deleteOnExit });
  }

  /** Whether the container has volumes. */
  has(holderId: string): boolean {
    return holdingsOf(this.#options.volumes, holderId).length > 0;
  }
}

import type { Clock } from '../kit/clock.ts';
import { errorText } from '../kit/coded-error.ts';
import { withDeadline } from '../kit/deadline.ts';
import type { Logger } from '../kit/logger.ts';
import type { Holding } from './holding.ts';
import { VolumeError } from './volume-error.ts';
import type { AcquiredVolume, Holder, VolumeSpec } from './volume-spec.ts';
import type { Volumes } from './volumes.ts';

export interface LastingHoldersOptions {
  readonly volumes: Volumes;
  /** Ids of these holders begin so. */
  readonly prefix: string;
  /** New at every boot of this machine. */
  readonly bootId: string;
  readonly clock: Clock;
  readonly logger: Logger;
}

/**
 * Holders that nobody can be asked about: they live until they are released, through every restart of the agent, and end
 * when the machine boots, as what used the volumes ended with it.
 *
 * That a volume is held is on disk before the caller is answered. So a holding that an earlier process left as intent was
 * never answered, and is undone at the start.
 */
export class LastingHolders {
  readonly #options: LastingHoldersOptions;
  readonly #note: string;

  constructor(options: LastingHoldersOptions) {
    this.#options = options;
    this.#note = JSON.stringify({ kind: 'boot', bootId: options.bootId });
    const lives = (holding: Holding): Promise<boolean> => Promise.resolve(this.#answered(holding));
    options.volumes.recover(options.prefix, lives).catch((error: unknown) => {
      options.logger.warn(
        { prefix: options.prefix, error: errorText(error) },
        'could not end holders of an earlier time',
      );
    });
  }

  /** Holdings of one holder that were answered and not released since. */
  held(holderId: string): Holding[] {
    return this.#options.volumes.holdings(holderId).filter((holding) => this.#answered(holding));
  }

  /**
   * As {@link Volumes.acquire}; resolves once it is on disk that the volume is held. What `prepare` does comes before that, and
   * when it fails the volume is not held. A text that it resolves with is kept with the holder.
   */
  async acquire(
    holder: Holder,
    spec: VolumeSpec,
    signal: AbortSignal,
    prepare: (acquired: AcquiredVolume) => Promise<string | void> = () => Promise.resolve(),
  ): Promise<AcquiredVolume> {
    const { volumes, prefix } = this.#options;
    if (!holder.id.startsWith(prefix))
      throw new VolumeError('bad_holder', `${holder.id} does not begin with ${prefix}`);
    const acquired = await volumes.acquire(holder, spec, signal);
    if (this.held(holder.id).some(({ volume }) => volume === spec.name)) {
      const text = await prepare(acquired);
      if (text !== undefined) await this.keep(holder.id, text);
      return acquired;
    }
    try {
      const text = await prepare(acquired);
      await this.keep(holder.id, text ?? '');
      signal.throwIfAborted();
    } catch (error) {
      await volumes.release(holder.id);
      throw error;
    }
    return acquired;
  }

  /** Keeps a text with a holder, durably. */
  keep(holderId: string, text: string): Promise<void> {
    return this.#options.volumes.note(holderId, text === '' ? this.#note : `${this.#note}\n${text}`);
  }

  /** The text kept with an answered holding; empty when there is none. */
  text({ note }: Holding): string {
    return note?.slice(this.#note.length + 1) ?? '';
  }

  /**
   * As {@link Volumes.release}. Resolves with true once the leases are given up as well, with false when that was not done
   * within `timeoutMs`: then it goes on by itself.
   */
  async release(holderId: string, timeoutMs: number): Promise<boolean> {
    const { volumes, clock } = this.#options;
    await volumes.release(holderId);
    try {
      await withDeadline(clock, timeoutMs, 'the release', undefined, (signal) => volumes.settled(holderId, signal));
      return true;
    } catch {
      return false;
    }
  }

  #answered({ state, note }: Holding): boolean {
    return state === 'held' && (note === this.#note || note?.startsWith(`${this.#note}\n`) === true);
  }
}

import type { Clock } from '../kit/clock.ts';
import type { DatasetId } from '../kit/ids.ts';
import type { Lease } from '../model/lease.ts';

/** Tells when leases end: one timer for each lease that does, none when there are none. */
export class LeaseClock {
  readonly #clock: Clock;
  readonly #onEnd: (lease: Lease) => void;
  readonly #timers = new Map<DatasetId, () => void>();

  constructor(clock: Clock, onEnd: (lease: Lease) => void) {
    this.#clock = clock;
    this.#onEnd = onEnd;
  }

  watch(lease: Lease): void {
    this.forget(lease.datasetId);
    if (lease.expiresAtMs === null) return;
    const delayMs = lease.expiresAtMs - this.#clock.wallMs() + 1;
    const wake = (): void => {
      this.#timers.delete(lease.datasetId);
      const stillMs = (lease.expiresAtMs ?? 0) - this.#clock.wallMs();
      if (stillMs >= 0) this.watch(lease);
      else this.#onEnd(lease);
    };
    this.#timers.set(lease.datasetId, this.#clock.timer(delayMs, wake));
  }

  forget(datasetId: DatasetId): void {
    this.#timers.get(datasetId)?.();
    this.#timers.delete(datasetId);
  }

  close(): void {
    for (const cancel of this.#timers.values()) cancel();
    this.#timers.clear();
  }
}

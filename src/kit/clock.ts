/** Time as an argument, so that a test or a simulation can own it. */
export interface Clock {
  /** Wall clock, milliseconds since the epoch. May jump. */
  wallMs(): number;
  /** Monotonic milliseconds from an arbitrary start. Never jumps. */
  monotonicMs(): number;
  /** Calls `wake` once after `delayMs`; the returned function cancels it. */
  timer(delayMs: number, wake: () => void): () => void;
}

/** setTimeout takes a signed 32-bit number of milliseconds; longer delays would fire at once. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

export const systemClock: Clock = {
  wallMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  timer: (delayMs, wake) => {
    const handle = setTimeout(wake, Math.max(0, Math.min(delayMs, LONGEST_TIMER_MS)));
    return () => clearTimeout(handle);
  },
};

/** Resolves after `delayMs`, or rejects with the signal's reason when it aborts first. */
export function pause(clock: Clock, delayMs: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      reject(signal.reason as Error);
      return;
    }
    const onAbort = (): void => {
      cancel();
      reject(signal.reason as Error);
    };
    const cancel = clock.timer(delayMs, () => {
      signal.removeEventListener('abort', onAbort);
      resolve();
    });
    signal.addEventListener('abort', onAbort, { once: true });
  });
}

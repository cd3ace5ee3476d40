import type { Clock } from './clock.ts';

/** Thrown through an {@link AbortSignal} when the time a caller gave for an operation is over. */
export class DeadlineExceeded extends Error {
  override readonly name = 'DeadlineExceeded';
  readonly code = 'deadline_exceeded';
}

/** A signal that aborts after `timeoutMs` or with `parent`, whichever comes first. `clear` frees the timer. */
export interface Deadline {
  readonly signal: AbortSignal;
  clear(): void;
}

/** Starts a deadline. Always call `clear` when the work is done: a pending timer keeps a process alive. */
export function startDeadline(clock: Clock, timeoutMs: number, what: string, parent?: AbortSignal): Deadline {
  const controller = new AbortController();
  const onParent = (): void => {
    clear();
    controller.abort(parent?.reason);
  };
  const cancel = clock.timer(timeoutMs, () => {
    parent?.removeEventListener('abort', onParent);
    controller.abort(new DeadlineExceeded(`${what} did not finish within ${timeoutMs} ms`));
  });
  const clear = (): void => {
    cancel();
    parent?.removeEventListener('abort', onParent);
  };
  if (parent?.aborted) onParent();
  else parent?.addEventListener('abort', onParent, { once: true });
  return { signal: controller.signal, clear };
}

/** Runs `work` under a deadline and frees the timer whatever happens. */
export async function withDeadline<T>(
  clock: Clock,
  timeoutMs: number,
  what: string,
  parent: AbortSignal | undefined,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const deadline = startDeadline(clock, timeoutMs, what, parent);
  try {
    return await work(deadline.signal);
  } finally {
    deadline.clear();
  }
}

/** Rejects as soon as `signal` aborts, even when `work` itself cannot be interrupted. */
export function orAbort<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void => reject(signal.reason as Error);
    if (signal.aborted) onAbort();
    else signal.addEventListener('abort', onAbort, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}

import { setTimeout as pause } from 'node:timers/promises';

/** Repeats `look` until it does not throw, and fails with what it threw last. Works in hooks too, unlike vitest's poll. */
export async function eventually<T>(look: () => T | Promise<T>, timeoutMs = 10_000, pauseMs = 20): Promise<T> {
  const untilMs = performance.now() + timeoutMs;
  for (;;) {
    try {
      return await look();
    } catch (error) {
      if (performance.now() > untilMs) throw error;
      await pause(pauseMs);
    }
  }
}

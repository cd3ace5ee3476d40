import { expect, it, vi } from 'vitest';
import { systemClock } from './clock.ts';

it('fires once, not before its time, and not when it was cancelled', async () => {
  const startedMs = systemClock.monotonicMs();
  const cancelled = vi.fn<() => void>();
  systemClock.timer(5, cancelled)();
  await new Promise<void>((resolve) => void systemClock.timer(20, resolve));
  // setTimeout counts whole milliseconds of a clock that is not this one.
  expect(systemClock.monotonicMs() - startedMs).toBeGreaterThanOrEqual(19);
  expect(cancelled).not.toHaveBeenCalled();
});

it('does not fire at once for delays beyond what setTimeout takes', async () => {
  const wake = vi.fn<() => void>();
  const cancel = systemClock.timer(2 ** 40, wake);
  await new Promise<void>((resolve) => void systemClock.timer(20, resolve));
  cancel();
  expect(wake).not.toHaveBeenCalled();
});

it('shows the time of day', () => {
  expect(Math.abs(systemClock.wallMs() - Date.now())).toBeLessThan(1000);
});

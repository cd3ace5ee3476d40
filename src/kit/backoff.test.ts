import { expect, it } from 'vitest';
import { backoffMs } from './backoff.ts';

const policy = { firstMs: 100, factor: 2, longestMs: 1000 };

it('grows by its factor up to its longest wait', () => {
  const waits = [0, 1, 2, 3, 4, 50, 5000].map((attempt) => backoffMs(policy, attempt, () => 0.5));
  expect(waits).toEqual([100, 200, 400, 800, 1000, 1000, 1000]);
});

it('spreads from 80 % to 120 %', () => {
  expect(backoffMs(policy, 0, () => 0)).toBe(80);
  expect(backoffMs(policy, 0, () => 0.999999)).toBeCloseTo(120, 3);
});

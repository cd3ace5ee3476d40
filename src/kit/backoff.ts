/** The waits between tries: `firstMs`, then `factor` times longer each, never above `longestMs`. */
export interface BackoffPolicy {
  readonly firstMs: number;
  readonly factor: number;
  readonly longestMs: number;
}

/**
 * Wait before try number `attempt` (0 is the first repeat). `random` in [0, 1) spreads it over 80 % to 120 %, so that
 * many daemons that lost the same peer do not come back in step.
 */
export function backoffMs(policy: BackoffPolicy, attempt: number, random: () => number): number {
  const base = Math.min(policy.longestMs, policy.firstMs * policy.factor ** attempt);
  return base * (0.8 + 0.4 * random());
}

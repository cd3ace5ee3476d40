import type { DatasetInspection } from '../../../src/api/inspection.ts';

/** How full a volume is, 0 to 1; null when that is not known. */
export function usedShareOf({ usage }: DatasetInspection): number | null {
  const { used = null, available = null } = usage ?? {};
  if (used === null || available === null || used + available === 0) return null;
  return used / (used + available);
}

/** The size of a volume: what it has, or what was asked for; undefined when neither is known. */
export function sizeOf({ state, configuration }: DatasetInspection): number | undefined {
  return state?.maximum_size ?? configuration.maximum_size;
}

/** How a bar that is so full looks. */
export function fillOf(share: number): 'calm' | 'high' | 'full' {
  if (share > 0.95) return 'full';
  return share > 0.8 ? 'high' : 'calm';
}

import { randomBytes, randomUUID } from 'node:crypto';
import { systemClock } from '../../kit/clock.ts';
import type { CertificateSources } from '../certificate.ts';

/** The real clock and the system's randomness. */
export const realSources: CertificateSources = { clock: systemClock, newUuid: randomUUID, randomBytes };

/** The real sources with a wall clock that stands still. */
export function sourcesAt(wallMs: number): CertificateSources {
  return { ...realSources, clock: { ...systemClock, wallMs: () => wallMs } };
}

import { randomBytes, randomUUID } from 'node:crypto';
import type { CaEnvironment } from '../cli/ca.ts';
import { systemClock } from '../kit/clock.ts';

/** This process, as the certificate commands see it. */
export const caEnvironment: CaEnvironment = {
  cwd: process.cwd(),
  stdout: process.stdout,
  stderr: process.stderr,
  clock: systemClock,
  newUuid: randomUUID,
  randomBytes: (count) => randomBytes(count),
  setExitCode: (code) => {
    process.exitCode = code;
  },
};

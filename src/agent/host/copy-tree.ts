import type { Clock } from '../../kit/clock.ts';
import { type Run, runProgram } from './run-program.ts';

const CP = { name: 'cp', debianPackage: 'coreutils' };
const SYNC = { name: 'sync', debianPackage: 'coreutils' };

interface Surroundings {
  readonly clock: Clock;
  readonly signal: AbortSignal;
  readonly timeoutMs: number;
}

/** Copies a file with its holes, sharing blocks where the filesystem can. The copy is not yet durable. */
export async function copySparse(from: string, to: string, surroundings: Surroundings): Promise<void> {
  await runProgram(CP, ['--reflink=auto', '--sparse=always', '--', from, to], surroundings);
}

/** Copies a directory to `to`, which must not exist, with owners, modes, times and links; follows none. Durable. */
export async function copyTree(from: string, to: string, surroundings: Surroundings): Promise<void> {
  const run: Run = surroundings;
  await runProgram(CP, ['-a', '--reflink=auto', '-T', '--', from, to], run);
  await runProgram(SYNC, ['-f', to], run);
}

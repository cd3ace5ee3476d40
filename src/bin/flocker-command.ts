import { fileURLToPath } from 'node:url';

/** The program `flocker` of this build. */
export const flockerEntry: string = fileURLToPath(new URL('./flocker.js', import.meta.url));

/**
 * Program and arguments that run `flocker` with the Node that runs now. A daemon's young generation need not be as large as
 * V8 makes it: 2 MB instead of 16. And glibc keeps freed memory for each thread unless few areas serve all of them. Each
 * saves a tenth of a daemon's memory or more.
 */
export const flockerCommand: readonly [string, ...string[]] = [
  'env',
  'MALLOC_ARENA_MAX=2',
  process.execPath,
  '--max-semi-space-size=2',
  flockerEntry,
];

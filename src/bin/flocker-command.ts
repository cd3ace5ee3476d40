import { fileURLToPath } from 'node:url';

/** Program and arguments that run `flocker` from this build, with the Node that runs now. */
export const flockerCommand: readonly [string, ...string[]] = [
  process.execPath,
  fileURLToPath(new URL('./flocker.js', import.meta.url)),
];

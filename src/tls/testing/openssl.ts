import { execFile, spawnSync } from 'node:child_process';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** Whether the openssl program is on PATH; tests that need it skip without it. */
export const hasOpenssl = spawnSync('openssl', ['version']).status === 0;

/** Standard output of `openssl <args>`; rejects with its diagnostics when it fails. */
export async function openssl(...args: string[]): Promise<string> {
  return (await run('openssl', args, { timeout: 60_000 })).stdout;
}

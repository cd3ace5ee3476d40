import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { type Clock, pause } from '../../kit/clock.ts';
import { errorCode } from '../../kit/coded-error.ts';
import { ClusterError } from './settings.ts';

/** Daemons whose parent was killed stop by themselves; after this long they are killed. */
const LEFTOVER_TIMEOUT_MS = 20_000;
const LOOK_AGAIN_MS = 50;

/**
 * Makes sure that one process runs the cluster of a directory. The lock is an abstract unix socket (unix(7)): the kernel
 * frees it when the process ends, however it ends.
 */
export async function lockCluster(directory: string): Promise<() => Promise<void>> {
  const name = createHash('sha256').update(directory).digest('hex').slice(0, 32);
  const server = createServer();
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(`\0flocker-up-${name}`, resolve);
  }).catch((error: unknown) => {
    if (errorCode(error) !== 'EADDRINUSE') throw error;
    throw new ClusterError(
      'bad_cluster',
      `The cluster in ${directory} already runs. Stop it first, or give another --dir.`,
    );
  });
  return () =>
    new Promise((resolve) => {
      server.close(() => resolve());
    });
}

/** Waits for the daemons of a cluster whose `flocker up` was killed; those that do not end are killed. */
export async function awaitLeftovers(directory: string, pids: readonly number[], clock: Clock): Promise<void> {
  const untilMs = clock.monotonicMs() + LEFTOVER_TIMEOUT_MS;
  let left = await ofCluster(directory, pids);
  while (left.length > 0) {
    if (clock.monotonicMs() > untilMs) left.forEach(kill);
    await pause(clock, LOOK_AGAIN_MS, new AbortController().signal);
    left = await ofCluster(directory, left);
  }
}

/** Those of `pids` that are daemons of this cluster: their command line names its directory. A zombie has none. */
async function ofCluster(directory: string, pids: readonly number[]): Promise<number[]> {
  const alive: number[] = [];
  for (const pid of pids) {
    const commandLine = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
    if (commandLine.includes(`${directory}/`)) alive.push(pid);
  }
  return alive;
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    // It ended in the meantime.
    if (errorCode(error) !== 'ESRCH') throw error;
  }
}

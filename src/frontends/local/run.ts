import type { ChildProcess, SpawnOptions } from 'node:child_process';
import { constants } from 'node:os';
import type { Readable, Writable } from 'node:stream';
import { type Clock, pause } from '../../kit/clock.ts';
import { errorText } from '../../kit/coded-error.ts';
import { withDeadline } from '../../kit/deadline.ts';
import type { NewUuid } from '../../kit/ids.ts';
import { isWithin } from '../../kit/mount-target.ts';
import { keepAttending } from './keep-attending.ts';
import { type LocalClient, LocalClientError, type MountedVolume } from './local-client.ts';
import { type BindMount, RUN_FAILED, runCommandLine } from './run-command.ts';
import { passSignals, type SignalSource } from './run-signals.ts';
import { checkTargets, type VolumeArgument } from './volume-argument.ts';

/** What `flocker run` needs of the process it runs in. */
export interface RunWorld {
  readonly client: LocalClient;
  readonly spawn: (file: string, args: readonly string[], options: SpawnOptions) => ChildProcess;
  readonly signals: SignalSource;
  /** Whether this process is in the foreground group of its terminal. */
  readonly inForeground: () => boolean;
  readonly env: NodeJS.ProcessEnv;
  readonly workingDirectory: string;
  readonly isRoot: boolean;
  readonly pid: number;
  readonly clock: Clock;
  readonly newUuid: NewUuid;
  /** Tells the person at the terminal something; the command's own output goes past it. */
  readonly say: (line: string) => void;
}

export interface RunRequest {
  readonly volumes: readonly VolumeArgument[];
  readonly command: readonly string[];
  /** Longest time until all volumes are mounted, milliseconds. */
  readonly timeoutMs: number;
}

/** Answers of the agent that need no work of the control service, milliseconds. */
const SHORT_MS = 10_000;

/**
 * Runs a command that sees its volumes; resolves with its exit status, 128 + n when signal n ended it. Fails before the
 * command starts when a volume cannot be had: then none is kept.
 */
export async function runWithVolumes(request: RunRequest, world: RunWorld): Promise<number> {
  const { client, clock } = world;
  const holderId = `run/${world.newUuid()}`;
  const interrupted = new AbortController();
  let signalled: NodeJS.Signals | undefined;
  const stopWaiting = passSignals(world.signals, world.inForeground, (signal) => {
    if (signal === 'SIGWINCH' || signal === 'SIGCONT') return;
    signalled ??= signal;
    interrupted.abort(new Error(`interrupted by ${signal}`));
  });
  const attendance = await keepAttending(client, holderId, clock, interrupted.signal).catch((error: unknown) => {
    stopWaiting();
    throw error;
  });
  try {
    const mounts = await prepare(holderId, request, world, interrupted.signal);
    return await runCommand(holderId, mounts, request.command, world, stopWaiting, interrupted.signal);
  } catch (error) {
    if (signalled !== undefined && interrupted.signal.aborted) return statusOf(null, signalled);
    throw error;
  } finally {
    stopWaiting();
    await release(holderId, world);
    attendance.close();
  }
}

async function prepare(
  holderId: string,
  request: RunRequest,
  world: RunWorld,
  signal: AbortSignal,
): Promise<BindMount[]> {
  const { client, clock } = world;
  const detail = `flocker run, process ${world.pid}: ${request.command.join(' ')}`.slice(0, 1000);
  const failed = new AbortController();
  const either = AbortSignal.any([signal, failed.signal]);
  const acquired = await Promise.all(
    request.volumes.map(async ({ spec }): Promise<MountedVolume> => {
      const { name, sizeBytes, profile, filesystem, create, mode } = spec;
      const volume = {
        name,
        create,
        mode,
        ...(sizeBytes === undefined ? {} : { size: sizeBytes }),
        ...(profile === undefined ? {} : { profile }),
        ...(filesystem === undefined ? {} : { filesystem }),
      };
      try {
        return await client.acquire({ id: holderId, detail }, volume, request.timeoutMs, either);
      } catch (error) {
        failed.abort(error);
        throw error;
      }
    }),
  );
  const wanted = request.volumes.map((volume) => volume.target);
  const targets = await withDeadline(clock, SHORT_MS, 'registering', signal, (soon) =>
    client.register(holderId, world.pid, wanted, soon),
  );
  // Again, as symbolic links are resolved now.
  checkTargets(targets);
  return request.volumes.map(({ spec }, index) => {
    const volume = acquired[index];
    const target = targets[index];
    if (volume === undefined || target === undefined) throw new Error('the node agent left out a mount point');
    for (const note of volume.notes) world.say(`volume ${spec.name}: ${note}`);
    return { path: volume.path, target, mode: spec.mode };
  });
}

async function runCommand(
  holderId: string,
  mounts: readonly BindMount[],
  command: readonly string[],
  world: RunWorld,
  stopWaiting: () => void,
  interrupted: AbortSignal,
): Promise<number> {
  const { client, clock, env, isRoot, workingDirectory } = world;
  const enter = mounts.some(({ target }) => isWithin(workingDirectory, target)) ? workingDirectory : '';
  const { file, args } = runCommandLine(mounts, command, { isRoot, env, enter });
  interrupted.throwIfAborted();
  const child = world.spawn(file, args, { stdio: ['inherit', 'inherit', 'inherit', 'pipe', 'pipe'], env });
  const ended = new Promise<number>((resolve, reject) => {
    child.once('error', (error) => reject(new Error(`cannot start ${file}: ${error.message}`, { cause: error })));
    child.once('exit', (code, signal) => resolve(statusOf(code, signal)));
  });
  ended.catch(() => undefined);
  const stopPassing = passSignals(world.signals, world.inForeground, (signal, fromTerminal) => {
    if (!fromTerminal) child.kill(signal);
  });
  stopWaiting();
  try {
    const early = await Promise.race([mountedIn(child), ended]);
    if (typeof early === 'number') return early;
    await withDeadline(clock, SHORT_MS, 'registering the command', undefined, (signal) =>
      insist(clock, signal, () => client.register(holderId, child.pid ?? 0, undefined, signal)),
    );
    const go = child.stdio[4] as Writable;
    go.on('error', () => undefined);
    go.end('go\n');
    return await ended;
  } catch (error) {
    child.kill('SIGKILL');
    throw error;
  } finally {
    stopPassing();
  }
}

/** Resolves once the mounts are made; never when the process ends first. */
function mountedIn(child: ChildProcess): Promise<'mounted'> {
  const ready = child.stdio[3] as Readable;
  return new Promise((resolve) => {
    ready.once('data', () => resolve('mounted'));
    ready.on('error', () => undefined);
  });
}

/** Tries again while the agent restarts. */
async function insist<T>(clock: Clock, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await work();
    } catch (error) {
      const away =
        error instanceof LocalClientError && (error.code === 'agent_not_running' || error.code === 'connection_lost');
      if (!away) throw error;
      await pause(clock, 200, signal);
    }
  }
}

async function release(holderId: string, world: RunWorld): Promise<void> {
  const { client, clock, say } = world;
  try {
    const left = await withDeadline(clock, SHORT_MS, 'releasing', undefined, (signal) =>
      client.release(holderId, false, signal),
    );
    if (left.length === 0) return;
    say(
      `the command left processes that still use the volumes: ${left.join(', ')}; the volumes are free when they end`,
    );
  } catch (error) {
    say(`the node agent could not be told that the volumes are free (${errorText(error)}); it will notice by itself`);
  }
}

function statusOf(code: number | null, signal: NodeJS.Signals | null): number {
  if (code !== null) return code;
  return signal === null ? RUN_FAILED : 128 + constants.signals[signal];
}

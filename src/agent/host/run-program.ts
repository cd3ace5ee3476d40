import { spawn } from 'node:child_process';
import { access, constants } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import type { Clock } from '../../kit/clock.ts';
import { CodedError } from '../../kit/coded-error.ts';
import { withDeadline } from '../../kit/deadline.ts';

/** A program of the system, and the Debian package that has it. */
export interface Program {
  readonly name: string;
  readonly debianPackage: string;
}

/** Why a program did not do what it was started for. The message repeats what it said. */
export class ProgramError extends CodedError<'program_missing' | 'no_space' | 'program_failed'> {
  override readonly name = 'ProgramError';
}

export interface Run {
  readonly clock: Clock;
  readonly signal: AbortSignal;
  readonly timeoutMs: number;
  /** Exit codes that mean success; 0 unless given. */
  readonly successes?: readonly number[];
  /** PATH; the system's directories unless given. */
  readonly searchPath?: string;
}

interface Ended {
  readonly exitCode: number | null;
  readonly said: string;
}

const SAID_CHARACTERS = 2000;
/** Has the kernel kill a program when the thread that started it ends (PR_SET_PDEATHSIG); with Node that is the main thread. */
export const BOUND_TO_US = ['/usr/bin/setpriv', '--pdeathsig', 'KILL'] as const;
/** A daemon's PATH often lacks the sbin directories; the programs read their own configuration from the environment. */
export const SYSTEM_ENVIRONMENT = {
  PATH: '/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin:/usr/local/bin',
  LC_ALL: 'C',
} as const;

/** The system's path of a program. Fails with `program_missing`. */
export async function findProgram({ name, debianPackage }: Program, searchPath: string): Promise<string> {
  const path = await findIn(searchPath, name);
  if (path !== undefined) return path;
  const text = `${name} is not installed on this node: install it (Debian: apt-get install ${debianPackage})`;
  throw new ProgramError('program_missing', text);
}

/**
 * Runs a program to its end. An abort kills it and waits until it has ended. It does not outlive this process: the next agent would work
 * on an image that the program still writes to, and one that hangs would be left for ever.
 */
export async function runProgram(program: Program, parameters: readonly string[], run: Run): Promise<void> {
  const { name } = program;
  const environment = { ...SYSTEM_ENVIRONMENT, PATH: run.searchPath ?? SYSTEM_ENVIRONMENT.PATH };
  const what = [name, parameters.at(-1)].filter((part) => part !== undefined).join(' ');
  const path = await findProgram(program, environment.PATH);
  const ended = await withDeadline(run.clock, run.timeoutMs, what, run.signal, (signal) =>
    untilItEnds(path, parameters, environment, signal),
  );
  if (ended.exitCode !== null && (run.successes ?? [0]).includes(ended.exitCode)) return;
  const said = ended.said.trim() || `ended with ${ended.exitCode ?? 'a signal'}`;
  const code = /no space left|quota exceeded/i.test(said) ? 'no_space' : 'program_failed';
  throw new ProgramError(code, `${what}: ${said}`);
}

async function findIn(searchPath: string, name: string): Promise<string | undefined> {
  for (const path of searchPath.split(delimiter).map((directory) => join(directory, name))) {
    const runs = await access(path, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (runs) return path;
  }
  return undefined;
}

function untilItEnds(
  path: string,
  parameters: readonly string[],
  environment: Readonly<Record<string, string>>,
  signal: AbortSignal,
): Promise<Ended> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      reject(signal.reason as Error);
      return;
    }
    const [program, ...bound] = BOUND_TO_US;
    const child = spawn(program, [...bound, path, ...parameters], {
      stdio: ['ignore', 'ignore', 'pipe'],
      env: environment,
    });
    const kill = (): void => void child.kill('SIGKILL');
    signal.addEventListener('abort', kill, { once: true });
    let said = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      said = (said + text).slice(-SAID_CHARACTERS);
    });
    child.once('error', (error) => {
      signal.removeEventListener('abort', kill);
      reject(error);
    });
    child.once('close', (exitCode) => {
      signal.removeEventListener('abort', kill);
      if (signal.aborted) reject(signal.reason as Error);
      else resolve({ exitCode, said });
    });
  });
}

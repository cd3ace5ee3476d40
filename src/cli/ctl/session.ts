import { errorText } from '../../kit/coded-error.ts';
import { DeadlineExceeded, withDeadline } from '../../kit/deadline.ts';
import { type ControlTarget, controlTarget, type TargetOptions } from './control-target.ts';
import type { CtlClient, CtlEnvironment } from './ctl-environment.ts';

/** Options that every command has. */
export interface GlobalOptions extends TargetOptions {
  readonly json?: true;
  /** Seconds. */
  readonly timeout: number;
}

/** One command at work. */
export interface Session {
  readonly client: CtlClient;
  readonly target: ControlTarget;
  /** Aborts when the time that was given is over. */
  readonly signal: AbortSignal;
  readonly environment: CtlEnvironment;
  readonly json: boolean;
  readonly timeoutSeconds: number;
}

/** `limited`: there is a deadline. `endless`: that the time is over is no failure. */
export interface SessionTime {
  readonly limited: boolean;
  readonly endless: boolean;
}

/** `setTimeout` takes no more milliseconds. */
const FOREVER_MS = 2 ** 31 - 1;

/** Connects and works; what fails is said on standard error, and the exit code is 1. */
export async function inSession(
  name: string,
  options: GlobalOptions,
  environment: CtlEnvironment,
  time: SessionTime,
  work: (session: Session) => Promise<void>,
): Promise<void> {
  const timeoutSeconds = options.timeout;
  const what = `flockerctl ${name}`;
  let client: CtlClient | undefined;
  try {
    await withDeadline(
      environment.clock,
      time.limited ? timeoutSeconds * 1000 : FOREVER_MS,
      what,
      undefined,
      async (signal) => {
        const { json: _, timeout: __, ...target } = options;
        const found = await controlTarget(target, environment);
        client = await environment.connect(found);
        await work({ client, target: found, signal, environment, json: options.json === true, timeoutSeconds });
      },
    );
  } catch (error) {
    if (time.endless && error instanceof DeadlineExceeded) return;
    environment.stderr.write(`${errorText(error)}\n`);
    environment.setExitCode(1);
  } finally {
    await client?.close();
  }
}

/** One JSON value on standard output, for programs. */
export function writeJson({ environment }: Session, value: unknown): void {
  environment.stdout.write(`${JSON.stringify(value)}\n`);
}

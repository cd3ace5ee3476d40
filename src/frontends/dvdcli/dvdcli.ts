import type { Socket } from 'node:net';
import type { Clock } from '../../kit/clock.ts';
import { type DvdcliRequest, parseArguments } from './arguments.ts';
import { type AgentAnswer, askAgent } from './ask-agent.ts';
import { logLine } from './log-line.ts';

/** What dvdcli needs of the process it runs in. */
export interface DvdcliWorld {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly clock: Clock;
  /** Opens a unix socket. */
  readonly connect: (path: string) => Socket;
  readonly stdout: (text: string) => void;
  readonly stderr: (text: string) => void;
  /** The text that `version` prints. */
  readonly versionText: () => Promise<string>;
}

/** What a command says when it went well. */
export interface DvdcliOutcome {
  readonly lines: readonly string[];
  readonly notes: readonly string[];
}

/** The stock isolator kills a mount after 120 s, without a word of what it waited for. */
const MOUNT_TIMEOUT_MS = 110_000;
const TIMEOUT_MS = 60_000;
/** The agent says itself what it waited for in vain; after this long it is not expected to answer at all. */
const GRACE_MS = 5_000;
/** An agent that is just restarting is waited for this long. */
const RETURN_MS = 10_000;
const AGAIN_MS = 100;

/** Runs dvdcli with the arguments after its name; resolves with the exit status: 1 for every error. */
export async function dvdcli(args: readonly string[], world: DvdcliWorld): Promise<number> {
  const { clock, stdout, stderr, env } = world;
  const wish = parseArguments(args);
  if (wish.kind !== 'request') {
    if (wish.kind === 'version') {
      stdout(await world.versionText());
      return 0;
    }
    const { USAGE } = await import('./usage.ts');
    if (wish.kind === 'help') {
      stdout(USAGE);
      return 0;
    }
    stderr(`${logLine(clock.wallMs(), 'error', wish.message)}${USAGE}`);
    return 1;
  }
  const { request } = wish;
  const fields = request.name === '' ? {} : { volumeName: request.name };
  try {
    const outcome =
      request.driver === 'flocker'
        ? await askUntilBack(request, env['FLOCKER_AGENT_SOCKET'] ?? '/run/flocker/agent.sock', world)
        : await (await import('./other-driver.ts')).otherDriver(request, world);
    for (const note of outcome.notes) stderr(logLine(clock.wallMs(), 'warning', note, fields));
    const told = request.command === 'create' ? request.name : outcome.lines.join(' ');
    if (request.command === 'create' || request.command === 'mount')
      stderr(logLine(clock.wallMs(), 'info', told, fields));
    stdout(outcome.lines.map((line) => `${line}\n`).join(''));
    return 0;
  } catch (error) {
    const info = error instanceof Error && error.name === 'DriverNotFound';
    const message = error instanceof Error ? error.message : String(error);
    stderr(logLine(clock.wallMs(), info ? 'info' : 'error', message, fields));
    return 1;
  }
}

/** Asks the node agent, and again when it was restarted meanwhile: every command may be repeated. */
async function askUntilBack(
  request: DvdcliRequest,
  socketPath: string,
  { clock, connect }: DvdcliWorld,
): Promise<DvdcliOutcome> {
  const { command, name, options, explicitCreate } = request;
  const limitMs = command === 'mount' ? MOUNT_TIMEOUT_MS : TIMEOUT_MS;
  const startedMs = clock.monotonicMs();
  let lost = false;
  let awaySinceMs: number | undefined;
  for (;;) {
    const nowMs = clock.monotonicMs();
    const timeoutMs = Math.max(1, Math.round(limitMs - (nowMs - startedMs)));
    const body = {
      timeout_ms: timeoutMs,
      ...(command === 'list' ? {} : { name }),
      ...(command === 'create' || command === 'mount' ? { options } : {}),
      ...(command === 'mount' ? { explicit_create: explicitCreate } : {}),
    };
    const got = await askAgent(connect, socketPath, `/v1/dvdcli/${command}`, body, timeoutMs + GRACE_MS, clock);
    if (got.kind === 'answer') return outcomeOf(got, lost && command === 'remove');
    if (got.kind === 'failed') throw new Error(got.message);
    lost ||= got.kind === 'lost';
    if (got.kind === 'lost') awaySinceMs = undefined;
    const sinceMs = (awaySinceMs ??= clock.monotonicMs());
    if (clock.monotonicMs() - sinceMs > RETURN_MS || clock.monotonicMs() - startedMs > limitMs)
      throw new Error(got.message);
    await new Promise<void>((resolve) => {
      clock.timer(AGAIN_MS, resolve);
    });
  }
}

/** `goneIsFine`: an answer was lost before, so the volume that is not there may be what we removed. */
function outcomeOf({ status, body }: AgentAnswer & { kind: 'answer' }, goneIsFine: boolean): DvdcliOutcome {
  const { lines, notes, code, message } = body;
  if (status === 200 && Array.isArray(lines) && Array.isArray(notes))
    return { lines: lines.map(String), notes: notes.map(String) };
  if (goneIsFine && code === 'volume_not_found') return { lines: [], notes: [] };
  if (code === 'not_found') throw new Error('the node agent does not know dvdcli; it is older than this program');
  throw new Error(typeof message === 'string' ? message : `the node agent answered with status ${status}`);
}

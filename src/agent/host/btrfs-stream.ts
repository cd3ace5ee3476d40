import { type ChildProcess, spawn } from 'node:child_process';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { BOUND_TO_US, findProgram, ProgramError, SYSTEM_ENVIRONMENT } from './run-program.ts';

const BTRFS = { name: 'btrfs', debianPackage: 'btrfs-progs' };
const SAID_CHARACTERS = 2000;

/** A subvolume that is being sent. */
export interface SentSubvolume {
  readonly bytes: Readable;
  /** Resolves when the program has ended, however it did: until then the kernel does not let the subvolume be deleted. */
  readonly ended: Promise<void>;
}

/** One read-only subvolume of a stream. */
export interface SentVersion {
  readonly path: string;
  /** Another read-only one that the receiver has, or was sent before this one: only what differs from it is sent. */
  readonly against: string | null;
}

/**
 * Read-only subvolumes, one after the other, as the stream that `btrfs receive` takes. Fails as a stream does when a program does not
 * end well; destroying it ends the program. File attributes (chattr), and subvolumes within, are not in it.
 */
export async function sendSubvolumes(first: SentVersion, ...others: readonly SentVersion[]): Promise<SentSubvolume> {
  // The first begins at once, so that what cannot begin is told before anything was promised.
  const begun = [await sendSubvolume(first)];
  if (others.length === 0) return begun[0] as SentSubvolume;
  let isClosed = false;
  let beginning = Promise.resolve();
  const begin = async (version: SentVersion): Promise<void> => {
    const next = await sendSubvolume(version);
    begun.push(next);
    if (isClosed) next.bytes.destroy();
  };
  async function* read(): AsyncGenerator<Buffer> {
    for (const version of [null, ...others]) {
      if (version !== null) await (beginning = begin(version));
      for await (const chunk of begun.at(-1)?.bytes ?? []) yield chunk as Buffer;
    }
  }
  const bytes = Readable.from(read(), { objectMode: false });
  const closed = new Promise<void>((resolve) => {
    bytes.once('close', () => {
      isClosed = true;
      for (const sent of begun) sent.bytes.destroy();
      resolve();
    });
  });
  const ended = closed.then(async () => {
    await beginning.catch(() => undefined);
    await Promise.all(begun.map((sent) => sent.ended));
  });
  return { bytes, ended };
}

async function sendSubvolume({ path, against }: SentVersion): Promise<SentSubvolume> {
  const child = await start(
    ['send', '-q', ...(against === null ? [] : ['-p', against]), path],
    ['ignore', 'pipe', 'pipe'],
  );
  const ended = untilEnded(child, `btrfs send ${path}`);
  const stdout = child.stdout;
  if (stdout === null) throw new Error('btrfs send has no output');
  // Node throws away what nobody listens for when the program ends, and a short stream is written before anybody reads.
  stdout.on('readable', () => undefined);
  async function* read(output: Readable): AsyncGenerator<Buffer> {
    for await (const chunk of output) yield chunk as Buffer;
    await ended;
  }
  const stream = Readable.from(read(stdout), { objectMode: false });
  stream.once('close', () => {
    // The program counts as ended only when nothing of it is left to read.
    stdout.destroy();
    child.kill('SIGKILL');
  });
  // Whoever reads to the end learns of a failure; nobody else has to.
  return { bytes: stream, ended: ended.catch(() => undefined) };
}

/**
 * Makes the read-only subvolumes of a stream in `directory`, with the names that they had. It must not follow anything out of there: whoever made
 * the stream chose the paths in it.
 */
export async function receiveSubvolumes(directory: string, stream: Readable, signal: AbortSignal): Promise<void> {
  const child = await start(['receive', '--chroot', directory], ['pipe', 'ignore', 'pipe']);
  const ended = untilEnded(child, `btrfs receive ${directory}`);
  // It is awaited below; until then its failure must not count as nobody's.
  ended.catch(() => undefined);
  if (child.stdin === null) throw new Error('btrfs receive has no input');
  try {
    await pipeline(stream, child.stdin, { signal });
    await ended;
  } catch (error) {
    child.kill('SIGKILL');
    const why: unknown = await ended.then(
      () => error,
      (failure: unknown) => failure,
    );
    signal.throwIfAborted();
    // A program that gives up closes its input: what it says counts more than that.
    throw isBrokenPipe(error) ? why : error;
  }
}

async function start(
  parameters: readonly string[],
  stdio: ['ignore' | 'pipe', 'ignore' | 'pipe', 'pipe'],
): Promise<ChildProcess> {
  const [bound, ...options] = BOUND_TO_US;
  const path = await findProgram(BTRFS, SYSTEM_ENVIRONMENT.PATH);
  return spawn(bound, [...options, path, ...parameters], { stdio, env: SYSTEM_ENVIRONMENT });
}

async function untilEnded(child: ChildProcess, what: string): Promise<void> {
  let said = '';
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    said = (said + text).slice(-SAID_CHARACTERS);
  });
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  if (code === 0) return;
  const text = `${what}: ${said.trim() || `ended with ${code ?? 'a signal'}`}`;
  throw new ProgramError(/no space left|quota exceeded/i.test(text) ? 'no_space' : 'program_failed', text);
}

function isBrokenPipe(error: unknown): boolean {
  return (
    error instanceof Error && 'code' in error && (error.code === 'EPIPE' || error.code === 'ERR_STREAM_PREMATURE_CLOSE')
  );
}

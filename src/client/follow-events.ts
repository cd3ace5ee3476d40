import type { Readable } from 'node:stream';
import type { Clock } from '../kit/clock.ts';
import { errorText } from '../kit/coded-error.ts';
import { failureOfStatus } from './answers.ts';
import { ClientError } from './flocker-client.ts';
import type { Https } from './https.ts';
import { type ServerSentEvent, SseParser } from './sse-parser.ts';

/** What an event means to its reader: read on, done, or ask again from the start. */
export type Verdict = 'more' | 'done' | 'again';

/** The server sends at least a comment every 15 s; three of them missing is a broken stream. */
const SILENCE_MS = 45_000;
/** A server ends the response after the event that decides; then the connection can serve the next request. */
const DRAIN_MS = 1_000;
const LONGEST_ERROR_BYTES = 2 ** 16;

/**
 * Reads the event stream at `path` until `take` says `done` (true) or the stream is over (false). Fails as requests do,
 * with whatever `take` throws, or with the signal's reason.
 */
export async function followEvents(
  { https, clock, openTimeoutMs }: { readonly https: Https; readonly clock: Clock; readonly openTimeoutMs: number },
  path: string,
  take: (event: ServerSentEvent) => Verdict,
  parent: AbortSignal,
): Promise<boolean> {
  const what = `GET ${path}`;
  const stream = new AbortController();
  const onParent = (): void => stream.abort(parent.reason);
  parent.addEventListener('abort', onParent, { once: true });
  if (parent.aborted) onParent();
  const breakAfter = (delayMs: number, why: string): (() => void) =>
    clock.timer(delayMs, () => stream.abort(new ClientError('unreachable', `${what}: ${why}`)));
  let disarm = breakAfter(openTimeoutMs, `no answer within ${openTimeoutMs} ms`);
  try {
    const { status, url, headers, body } = await https.open(path, stream.signal);
    // For as long as the body lives: an error that nobody listens to ends the process.
    body.on('error', () => undefined);
    if (status !== 200) throw failureOfStatus({ url, status, text: await startOf(body) }, what);
    if (!String(headers['content-type']).startsWith('text/event-stream')) {
      body.destroy();
      throw new ClientError('unexpected_answer', `${what} at ${url}: no event stream`);
    }
    const parser = new SseParser();
    const verdict = await readUntil(body, (chunk) => {
      disarm();
      disarm = breakAfter(SILENCE_MS, `the stream was silent for ${SILENCE_MS} ms`);
      return firstVerdict(parser.push(chunk), take);
    });
    if (verdict === 'done') drain(body, clock);
    else body.destroy();
    return verdict === 'done';
  } catch (error) {
    if (parent.aborted) throw parent.reason;
    if (error instanceof ClientError) throw error;
    throw new ClientError('unreachable', `${what}: the stream broke (${errorText(error)})`, { cause: error });
  } finally {
    disarm();
    parent.removeEventListener('abort', onParent);
  }
}

function firstVerdict(events: readonly ServerSentEvent[], take: (event: ServerSentEvent) => Verdict): Verdict {
  for (const event of events) {
    const verdict = take(event);
    if (verdict !== 'more') return verdict;
  }
  return 'more';
}

/** Settles at the first verdict but `more`, with `again` at the end of the body. */
function readUntil(body: Readable, read: (chunk: Buffer) => Verdict): Promise<Verdict> {
  return new Promise((resolve, reject) => {
    const onData = (chunk: Buffer): void => {
      try {
        const verdict = read(chunk);
        if (verdict === 'more') return;
        body.off('data', onData);
        resolve(verdict);
      } catch (error) {
        body.off('data', onData);
        reject(error);
        body.destroy();
      }
    };
    body.on('data', onData);
    body.on('end', () => resolve('again'));
    body.on('error', reject);
    body.on('close', () => resolve('again'));
  });
}

/** Reads what is left, which is only the end of the response, or gives the connection up. */
function drain(body: Readable, clock: Clock): void {
  const cancel = clock.timer(DRAIN_MS, () => body.destroy());
  body.on('close', cancel);
  body.resume();
}

async function startOf(body: Readable): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of body as AsyncIterable<Buffer>) {
    chunks.push(chunk);
    bytes += chunk.length;
    if (bytes > LONGEST_ERROR_BYTES) break;
  }
  return Buffer.concat(chunks).toString('utf8');
}

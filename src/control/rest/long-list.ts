import { Readable } from 'node:stream';
import { setImmediate as soon } from 'node:timers/promises';
import type { FastifyReply } from 'fastify';
import { escapeNonAscii } from './contract-replies.ts';

/** As many as take some milliseconds. A longer list is sent in such parts, and others are answered in between. */
const PART = 500;

/**
 * Answers with a list, of which each part is as it stands when its turn has come. `read` gives what there is of some of the keys; it
 * is told all of them at once where they are few.
 */
export async function sendList<Key, Row>(
  reply: FastifyReply,
  keys: readonly Key[],
  read: (keys: readonly Key[]) => Promise<readonly Row[]>,
): Promise<FastifyReply> {
  if (keys.length <= PART) return reply.send(await read(keys));
  // What fails before anything was sent is answered as any other failure.
  const first = await read(keys.slice(0, PART));
  async function* text(): AsyncGenerator<string> {
    const items = (rows: readonly Row[]): string => escapeNonAscii(JSON.stringify(rows)).slice(1, -1);
    let begin = '[';
    for (let at = 0; at < keys.length; at += PART) {
      if (at > 0) await soon();
      const part = items(at === 0 ? first : await read(keys.slice(at, at + PART)));
      if (part === '') continue;
      yield `${begin}${part}`;
      begin = ',';
    }
    yield begin === '[' ? '[]' : ']';
  }
  return reply.header('content-type', 'application/json').send(Readable.from(text(), { objectMode: false }));
}

import { StringDecoder } from 'node:string_decoder';
import { ClientError } from './flocker-client.ts';

/** One server-sent event. */
export interface ServerSentEvent {
  readonly event: string;
  readonly data: string;
}

/** Longest line and longest event, in UTF-16 units: a hundred times what one dataset takes. */
const LONGEST = 2 ** 20;

/**
 * Reads a `text/event-stream` from chunks cut anywhere. Comments (heartbeats), `id` and `retry` are read and dropped; an
 * event that the end of the stream cuts off is never given out.
 */
export class SseParser {
  readonly #decoder = new StringDecoder('utf8');
  #line = '';
  #atStart = true;
  #afterCarriageReturn = false;
  #event = '';
  #data: string[] = [];
  #dataLength = 0;

  /** The events that `chunk` completes. Fails with `unexpected_answer` when a line or an event is longer than 1 Mi characters. */
  push(chunk: Uint8Array): ServerSentEvent[] {
    let text = this.#decoder.write(Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength));
    if (text === '') return [];
    if (this.#atStart) {
      this.#atStart = false;
      if (text.startsWith('\uFEFF')) text = text.slice(1);
    }
    const endsWithCarriageReturn = text.endsWith('\r');
    // The other half of a CRLF that the last chunk cut in two.
    if (this.#afterCarriageReturn && text.startsWith('\n')) text = text.slice(1);
    this.#afterCarriageReturn = endsWithCarriageReturn;
    const lines = text.split(/\r\n|\n|\r/);
    const rest = lines.pop() ?? '';
    const events: ServerSentEvent[] = [];
    for (const line of lines) {
      this.#take(this.#line + line, events);
      this.#line = '';
    }
    this.#line += rest;
    if (this.#line.length > LONGEST) throw tooLong('a line');
    return events;
  }

  #take(line: string, events: ServerSentEvent[]): void {
    if (line === '') {
      if (this.#data.length > 0) events.push({ event: this.#event || 'message', data: this.#data.join('\n') });
      this.#event = '';
      this.#data = [];
      this.#dataLength = 0;
      return;
    }
    const colon = line.indexOf(':');
    const field = colon === -1 ? line : line.slice(0, colon);
    const raw = colon === -1 ? '' : line.slice(colon + 1);
    const value = raw.startsWith(' ') ? raw.slice(1) : raw;
    if (field === 'event') this.#event = value;
    if (field === 'data') {
      this.#data.push(value);
      this.#dataLength += value.length;
      if (this.#dataLength > LONGEST) throw tooLong('an event');
    }
  }
}

function tooLong(what: string): ClientError {
  return new ClientError('unexpected_answer', `The event stream has ${what} of more than ${LONGEST} characters`);
}

import type { IncomingMessage } from 'node:http';
import { request } from 'node:https';
import { vi } from 'vitest';
import type { DatasetInspection } from '../../src/api/inspection.ts';
import type { Credentials } from '../../src/tls/credentials.ts';

export interface StreamEvent {
  readonly id: string | undefined;
  readonly name: string;
  readonly data: unknown;
}

/** Reads server-sent events off the wire; only what the format says, no reconnecting. */
export class EventStream {
  readonly events: StreamEvent[] = [];
  /** The last `id:` line, also of a block without data. */
  lastId: string | undefined;
  ended = false;
  readonly #incoming: IncomingMessage;
  #rest = '';

  private constructor(incoming: IncomingMessage) {
    this.#incoming = incoming;
    incoming.setEncoding('utf8');
    incoming.on('data', (text: string) => this.#push(text));
    incoming.on('error', () => undefined);
    incoming.on('end', () => {
      this.ended = true;
    });
  }

  /** Opens a stream; rejects when the answer is anything else. */
  static open(
    port: number,
    tls: Credentials,
    path: string,
    headers: Record<string, string> = {},
  ): Promise<EventStream> {
    return new Promise((resolve, reject) => {
      const options = { ...tls, host: '127.0.0.1', port, path, headers, servername: 'control-service', agent: false };
      const outgoing = request(options, (incoming) => {
        if (incoming.statusCode === 200 && incoming.headers['content-type'] === 'text/event-stream') {
          resolve(new EventStream(incoming));
        } else {
          incoming.destroy();
          reject(new Error(`${incoming.statusCode} ${incoming.headers['content-type']}`));
        }
      });
      outgoing.on('error', reject);
      outgoing.end();
    });
  }

  /** Inspections of the `dataset` events so far. */
  get datasets(): DatasetInspection[] {
    return this.events.filter(({ name }) => name === 'dataset').map(({ data }) => data as DatasetInspection);
  }

  until(condition: () => boolean): Promise<void> {
    return vi.waitFor(
      () => {
        if (!condition()) throw new Error(`the stream has ${JSON.stringify(this.events)}, ended: ${this.ended}`);
      },
      { timeout: 5_000, interval: 2 },
    );
  }

  close(): void {
    this.#incoming.destroy();
  }

  #push(text: string): void {
    const blocks = (this.#rest + text).split('\n\n');
    this.#rest = blocks.pop() ?? '';
    for (const block of blocks) this.#take(block.split('\n'));
  }

  #take(lines: readonly string[]): void {
    const field = (name: string): string | undefined =>
      lines.find((line) => line.startsWith(`${name}: `))?.slice(name.length + 2);
    const id = field('id');
    if (id !== undefined) this.lastId = id;
    const data = field('data');
    if (data === undefined) return;
    this.events.push({ id, name: field('event') ?? 'message', data: JSON.parse(data) });
  }
}

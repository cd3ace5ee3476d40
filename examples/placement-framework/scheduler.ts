import { Agent, type IncomingMessage, request } from 'node:http';
import type { SchedulerEvent } from './mesos.ts';

/** A subscription to the master. Ends when the master ends it. */
export interface Scheduler {
  readonly frameworkId: string;
  readonly events: AsyncIterable<SchedulerEvent>;
  /** One call; calls arrive in the order they are made. */
  call(body: object): Promise<void>;
  close(): void;
}

/** Subscribes to the v1 scheduler API of the leading master at `url`. */
export async function subscribe(url: string, framework: object): Promise<Scheduler> {
  const target = new URL('/api/v1/scheduler', url);
  const stream = await post(target, { type: 'SUBSCRIBE', subscribe: { framework_info: framework } }, {}, undefined);
  const streamId = stream.headers['mesos-stream-id'];
  if (stream.statusCode !== 200 || typeof streamId !== 'string')
    throw new Error(`the master answered ${stream.statusCode}: ${await textOf(stream)}`);
  const events = eventsOf(stream);
  const first = await events.next();
  if (first.done === true || first.value.type !== 'SUBSCRIBED') throw new Error('the master did not take us in');
  const frameworkId = first.value.subscribed.framework_id;
  const calls = new Agent({ keepAlive: true, maxSockets: 1 });
  return {
    frameworkId: frameworkId.value,
    events,
    call: async (body) => {
      const answer = await post(target, { ...body, framework_id: frameworkId }, { 'mesos-stream-id': streamId }, calls);
      const text = await textOf(answer);
      if (answer.statusCode !== 202) throw new Error(`the master answered ${answer.statusCode}: ${text}`);
    },
    close: () => {
      calls.destroy();
      stream.destroy();
    },
  };
}

/** RecordIO: a decimal length, a newline, so many bytes, again and again. */
async function* eventsOf(stream: IncomingMessage): AsyncGenerator<SchedulerEvent> {
  let waiting = Buffer.alloc(0);
  for await (const chunk of stream) {
    waiting = Buffer.concat([waiting, chunk as Buffer]);
    for (;;) {
      const end = waiting.indexOf('\n');
      const from = end + 1;
      const length = Number(waiting.subarray(0, Math.max(0, end)).toString());
      if (end < 0 || waiting.length < from + length) break;
      yield JSON.parse(waiting.subarray(from, from + length).toString()) as SchedulerEvent;
      waiting = waiting.subarray(from + length);
    }
  }
}

function post(
  url: URL,
  body: object,
  headers: Readonly<Record<string, string>>,
  agent: Agent | undefined,
): Promise<IncomingMessage> {
  const text = JSON.stringify(body);
  const all = {
    'content-type': 'application/json',
    accept: 'application/json',
    'content-length': Buffer.byteLength(text),
    ...headers,
  };
  return new Promise((resolve, reject) => {
    const sent = request(url, { method: 'POST', headers: all, agent: agent ?? false }, resolve);
    sent.on('error', reject);
    sent.end(text);
  });
}

async function textOf(message: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of message) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString('utf8');
}

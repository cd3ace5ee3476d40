import { Agent as HttpAgent, request as httpRequest, type IncomingMessage } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import type { Socket } from 'node:net';
import type { Clock } from '../../kit/clock.ts';
import { errorText } from '../../kit/coded-error.ts';
import { orAbort, withDeadline } from '../../kit/deadline.ts';
import { MesosError, mesosErrorOf } from './mesos-error.ts';
import { type AgentMessage, parseAgentMessage } from './mesos-messages.ts';
import { RecordIo } from './record-io.ts';

export interface MesosAgentOptions {
  /** `http://host:5051` or `https://…`. */
  readonly url: string;
  /** Value of `Authorization`. */
  readonly authorization?: string;
  /** Certificates to trust, PEM; the system's unless given. */
  readonly ca?: string;
  readonly clock: Clock;
  /** Longest time for one call, milliseconds; 10,000 unless given. */
  readonly callTimeoutMs?: number;
}

/** A subscription that the agent accepted, or is about to refuse by ending it. */
export interface ProviderStream {
  /** What the agent sends, until the stream ends. Fails with `unreachable` when it breaks. */
  readonly messages: AsyncIterable<AgentMessage>;
  /** One call on another connection. Resolves when the agent has taken it in. Fails with a {@link MesosError}. */
  call(body: object): Promise<void>;
  /** Resolves when the connection is closed. */
  close(): Promise<void>;
}

/** The HTTP API of one Mesos agent, as far as a resource provider needs it. Fails with a {@link MesosError}. */
export interface MesosAgentApi {
  /** The agent's id. */
  agentId(signal: AbortSignal): Promise<string>;
  /** Whether the agent has a subscribed provider of this id; undefined when we may not ask. */
  isSubscribed(providerId: string, signal: AbortSignal): Promise<boolean | undefined>;
  subscribe(info: object, signal: AbortSignal): Promise<ProviderStream>;
}

/** The agent compares content types as text. */
const JSON_TYPE = 'application/json';
const KEEP_ALIVE_MS = 15_000;
/** Longer than an agent's list of resource providers. */
const LONGEST_ANSWER_BYTES = 16 * 2 ** 20;

export function connectMesosAgent(options: MesosAgentOptions): MesosAgentApi {
  const provider = new URL('/api/v1/resource_provider', options.url);
  const operator = new URL('/api/v1', options.url);
  return {
    agentId: async (signal) => {
      const answer = await ask(options, operator, { type: 'GET_AGENT' }, signal);
      const id = at(answer, 'get_agent', 'agent_info', 'id', 'value');
      if (typeof id === 'string' && id !== '') return id;
      throw new MesosError('not_ready', `GET_AGENT: the agent at ${options.url} has no id yet`);
    },
    isSubscribed: async (providerId, signal) => {
      try {
        const answer = await ask(options, operator, { type: 'GET_RESOURCE_PROVIDERS' }, signal);
        const list = at(answer, 'get_resource_providers', 'resource_providers');
        const ids = Array.isArray(list) ? list.map((one) => at(one, 'resource_provider_info', 'id', 'value')) : [];
        return ids.includes(providerId);
      } catch (error) {
        if (error instanceof MesosError && error.code === 'not_allowed') return undefined;
        throw error;
      }
    },
    subscribe: async (info, signal) => {
      const body = { type: 'SUBSCRIBE', subscribe: { resource_provider_info: info } };
      const { clock, callTimeoutMs = 10_000 } = options;
      const agent = oneConnection(options);
      const answered = withDeadline(clock, callTimeoutMs, 'SUBSCRIBE', signal, (soon) =>
        orAbort(send(options, provider, body, {}, agent), soon),
      );
      try {
        const response = await answered;
        const streamId = response.headers['mesos-stream-id'];
        if (response.statusCode !== 200 || typeof streamId !== 'string')
          throw mesosErrorOf('SUBSCRIBE', response.statusCode ?? 0, await textOf(response));
        response.socket.setKeepAlive(true, KEEP_ALIVE_MS);
        return new HttpStream(options, provider, agent, response, streamId);
      } catch (error) {
        agent.destroy();
        throw asMesosError('SUBSCRIBE', error, signal);
      }
    },
  };
}

class HttpStream implements ProviderStream {
  readonly messages: AsyncIterable<AgentMessage>;
  readonly #options: MesosAgentOptions;
  readonly #url: URL;
  readonly #streamAgent: HttpAgent;
  readonly #callAgent: HttpAgent;
  readonly #streamId: string;
  readonly #closed: Promise<void>;
  readonly #socket: Socket;

  constructor(
    options: MesosAgentOptions,
    url: URL,
    streamAgent: HttpAgent,
    response: IncomingMessage,
    streamId: string,
  ) {
    this.#options = options;
    this.#url = url;
    this.#streamAgent = streamAgent;
    this.#callAgent = oneConnection(options);
    this.#streamId = streamId;
    this.#socket = response.socket;
    this.#closed = new Promise((resolve) => {
      if (response.socket.closed) resolve();
      else response.socket.once('close', () => resolve());
    });
    this.messages = messagesOf(response);
  }

  async call(body: object): Promise<void> {
    const { clock, callTimeoutMs = 10_000 } = this.#options;
    const what = 'type' in body ? String(body.type) : 'the call';
    try {
      await withDeadline(clock, callTimeoutMs, what, undefined, async (signal) => {
        const headers = { 'mesos-stream-id': this.#streamId };
        const response = await orAbort(send(this.#options, this.#url, body, headers, this.#callAgent), signal);
        const text = await orAbort(textOf(response), signal);
        if (response.statusCode !== 202) throw mesosErrorOf(what, response.statusCode ?? 0, text);
      });
    } catch (error) {
      throw asMesosError(what, error);
    }
  }

  async close(): Promise<void> {
    this.#callAgent.destroy();
    this.#streamAgent.destroy();
    this.#socket.destroy();
    await this.#closed;
  }
}

async function* messagesOf(response: IncomingMessage): AsyncGenerator<AgentMessage> {
  const records = new RecordIo();
  try {
    for await (const chunk of response) {
      for (const record of records.push(chunk as Buffer)) yield parseAgentMessage(record);
    }
  } catch (error) {
    throw asMesosError('the stream of the agent', error);
  }
}

async function ask(options: MesosAgentOptions, url: URL, body: object, signal: AbortSignal): Promise<unknown> {
  const what = 'type' in body ? String(body.type) : 'the call';
  const { clock, callTimeoutMs = 10_000 } = options;
  const agent = oneConnection(options);
  try {
    return await withDeadline(clock, callTimeoutMs, what, signal, async (soon) => {
      const response = await orAbort(send(options, url, body, {}, agent), soon);
      const text = await orAbort(textOf(response), soon);
      if (response.statusCode !== 200) throw mesosErrorOf(what, response.statusCode ?? 0, text);
      return JSON.parse(text) as unknown;
    });
  } catch (error) {
    throw asMesosError(what, error, signal);
  } finally {
    agent.destroy();
  }
}

function send(
  options: MesosAgentOptions,
  url: URL,
  body: object,
  headers: Readonly<Record<string, string>>,
  agent: HttpAgent,
): Promise<IncomingMessage> {
  const text = JSON.stringify(body);
  const request = url.protocol === 'https:' ? httpsRequest : httpRequest;
  return new Promise((resolve, reject) => {
    const sent = request(
      url,
      {
        method: 'POST',
        agent,
        headers: {
          accept: JSON_TYPE,
          'content-type': JSON_TYPE,
          'content-length': Buffer.byteLength(text),
          ...(options.authorization === undefined ? {} : { authorization: options.authorization }),
          ...headers,
        },
      },
      resolve,
    );
    sent.on('error', reject);
    sent.end(text);
  });
}

/** One connection at most, so that calls arrive in the order they were sent. */
function oneConnection({ url, ca }: MesosAgentOptions): HttpAgent {
  const keeping = { keepAlive: true, maxSockets: 1 };
  if (!url.startsWith('https:')) return new HttpAgent(keeping);
  return new HttpsAgent({ ...keeping, ...(ca === undefined ? {} : { ca }) });
}

async function textOf(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of response) {
    chunks.push(chunk as Buffer);
    bytes += (chunk as Buffer).length;
    if (bytes > LONGEST_ANSWER_BYTES)
      throw new MesosError('unreachable', `the agent's answer is longer than ${LONGEST_ANSWER_BYTES} bytes`);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function asMesosError(what: string, error: unknown, signal?: AbortSignal): unknown {
  if (signal?.aborted === true) return signal.reason;
  if (error instanceof MesosError) return error;
  return new MesosError('unreachable', `${what}: ${errorText(error)}`, { cause: error });
}

function at(value: unknown, ...path: readonly string[]): unknown {
  let found = value;
  for (const key of path) {
    if (typeof found !== 'object' || found === null) return undefined;
    found = (found as Readonly<Record<string, unknown>>)[key];
  }
  return found;
}

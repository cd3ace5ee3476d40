import type { Agent as HttpAgent, IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import type { Clock } from '../../kit/clock.ts';
import { orAbort, withDeadline } from '../../kit/deadline.ts';
import { asMesosError, at, keepAlive, type MesosAccess, oneConnection, send, textOf } from '../../mesos/http-calls.ts';
import { MesosError, type MesosPeer, mesosErrorOf } from '../../mesos/mesos-error.ts';
import { RecordIo } from '../../mesos/record-io.ts';
import { type AgentMessage, parseAgentMessage } from './mesos-messages.ts';

export interface MesosAgentOptions extends MesosAccess {
  /** `http://host:5051` or `https://…`. */
  readonly url: string;
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

const AGENT: MesosPeer = {
  name: 'agent',
  credentialAdvice: 'Give credentials that may do this with --credential or --token-file.',
};

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
      const agent = oneConnection(provider, options);
      const answered = withDeadline(clock, callTimeoutMs, 'SUBSCRIBE', signal, (soon) =>
        orAbort(send(options, provider, agent, body), soon),
      );
      try {
        const response = await answered;
        const streamId = response.headers['mesos-stream-id'];
        if (response.statusCode !== 200 || typeof streamId !== 'string')
          throw mesosErrorOf(AGENT, 'SUBSCRIBE', response.statusCode ?? 0, await textOf(response));
        keepAlive(response);
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
    this.#callAgent = oneConnection(url, options);
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
        const response = await orAbort(send(this.#options, this.#url, this.#callAgent, body, headers), signal);
        const text = await orAbort(textOf(response), signal);
        if (response.statusCode !== 202) throw mesosErrorOf(AGENT, what, response.statusCode ?? 0, text);
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
  const agent = oneConnection(url, options);
  try {
    return await withDeadline(clock, callTimeoutMs, what, signal, async (soon) => {
      const response = await orAbort(send(options, url, agent, body), soon);
      const text = await orAbort(textOf(response), soon);
      if (response.statusCode !== 200) throw mesosErrorOf(AGENT, what, response.statusCode ?? 0, text);
      return JSON.parse(text) as unknown;
    });
  } catch (error) {
    throw asMesosError(what, error, signal);
  } finally {
    agent.destroy();
  }
}

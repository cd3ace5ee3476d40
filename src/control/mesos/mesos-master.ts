import type { Agent as HttpAgent, IncomingMessage } from 'node:http';
import type { Clock } from '../../kit/clock.ts';
import { orAbort, withDeadline } from '../../kit/deadline.ts';
import { asMesosError, keepAlive, type MesosAccess, oneConnection, send, textOf } from '../../mesos/http-calls.ts';
import { MesosError, type MesosPeer, mesosErrorOf } from '../../mesos/mesos-error.ts';
import { RecordIo } from '../../mesos/record-io.ts';
import { type MasterEvent, parseMasterEvent } from './master-event.ts';
import { parseRegistry, type Registry } from './registry.ts';

export interface MesosMasterOptions extends MesosAccess {
  /** Of masters, `http://host:5050` or `https://…`; one is enough, as each knows who leads. */
  readonly urls: readonly string[];
  readonly clock: Clock;
  /** Longest time for one call, milliseconds; 10,000 unless given. */
  readonly callTimeoutMs?: number;
}

/** A subscription to the leading master. */
export interface MasterStream {
  /** Where it leads. */
  readonly url: string;
  /** What it sends, until the stream ends. Fails with `unreachable` when it breaks. */
  readonly events: AsyncIterable<MasterEvent>;
  /** Which agents it has, on another connection. Fails with a {@link MesosError}. */
  registry(signal: AbortSignal): Promise<Registry>;
  close(): void;
}

/** The operator API of the masters of a Mesos cluster, as far as fencing needs it. */
export interface MesosMasterApi {
  /** Fails with a {@link MesosError} when none of them leads, or knows who does. */
  subscribe(signal: AbortSignal): Promise<MasterStream>;
}

const MASTER: MesosPeer = {
  name: 'master',
  credentialAdvice: 'Give credentials that may read its state with --mesos-credential or --mesos-token-file.',
};
/** While leadership moves, masters may know different leaders. */
const MOST_REDIRECTS = 3;
/** 100,000 agents of some hundred bytes. */
const LONGEST_REGISTRY_BYTES = 64 * 2 ** 20;

export function connectMesosMaster(options: MesosMasterOptions): MesosMasterApi {
  let last = 0;
  return {
    subscribe: async (signal) => {
      let failure: unknown;
      for (const [index] of options.urls.entries()) {
        const turn = (last + index) % options.urls.length;
        try {
          const stream = await subscribeAt(options, options.urls[turn] ?? '', signal);
          last = turn;
          return stream;
        } catch (error) {
          if (signal.aborted) throw error;
          failure ??= error;
        }
      }
      throw failure;
    },
  };
}

/** A master that does not lead answers 307 and where the leading one is, without a scheme (`Master::Http::redirect`, src/master/http.cpp). */
async function subscribeAt(options: MesosMasterOptions, url: string, signal: AbortSignal): Promise<MasterStream> {
  let target = new URL('/api/v1', url);
  for (let hops = 0; hops <= MOST_REDIRECTS; hops += 1) {
    const what = `SUBSCRIBE at ${target.origin}`;
    const agent = oneConnection(target, options);
    let kept = false;
    try {
      const response = await ask(options, what, target, agent, { type: 'SUBSCRIBE' }, signal);
      if (response.statusCode === 200) {
        kept = true;
        return streamOf(options, target, agent, response);
      }
      if (response.statusCode !== 307)
        throw mesosErrorOf(MASTER, what, response.statusCode ?? 0, await orAbort(textOf(response), signal));
      target = redirected(target, response);
    } catch (error) {
      throw asMesosError(what, error, signal);
    } finally {
      if (!kept) agent.destroy();
    }
  }
  throw new MesosError('not_ready', `SUBSCRIBE at ${url}: the masters do not agree on who leads`);
}

/** Our credentials go there, so it has to be encrypted if the first was. */
function redirected(from: URL, { headers: { location = '' } }: IncomingMessage): URL {
  const to = URL.canParse(location, from.href) ? new URL(location, from.href) : undefined;
  if (to?.protocol === from.protocol && to.username === '') return new URL('/api/v1', to.origin);
  throw new MesosError('unexpected_answer', `${from.origin} names ${JSON.stringify(location)} as the leading master`);
}

function streamOf(options: MesosMasterOptions, leader: URL, agent: HttpAgent, response: IncomingMessage): MasterStream {
  keepAlive(response);
  return {
    url: leader.origin,
    events: eventsOf(response),
    registry: (signal) => registryAt(options, new URL('/registrar(1)/registry', leader.origin), signal),
    close: () => {
      agent.destroy();
      response.destroy();
    },
  };
}

async function* eventsOf(response: IncomingMessage): AsyncGenerator<MasterEvent> {
  const records = new RecordIo();
  try {
    for await (const chunk of response) {
      for (const record of records.push(chunk as Buffer)) yield parseMasterEvent(record);
    }
  } catch (error) {
    throw asMesosError('the stream of the master', error);
  }
}

async function registryAt(options: MesosMasterOptions, url: URL, signal: AbortSignal): Promise<Registry> {
  const what = `the registry at ${url.origin}`;
  const agent = oneConnection(url, options);
  try {
    const response = await ask(options, what, url, agent, undefined, signal);
    const text = await withDeadline(options.clock, timeoutOf(options), what, signal, (soon) =>
      orAbort(textOf(response, LONGEST_REGISTRY_BYTES), soon),
    );
    if (response.statusCode !== 200) throw mesosErrorOf(MASTER, what, response.statusCode ?? 0, text);
    return parseRegistry(text);
  } catch (error) {
    throw asMesosError(what, error, signal);
  } finally {
    agent.destroy();
  }
}

/** The head of the answer, within the time for one call. */
function ask(
  options: MesosMasterOptions,
  what: string,
  url: URL,
  agent: HttpAgent,
  body: object | undefined,
  signal: AbortSignal,
): Promise<IncomingMessage> {
  return withDeadline(options.clock, timeoutOf(options), what, signal, (soon) =>
    orAbort(send(options, url, agent, body), soon),
  );
}

function timeoutOf({ callTimeoutMs = 10_000 }: MesosMasterOptions): number {
  return callTimeoutMs;
}

import { type ClientOptions, WebSocket } from 'ws';
import {
  AGENT_CHANNEL_PATH,
  AGENT_PROTOCOL,
  type AgentMessage,
  type ControlMessage,
  type Report,
} from '../src/api/agent-channel.ts';
import { type BackoffPolicy, backoffMs } from '../src/kit/backoff.ts';
import { frameBytes } from '../src/kit/frame-text.ts';
import type { Credentials } from '../src/tls/credentials.ts';

/** As the real agent's (agent/control-link). */
const RECONNECT: BackoffPolicy = { firstMs: 200, factor: 2, longestMs: 10_000 };
const HANDSHAKE_TIMEOUT_MS = 60_000;
const SIZE_BYTES = 2 ** 30;

/** What all agents of a benchmark have received, bytes of messages. */
export interface Received {
  bytes: number;
}

/** An agent that does at once whatever it is ordered to, over a real connection, and comes back when that breaks. */
export class SimulatedAgent {
  readonly #port: number;
  readonly #tls: Credentials;
  readonly #received: Received;
  readonly #has: Set<string>;
  #socket: WebSocket | undefined;
  #attempt = 0;
  #ended = false;
  #connected = false;
  #onConnected: () => void = () => undefined;

  /** `has` are the datasets that are mounted there. */
  constructor(port: number, tls: Credentials, has: Iterable<string>, received: Received) {
    this.#port = port;
    this.#tls = tls;
    this.#has = new Set(has);
    this.#received = received;
  }

  /** Resolves with the full orders; at once while they are there. */
  connected(): Promise<void> {
    if (this.#connected) return Promise.resolve();
    return new Promise((resolve) => {
      this.#onConnected = resolve;
    });
  }

  start(): void {
    if (this.#ended) return;
    const options: ClientOptions & { servername: string } = {
      ...this.#tls,
      servername: 'control-service',
      perMessageDeflate: false,
      handshakeTimeout: HANDSHAKE_TIMEOUT_MS,
    };
    const socket = new WebSocket(`wss://127.0.0.1:${this.#port}${AGENT_CHANNEL_PATH}`, options);
    this.#socket = socket;
    socket.on('open', () => this.#hello());
    socket.on('message', (data) => this.#take(frameBytes(data)));
    socket.on('error', () => undefined);
    socket.on('close', () => {
      this.#connected = false;
      const delayMs = backoffMs(RECONNECT, this.#attempt, Math.random);
      this.#attempt += 1;
      if (!this.#ended) setTimeout(() => this.start(), delayMs);
    });
  }

  end(): void {
    this.#ended = true;
    this.#socket?.terminate();
  }

  /** Figures of the pool, as an agent sends them after its first orders and when they change. */
  measure(): void {
    const figures = { totalBytes: 2 ** 50, availableBytes: 2 ** 49, usedBytes: 2 ** 49 };
    const unknown = {
      ...{ logicalBytes: null, physicalBytes: null, compressionSavedBytes: null, sharedSavedBytes: null },
    };
    this.#send({ kind: 'storage', profiles: [], figures: { ...figures, ...unknown }, volumes: [] });
  }

  #hello(): void {
    this.#send({
      ...{ kind: 'hello', protocol: AGENT_PROTOCOL, era: '', host: '10.0.0.1', version: '0', backend: 'loopback' },
      ...{ pool: 'shared', profiles: [], has: [...this.#has].map((id) => mounted(id, 0)) },
    });
  }

  #take(bytes: Buffer): void {
    this.#received.bytes += bytes.length;
    const message = JSON.parse(bytes.toString('utf8')) as ControlMessage;
    if (message.kind !== 'orders') return;
    const reports: Report[] = [];
    for (const { want, datasetId, order } of message.orders) {
      if (want === 'mounted') {
        if (this.#has.has(datasetId)) continue;
        this.#has.add(datasetId);
        reports.push(mounted(datasetId, order));
      } else {
        this.#has.delete(datasetId);
        const state =
          want === 'destroyed' ? ({ kind: 'absent' } as const) : { kind: 'detached', sizeBytes: SIZE_BYTES };
        reports.push({ datasetId, order, busy: false, state: state as Report['state'], problem: null });
      }
    }
    if (reports.length > 0) this.#send({ kind: 'report', reports });
    if (!message.full) return;
    this.#attempt = 0;
    this.#connected = true;
    this.measure();
    this.#onConnected();
  }

  #send(message: AgentMessage): void {
    this.#socket?.send(JSON.stringify(message));
  }
}

function mounted(datasetId: string, order: number): Report {
  const state = { kind: 'mounted', sizeBytes: SIZE_BYTES, path: `/flocker/${datasetId}` } as const;
  return { datasetId, order, busy: false, state, problem: null };
}

import { once } from 'node:events';
import { vi } from 'vitest';
import { type ClientOptions, WebSocket } from 'ws';
import {
  AGENT_CHANNEL_PATH,
  AGENT_PROTOCOL,
  type ControlMessage,
  type Hello,
  type Order,
  type Report,
  type SnapshotOrder,
  type SnapshotReport,
  type StorageReport,
} from '../../src/api/agent-channel.ts';
import { frameText } from '../../src/kit/frame-text.ts';
import type { NodeId } from '../../src/kit/ids.ts';
import type { Credentials } from '../../src/tls/credentials.ts';

const DEADLINE_MS = 5_000;

export type NodeCredentials = Credentials & { readonly nodeId: NodeId };

/** A hello with everything filled in. */
export function helloOf(fields: Partial<Hello> = {}): Hello {
  return {
    kind: 'hello',
    protocol: AGENT_PROTOCOL,
    era: '11111111-1111-4111-8111-111111111111',
    host: '10.0.0.1',
    version: '0.0.0',
    backend: 'loopback',
    pool: 'pool-a',
    profiles: [],
    has: [],
    ...fields,
  };
}

/** Figures of a pool of a thousand bytes with one profile. */
export function storageOf(fields: Partial<StorageReport> = {}): StorageReport {
  return {
    kind: 'storage',
    profiles: [
      { name: 'gold', media: 'ssd', compression: 'zstd:3', dedup: 'none', replication: null, encryption: false },
    ],
    figures: {
      totalBytes: 1000,
      availableBytes: 600,
      usedBytes: 400,
      logicalBytes: 800,
      physicalBytes: 400,
      compressionSavedBytes: 200,
      sharedSavedBytes: null,
    },
    volumes: [],
    ...fields,
  };
}

/** A node agent that speaks the real protocol over real TLS and does only what the test tells it. */
export class FakeAgent {
  readonly nodeId: NodeId;
  readonly messages: ControlMessage[] = [];
  readonly #socket: WebSocket;
  readonly #orders = new Map<string, Order>();
  readonly #snapshotOrders = new Map<string, SnapshotOrder>();

  private constructor(nodeId: NodeId, socket: WebSocket) {
    this.nodeId = nodeId;
    this.#socket = socket;
    socket.on('error', () => undefined);
    socket.on('message', (data) => this.#take(JSON.parse(frameText(data)) as ControlMessage));
  }

  /** Opens a connection, without a hello. Rejects when the control service does not take it. */
  static async dial(port: number, { nodeId, ...tls }: NodeCredentials, path = AGENT_CHANNEL_PATH): Promise<FakeAgent> {
    const options: ClientOptions & { servername: string } = { ...tls, servername: 'control-service' };
    const socket = new WebSocket(`wss://127.0.0.1:${port}${path}`, options);
    const agent = new FakeAgent(nodeId, socket);
    await once(socket, 'open', { signal: AbortSignal.timeout(DEADLINE_MS) });
    return agent;
  }

  /** Connects, says hello and waits for the full orders. */
  static async join(port: number, credentials: NodeCredentials, fields: Partial<Hello> = {}): Promise<FakeAgent> {
    const agent = await FakeAgent.dial(port, credentials);
    agent.send(helloOf(fields));
    await agent.until(() => agent.messages.some((message) => message.kind === 'orders' && message.full));
    return agent;
  }

  get open(): boolean {
    return this.#socket.readyState === WebSocket.OPEN;
  }

  /** The present order for a dataset. */
  order(datasetId: string): Order | undefined {
    return this.#orders.get(datasetId);
  }

  /** Waits until the present order for a dataset wants this, and gives it. */
  async ordered<Want extends Order['want']>(datasetId: string, want: Want): Promise<Extract<Order, { want: Want }>> {
    await this.until(() => this.order(datasetId)?.want === want, `an order for ${want}`);
    return this.order(datasetId) as Extract<Order, { want: Want }>;
  }

  /** The present order for a snapshot. */
  snapshotOrder(snapshotId: string): SnapshotOrder | undefined {
    return this.#snapshotOrders.get(snapshotId);
  }

  async snapshotOrdered(snapshotId: string, want: SnapshotOrder['want']): Promise<void> {
    await this.until(() => this.snapshotOrder(snapshotId)?.want === want, `an order for ${want}`);
  }

  /** Reports a snapshot under the present order, unless `fields` say otherwise. */
  reportSnapshot(snapshotId: string, state: SnapshotReport['state'], fields: Partial<SnapshotReport> = {}): void {
    const order = this.snapshotOrder(snapshotId)?.order ?? 1;
    const report = { snapshotId, order, busy: false, state, problem: null, ...fields };
    this.send({ kind: 'snapshotReport', reports: [report] });
  }

  send(message: unknown): void {
    this.#socket.send(typeof message === 'string' || Buffer.isBuffer(message) ? message : JSON.stringify(message));
  }

  /** Reports a state under the present order, unless `fields` say otherwise. */
  report(datasetId: string, state: Report['state'], fields: Partial<Report> = {}): void {
    this.send({ kind: 'report', reports: [this.reportOf(datasetId, state, fields)] });
  }

  reportOf(datasetId: string, state: Report['state'], fields: Partial<Report> = {}): Report {
    return { datasetId, order: this.order(datasetId)?.order ?? 0, busy: false, state, problem: null, ...fields };
  }

  mounted(datasetId: string, sizeBytes = 2 ** 30): void {
    this.report(datasetId, mountedState(datasetId, sizeBytes));
  }

  /** Waits for a condition on this agent. */
  until(condition: () => boolean, what = 'the condition'): Promise<void> {
    return vi.waitFor(
      () => {
        if (!condition())
          throw new Error(`node ${this.nodeId} waits for ${what}; got ${JSON.stringify(this.messages)}`);
      },
      { timeout: DEADLINE_MS, interval: 2 },
    );
  }

  closed(): Promise<void> {
    return this.until(() => this.#socket.readyState === WebSocket.CLOSED, 'the end of the connection');
  }

  /** Cuts the connection without a goodbye. */
  cut(): void {
    this.#socket.terminate();
  }

  /** Neither reads nor answers pings any more, as a frozen machine. */
  freeze(): void {
    this.#socket.pause();
  }

  #take(message: ControlMessage): void {
    this.messages.push(message);
    if (message.kind === 'snapshotOrders') {
      for (const order of message.orders) this.#snapshotOrders.set(order.snapshotId, order);
      for (const snapshotId of message.withdrawn) this.#snapshotOrders.delete(snapshotId);
    }
    if (message.kind !== 'orders') return;
    if (message.full) this.#orders.clear();
    for (const order of message.orders) this.#orders.set(order.datasetId, order);
    for (const datasetId of message.withdrawn) this.#orders.delete(datasetId);
  }
}

export function mountedState(datasetId: string, sizeBytes = 2 ** 30): Extract<Report['state'], { kind: 'mounted' }> {
  return { kind: 'mounted', sizeBytes, path: `/flocker/${datasetId}` };
}

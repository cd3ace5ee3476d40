import type { IncomingMessage } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { Compile } from 'typebox/compile';
import { type WebSocket, WebSocketServer } from 'ws';
import {
  AGENT_CHANNEL_PATH,
  AGENT_PROTOCOL,
  AgentMessage,
  type ControlMessage,
  LONGEST_MESSAGE_BYTES,
} from '../api/agent-channel.ts';
import { parseBoundedJson } from '../kit/bounded-json.ts';
import type { Clock } from '../kit/clock.ts';
import { errorText } from '../kit/coded-error.ts';
import { frameBytes } from '../kit/frame-text.ts';
import { type NodeId, parseNodeId } from '../kit/ids.ts';
import type { Logger } from '../kit/logger.ts';
import { AgentInbox } from './agent-inbox.ts';
import { AgentSession } from './agent-session.ts';
import type { ControlService } from './control-service.ts';
import type { Listener } from './rest/rest-server.ts';
import { admitOnly, limitConnections, mutualTls, peerName, type TlsMaterial } from './rest/tls-guard.ts';

const HELLO_TIMEOUT_MS = 10_000;
/** Both directions are pinged this often, and a silent peer is cut off after twice that (contract 3.4). */
const PING_MS = 30_000;
/** How long an agent that is already connected has to prove that it lives when another one comes with its certificate. */
const PROOF_OF_LIFE_MS = 2_000;
/** An agent has one connection, and for a moment those that it has just lost. Each may send a long message before its hello. */
const MOST_CONNECTIONS_OF_A_NODE = 8;
/** What waits for an agent that does not read, bytes: more is not sent. */
const MOST_UNSENT_BYTES = 2 * LONGEST_MESSAGE_BYTES;

const message = Compile(AgentMessage);

export interface AgentServerOptions {
  readonly service: ControlService;
  readonly tls: TlsMaterial;
  readonly host: string;
  /** 0 chooses a free port. */
  readonly port: number;
  /** Connections at once; unlimited unless given. */
  readonly mostConnections?: number;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Takes the connections of node agents. The node is the one in the certificate, whatever a message says. */
export async function serveAgents(options: AgentServerOptions): Promise<Listener> {
  const { logger } = options;
  const server = createServer(mutualTls(options.tls), (_request, response) => {
    response.writeHead(426, { 'content-type': 'application/json' });
    response.end(JSON.stringify({ description: 'This port is for node agents. The REST API is on another one.' }));
  });
  admitOnly(server, 'node-', logger);
  if (options.mostConnections !== undefined) limitConnections(server, options.mostConnections, logger);
  const sockets = new WebSocketServer({ noServer: true, maxPayload: LONGEST_MESSAGE_BYTES, perMessageDeflate: false });
  const connections = new Map<NodeId, AgentConnection>();
  const open = new Map<NodeId, number>();
  server.on('upgrade', (request: IncomingMessage, socket: Socket, head: Buffer) => {
    const nodeId = nodeInCertificate(socket as TLSSocket);
    if (request.url !== AGENT_CHANNEL_PATH || nodeId === undefined) {
      socket.end('HTTP/1.1 404 Not Found\r\nconnection: close\r\n\r\n');
      return;
    }
    const others = open.get(nodeId) ?? 0;
    if (others >= MOST_CONNECTIONS_OF_A_NODE) {
      logger.warn({ node: nodeId, connections: others }, 'agent refused: its node has too many connections');
      socket.end('HTTP/1.1 429 Too Many Requests\r\nconnection: close\r\n\r\n');
      return;
    }
    open.set(nodeId, others + 1);
    socket.once('close', () => {
      const left = (open.get(nodeId) ?? 1) - 1;
      if (left === 0) open.delete(nodeId);
      else open.set(nodeId, left);
    });
    sockets.handleUpgrade(request, socket, head, (webSocket) => {
      new AgentConnection(webSocket, nodeId, connections, options).start();
    });
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(options.port, options.host, resolve);
  });
  return {
    port: (server.address() as AddressInfo).port,
    close: async () => {
      const closed = new Promise<void>((resolve) => {
        server.close(() => resolve());
      });
      for (const webSocket of sockets.clients) webSocket.terminate();
      server.closeAllConnections();
      await closed;
    },
  };
}

class AgentConnection {
  readonly #socket: WebSocket;
  readonly #session: AgentSession;
  readonly #connections: Map<NodeId, AgentConnection>;
  readonly #service: ControlService;
  readonly #clock: Clock;
  readonly #logger: Logger;
  #cancelTimer: () => void = () => undefined;
  #joined = false;
  #heard = true;
  readonly #inbox: AgentInbox;

  constructor(
    socket: WebSocket,
    nodeId: NodeId,
    connections: Map<NodeId, AgentConnection>,
    { service, clock, logger }: AgentServerOptions,
  ) {
    this.#socket = socket;
    this.#connections = connections;
    this.#service = service;
    this.#clock = clock;
    this.#logger = logger.child({ node: nodeId });
    this.#session = new AgentSession(nodeId, (order) => this.#send(order));
    this.#inbox = new AgentInbox(
      socket,
      (bytes) => this.#take(bytes),
      (error) => this.#drop(errorText(error)),
    );
  }

  start(): void {
    this.#socket.on('message', (data) => {
      this.#noteLife();
      this.#inbox.push(frameBytes(data));
    });
    this.#socket.on('pong', () => this.#noteLife());
    this.#socket.on('ping', () => {
      this.#noteLife();
      this.#dropIfDeaf();
    });
    this.#socket.on('close', () => this.#closed());
    this.#socket.on('error', (error) => this.#logger.warn({ reason: error.message }, 'agent connection failed'));
    this.#cancelTimer = this.#clock.timer(HELLO_TIMEOUT_MS, () => this.#drop('no hello within 10 seconds'));
  }

  /** Whether the agent answers a ping in time. */
  proveLife(): Promise<boolean> {
    return new Promise((resolve) => {
      const cancel = this.#clock.timer(PROOF_OF_LIFE_MS, () => resolve(false));
      this.#socket.once('pong', () => {
        cancel();
        resolve(true);
      });
      this.#socket.ping();
    });
  }

  terminate(): void {
    this.#socket.terminate();
  }

  async #take(bytes: Buffer): Promise<void> {
    const parsed = parseBoundedJson(bytes);
    if (!message.Check(parsed)) {
      const [first] = message.Errors(parsed);
      throw new Error(`a message does not fit the protocol: ${first?.instancePath ?? ''} ${first?.message ?? ''}`);
    }
    if (parsed.kind === 'report') {
      if (!this.#joined) throw new Error('a report came before hello');
      await this.#service.report(this.#session, parsed.reports);
      return;
    }
    if (parsed.kind === 'storage') {
      if (!this.#joined) throw new Error('figures came before hello');
      this.#service.measured(this.#session, parsed);
      return;
    }
    if (parsed.kind === 'snapshotReport') {
      if (!this.#joined) throw new Error('a report on snapshots came before hello');
      await this.#service.reportSnapshots(this.#session, parsed.reports);
      return;
    }
    if (this.#joined) throw new Error('a second hello came');
    if (parsed.protocol !== AGENT_PROTOCOL) {
      this.#refuse(`This control service speaks agent protocol ${AGENT_PROTOCOL}, the agent ${parsed.protocol}.`);
      return;
    }
    if (!(await this.#replaceOther())) return;
    const death = this.#service.unacknowledgedDeath(this.#session.nodeId, parsed);
    if (death !== undefined) {
      const since = new Date(death.declaredAtMs).toISOString();
      this.#refuse(
        `This node was declared dead at ${since}. It has to let go of all volumes first.`,
        death.declaration,
      );
      return;
    }
    this.#joined = true;
    this.#keepAlive();
    await this.#service.join(this.#session, parsed);
  }

  /** Two machines with one certificate would fight over the node's volumes: the first that lives stays. */
  async #replaceOther(): Promise<boolean> {
    const { nodeId } = this.#session;
    // Looked up again after each wait: meanwhile a third one may have come and taken the place of the first.
    for (let other = this.#connections.get(nodeId); other !== undefined; other = this.#connections.get(nodeId)) {
      if (await other.proveLife()) {
        this.#refuse(
          'Another agent with the certificate of this node is connected. Give every node a certificate of its own.',
        );
        return false;
      }
      other.terminate();
      if (this.#connections.get(nodeId) === other) this.#connections.delete(nodeId);
    }
    if (this.#socket.readyState !== this.#socket.OPEN) return false;
    this.#connections.set(nodeId, this);
    return true;
  }

  #keepAlive(): void {
    this.#cancelTimer();
    this.#cancelTimer = this.#clock.timer(PING_MS, () => {
      if (!this.#heard) {
        this.#drop('silent for a minute');
        return;
      }
      this.#heard = false;
      this.#socket.ping();
      this.#keepAlive();
    });
  }

  #noteLife(): void {
    this.#heard = true;
    if (this.#joined) this.#service.heard(this.#session);
  }

  #send(order: ControlMessage): void {
    this.#socket.send(JSON.stringify(order));
    this.#dropIfDeaf();
  }

  /** What is sent, and the answers to its pings, would pile up here for an agent that does not read. */
  #dropIfDeaf(): void {
    if (this.#socket.bufferedAmount > MOST_UNSENT_BYTES) this.#drop('it does not read what it is sent');
  }

  #refuse(reason: string, declaration?: string): void {
    this.#logger.warn({ reason }, 'agent refused');
    this.#send({ kind: 'refused', reason, ...(declaration === undefined ? {} : { declaration }) });
    this.#socket.close(1008);
  }

  #drop(reason: string): void {
    this.#inbox.close();
    this.#logger.warn({ reason }, 'agent connection dropped');
    this.#socket.terminate();
  }

  #closed(): void {
    this.#cancelTimer();
    if (this.#connections.get(this.#session.nodeId) === this) this.#connections.delete(this.#session.nodeId);
    if (this.#joined) this.#service.leave(this.#session);
  }
}

function nodeInCertificate(socket: TLSSocket): NodeId | undefined {
  const name = peerName(socket);
  return name?.startsWith('node-') === true ? parseNodeId(name.slice('node-'.length)) : undefined;
}

import type { IncomingMessage } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { type WebSocket, WebSocketServer } from 'ws';
import { AGENT_CHANNEL_PATH, LONGEST_MESSAGE_BYTES } from '../api/agent-channel.ts';
import { frameBytes } from '../kit/frame-text.ts';
import { type NodeId, parseNodeId } from '../kit/ids.ts';
import {
  admitOnly,
  connectionBreaker,
  limitConnections,
  mutualTls,
  peerName,
  type TlsMaterial,
} from '../kit/tls-guard.ts';
import { AgentConnection, type AgentConnectionOptions, type AgentPeer } from './agent-connection.ts';
import type { Listener } from './rest/rest-server.ts';

/** Close code of a WebSocket that is not welcome (RFC 6455). */
const POLICY_VIOLATION = 1008;
/** An agent has one connection, and for a moment those that it has just lost. Each may send a long message before its hello. */
const MOST_CONNECTIONS_OF_A_NODE = 8;

export interface AgentServerOptions extends AgentConnectionOptions {
  readonly tls: TlsMaterial;
  readonly host: string;
  /** 0 chooses a free port. */
  readonly port: number;
  /** Connections at once; unlimited unless given. */
  readonly mostConnections?: number;
}

/** Takes the connections of node agents. The node is the one in the certificate, whatever a message says. */
export async function serveAgents(options: AgentServerOptions): Promise<Listener> {
  const { logger } = options;
  const server = createServer(mutualTls(options.tls), (_request, response) => {
    response.writeHead(426, { 'content-type': 'application/json' });
    response.end(JSON.stringify({ description: 'This port is for node agents. The REST API is on another one.' }));
  });
  admitOnly(server, 'node-', logger);
  const breakAll = connectionBreaker(server);
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
      attend(webSocket, nodeId, connections, options);
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
      breakAll();
      await closed;
    },
  };
}

function attend(
  socket: WebSocket,
  nodeId: NodeId,
  connections: Map<NodeId, AgentConnection>,
  options: AgentServerOptions,
): void {
  const peer: AgentPeer = {
    isOpen: () => socket.readyState === socket.OPEN,
    send: (text) => socket.send(text),
    ping: () => socket.ping(),
    close: () => socket.close(POLICY_VIOLATION),
    terminate: () => socket.terminate(),
    pause: () => socket.pause(),
    resume: () => socket.resume(),
    unsentBytes: () => socket.bufferedAmount,
  };
  const connection = new AgentConnection(peer, nodeId, connections, options);
  socket.on('message', (data) => connection.message(frameBytes(data)));
  socket.on('pong', () => connection.alive(true));
  socket.on('ping', () => connection.alive(false));
  socket.on('close', () => connection.closed());
  socket.on('error', (error) =>
    options.logger.warn({ node: nodeId, reason: error.message }, 'agent connection failed'),
  );
}

function nodeInCertificate(socket: TLSSocket): NodeId | undefined {
  const name = peerName(socket);
  return name?.startsWith('node-') === true ? parseNodeId(name.slice('node-'.length)) : undefined;
}

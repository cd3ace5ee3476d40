import { type ClientOptions, WebSocket } from 'ws';
import { AGENT_CHANNEL_PATH, LONGEST_MESSAGE_BYTES } from '../api/agent-channel.ts';
import { frameText } from '../kit/frame-text.ts';
import { hostInUrl } from '../kit/host-names.ts';
import type { Logger } from '../kit/logger.ts';

const CONNECT_TIMEOUT_MS = 10_000;

/** One connection to the control service. Messages arrive whole and in order, or the connection breaks. */
export interface ControlChannel {
  send(text: string): void;
  ping(): void;
  /** Breaks the connection; `closed` is told later. */
  terminate(): void;
}

/** What is told of a connection, never before the call that made it has returned. */
export interface ControlChannelEvents {
  /** `host` is this node's address towards the control service. */
  opened(host: string): void;
  message(text: string): void;
  /** The other side sent or answered a ping. */
  alive(): void;
  /** It is over, or never came about. */
  closed(): void;
}

/** Begins to connect. */
export type DialControl = (events: ControlChannelEvents) => ControlChannel;

/** Where the control service listens for agents, and who this node is. */
export interface ControlAddress {
  readonly hostname: string;
  readonly port: number;
  readonly tls: { readonly ca: string; readonly cert: string; readonly key: string };
  /** Source address, or undefined for the machine's choice. */
  readonly address: string | undefined;
  readonly logger: Logger;
}

/** Connects by WebSocket over mutual TLS. */
export function dialControl({ hostname, port, tls, address, logger }: ControlAddress): DialControl {
  const host = hostInUrl(hostname);
  // ws hands the options of TLS on; its types leave out the server name.
  const options: ClientOptions & { servername: string } = {
    ...tls,
    servername: 'control-service',
    ...(address === undefined ? {} : { localAddress: address }),
    handshakeTimeout: CONNECT_TIMEOUT_MS,
    maxPayload: LONGEST_MESSAGE_BYTES,
    perMessageDeflate: false,
  };
  return (events) => {
    const socket = new WebSocket(`wss://${host}:${port}${AGENT_CHANNEL_PATH}`, options);
    let localHost = '';
    socket.on('upgrade', (response) => {
      localHost = response.socket.localAddress ?? '';
    });
    socket.on('open', () => events.opened(localHost));
    socket.on('message', (data) => events.message(frameText(data)));
    socket.on('pong', () => events.alive());
    socket.on('ping', () => events.alive());
    socket.on('error', (error: Error) => {
      logger.warn({ control: `${hostname}:${port}`, reason: error.message }, 'no connection to the control service');
    });
    socket.on('close', () => events.closed());
    return socket;
  };
}

import { Compile } from 'typebox/compile';
import { AGENT_PROTOCOL, AgentMessage, type ControlMessage, LONGEST_MESSAGE_BYTES } from '../api/agent-channel.ts';
import { parseBoundedJson } from '../kit/bounded-json.ts';
import type { Clock } from '../kit/clock.ts';
import { errorText } from '../kit/coded-error.ts';
import type { NodeId } from '../kit/ids.ts';
import type { Logger } from '../kit/logger.ts';
import { AgentInbox } from './agent-inbox.ts';
import { AgentSession } from './agent-session.ts';
import type { ControlService } from './control-service.ts';

const HELLO_TIMEOUT_MS = 10_000;
/** Both directions are pinged this often, and a silent peer is cut off after twice that (contract 3.4). */
const PING_MS = 30_000;
/** How long an agent that is already connected has to prove that it lives when another one comes with its certificate. */
const PROOF_OF_LIFE_MS = 2_000;
/** What waits for an agent that does not read, bytes: more is not sent. */
const MOST_UNSENT_BYTES = 2 * LONGEST_MESSAGE_BYTES;

const message = Compile(AgentMessage);

/** The other end of an agent's connection. Messages arrive whole and in order, or it breaks. */
export interface AgentPeer {
  isOpen(): boolean;
  send(text: string): void;
  ping(): void;
  /** Ends it once everything was sent. */
  close(): void;
  terminate(): void;
  /** Stops and goes on reading what it sends. */
  pause(): void;
  resume(): void;
  /** What was sent and is not on its way yet. */
  unsentBytes(): number;
}

export interface AgentConnectionOptions {
  readonly service: ControlService;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** One agent's connection, whose node is known from its certificate. `connections` has those that have said hello. */
export class AgentConnection {
  readonly #peer: AgentPeer;
  readonly #session: AgentSession;
  readonly #connections: Map<NodeId, AgentConnection>;
  readonly #service: ControlService;
  readonly #clock: Clock;
  readonly #logger: Logger;
  #cancelTimer: () => void = () => undefined;
  #joined = false;
  #heard = true;
  /** Who waits for the answer to a ping. */
  readonly #proofs: (() => void)[] = [];
  readonly #inbox: AgentInbox;

  constructor(
    peer: AgentPeer,
    nodeId: NodeId,
    connections: Map<NodeId, AgentConnection>,
    { service, clock, logger }: AgentConnectionOptions,
  ) {
    this.#peer = peer;
    this.#connections = connections;
    this.#service = service;
    this.#clock = clock;
    this.#logger = logger.child({ node: nodeId });
    this.#session = new AgentSession(nodeId, (order) => this.#send(order));
    this.#inbox = new AgentInbox(
      peer,
      (bytes) => this.#take(bytes),
      (error) => this.#drop(errorText(error)),
    );
    this.#cancelTimer = clock.timer(HELLO_TIMEOUT_MS, () => this.#drop('no hello within 10 seconds'));
  }

  /** A message came. */
  message(bytes: Buffer): void {
    this.#noteLife();
    this.#inbox.push(bytes);
  }

  /** The agent pinged, or answered a ping. */
  alive(answers: boolean): void {
    this.#noteLife();
    if (answers) for (const proved of this.#proofs.splice(0)) proved();
    else this.#dropIfDeaf();
  }

  /** The connection is over. */
  closed(): void {
    this.#cancelTimer();
    if (this.#connections.get(this.#session.nodeId) === this) this.#connections.delete(this.#session.nodeId);
    if (this.#joined) this.#service.leave(this.#session);
  }

  /** Whether the agent answers a ping in time. */
  proveLife(): Promise<boolean> {
    return new Promise((resolve) => {
      const cancel = this.#clock.timer(PROOF_OF_LIFE_MS, () => resolve(false));
      this.#proofs.push(() => {
        cancel();
        resolve(true);
      });
      this.#peer.ping();
    });
  }

  terminate(): void {
    this.#peer.terminate();
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
    if (parsed.kind === 'copyReport') {
      if (!this.#joined) throw new Error('a report on copies came before hello');
      await this.#service.reportCopies(this.#session, parsed.reports);
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
    if (!this.#peer.isOpen()) return false;
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
      this.#peer.ping();
      this.#keepAlive();
    });
  }

  #noteLife(): void {
    this.#heard = true;
    if (this.#joined) this.#service.heard(this.#session);
  }

  #send(order: ControlMessage): void {
    this.#peer.send(JSON.stringify(order));
    this.#dropIfDeaf();
  }

  /** What is sent, and the answers to its pings, would pile up here for an agent that does not read. */
  #dropIfDeaf(): void {
    if (this.#peer.unsentBytes() > MOST_UNSENT_BYTES) this.#drop('it does not read what it is sent');
  }

  #refuse(reason: string, declaration?: string): void {
    this.#logger.warn({ reason }, 'agent refused');
    this.#send({ kind: 'refused', reason, ...(declaration === undefined ? {} : { declaration }) });
    this.#peer.close();
  }

  #drop(reason: string): void {
    this.#inbox.close();
    this.#logger.warn({ reason }, 'agent connection dropped');
    this.#peer.terminate();
  }
}

import { Compile } from 'typebox/compile';
import {
  AGENT_PROTOCOL,
  type AgentMessage,
  ControlMessage,
  type Report,
  type SnapshotReport,
  type StorageReport,
} from '../api/agent-channel.ts';
import type { CopyReport } from '../api/copy-channel.ts';
import { type BackoffPolicy, backoffMs } from '../kit/backoff.ts';
import type { Clock } from '../kit/clock.ts';
import { errorText } from '../kit/coded-error.ts';
import type { Logger } from '../kit/logger.ts';
import type { ControlChannel, DialControl } from './control-channel.ts';
import type { Convergence } from './convergence.ts';
import type { CopyConvergence } from './copies/copy-convergence.ts';
import type { SnapshotConvergence } from './snapshot-convergence.ts';
import type { StorageWatch } from './storage-watch.ts';

const RECONNECT: BackoffPolicy = { firstMs: 200, factor: 2, longestMs: 10_000 };
/** Both directions are pinged this often, and a silent peer is given up after twice that (contract 3.4). */
const PING_MS = 30_000;
/** The same where another control service may have taken over from one that is halted or cut off. */
const PING_ONE_OF_MANY_MS = 2_000;
const FIRST_ORDERS_TIMEOUT_MS = 5_000;

const message = Compile(ControlMessage);

/** What the agent says of itself. */
interface AgentIdentity {
  readonly era: string;
  readonly version: string;
  readonly backend: string;
  readonly pool: string;
  readonly profiles: readonly string[];
  /** Whether the storage cuts a node off before its volumes go to another. */
  readonly fences?: boolean;
}

export interface ControlLinkOptions {
  /** To each control service of the cluster, of which one at a time takes agents. */
  readonly dials: readonly DialControl[];
  readonly identity: AgentIdentity;
  readonly convergence: Convergence;
  /** Told of connections, so that each gets the figures of the storage. */
  readonly storage?: Pick<StorageWatch, 'connected' | 'disconnected'>;
  readonly snapshots: SnapshotConvergence;
  /** Absent where volumes cannot be copied into other pools. */
  readonly copies?: { readonly convergence: CopyConvergence; readonly port: number };
  /** Gives up everything this node has: it was declared dead. Without it such a node stays out. */
  readonly relinquish?: () => Promise<void>;
  readonly clock: Clock;
  readonly random: () => number;
  readonly logger: Logger;
}

/** Keeps one connection to the control service: orders come in, reports go out. Mounts stay when it breaks. */
export class ControlLink {
  readonly #options: ControlLinkOptions;
  #channel: ControlChannel | undefined;
  #cancelTimer: () => void = () => undefined;
  /** Rounds over all hosts since the last connection. */
  #attempt = 0;
  /** Of the host that is tried. */
  #turn = 0;
  #heard = true;
  #hasOrders = false;
  #closed = false;
  #host = '';
  /** A declaration of this node as dead that it has to acknowledge, and whether it may. */
  #declaration: string | undefined;
  #mayAcknowledge = false;
  #outgoing: Report[] = [];
  #onFirstOrders: () => void = () => undefined;

  constructor(options: ControlLinkOptions) {
    this.#options = options;
  }

  /** Resolves at the first orders, or after a while without: an agent works without a connection too. */
  firstOrders(): Promise<void> {
    return new Promise((resolve) => {
      const cancel = this.#options.clock.timer(FIRST_ORDERS_TIMEOUT_MS, resolve);
      this.#onFirstOrders = () => {
        cancel();
        resolve();
      };
      if (this.#hasOrders) this.#onFirstOrders();
    });
  }

  /** Whether the control service has given its orders on the present connection. */
  get connected(): boolean {
    return this.#hasOrders;
  }

  /** This node's address towards the control service; empty before the first connection. */
  get host(): string {
    return this.#host;
  }

  start(): void {
    const dial = this.#options.dials[this.#turn];
    if (dial === undefined) throw new Error('there is no control service to connect to');
    this.#channel = dial({
      opened: (host) => {
        this.#host = host;
        this.#opened();
      },
      message: (text) => this.#take(text),
      alive: () => {
        this.#heard = true;
      },
      closed: () => this.#lost(),
    });
  }

  /** Sends a report; without a connection it is dropped, as the next hello says it all. */
  report(report: Report): void {
    if (!this.#hasOrders) return;
    // Reports of one turn of the event loop share a message.
    if (this.#outgoing.push(report) > 1) return;
    queueMicrotask(() => {
      const reports = this.#outgoing;
      this.#outgoing = [];
      if (this.#hasOrders) this.#send({ kind: 'report', reports });
    });
  }

  /** Sends figures of the storage; without a connection they are dropped. */
  tellStorage(report: StorageReport): void {
    if (this.#hasOrders) this.#send(report);
  }

  /** The same of a snapshot. */
  reportSnapshot(report: SnapshotReport): void {
    if (this.#hasOrders) this.#send({ kind: 'snapshotReport', reports: [report] });
  }

  /** The same of copies. */
  reportCopy(report: CopyReport): void {
    if (this.#hasOrders) this.#send({ kind: 'copyReport', reports: [report] });
  }

  close(): void {
    this.#closed = true;
    this.#cancelTimer();
    this.#channel?.terminate();
  }

  #opened(): void {
    const { identity, convergence } = this.#options;
    const { era, version, backend, pool, profiles, fences = false } = identity;
    this.#heard = true;
    this.#keepAlive();
    this.#send({
      kind: 'hello',
      protocol: AGENT_PROTOCOL,
      era,
      host: this.#host,
      version,
      backend,
      pool,
      profiles: [...profiles],
      has: convergence.has(),
      ...(fences ? { fences } : {}),
      ...(this.#options.copies === undefined ? {} : { copies: { port: this.#options.copies.port } }),
      ...(this.#mayAcknowledge && this.#declaration !== undefined ? { acknowledges: this.#declaration } : {}),
    });
  }

  #take(text: string): void {
    this.#heard = true;
    const { convergence, snapshots, logger } = this.#options;
    let parsed: unknown;
    try {
      parsed = JSON.parse(text);
    } catch (error) {
      parsed = errorText(error);
    }
    if (!message.Check(parsed)) {
      logger.error({}, 'the control service sent a message that this agent does not understand');
      this.#channel?.terminate();
      return;
    }
    if (parsed.kind === 'refused') {
      logger.error({ reason: parsed.reason }, 'the control service refused this agent');
      this.#declaration = parsed.declaration;
      this.#mayAcknowledge = false;
      return;
    }
    if (parsed.kind === 'snapshotOrders') {
      snapshots.takeOrders(parsed.orders, parsed.withdrawn);
      return;
    }
    if (parsed.kind === 'copyOrders') {
      this.#options.copies?.convergence.takeOrders(parsed.orders, parsed.withdrawn, parsed.full);
      return;
    }
    if (parsed.full) {
      this.#attempt = 0;
      this.#hasOrders = true;
      this.#declaration = undefined;
      logger.info({ orders: parsed.orders.length }, 'connected to the control service');
      convergence.replaceOrders(parsed.orders);
      this.#options.storage?.connected();
      this.#onFirstOrders();
    } else convergence.takeOrders(parsed.orders, parsed.withdrawn);
  }

  #lost(): void {
    this.#hasOrders = false;
    this.#outgoing = [];
    this.#options.convergence.forgetOrders();
    this.#options.storage?.disconnected();
    this.#options.snapshots.forgetOrders();
    this.#options.copies?.convergence.forgetOrders();
    this.#cancelTimer();
    if (!this.#closed) void this.#comeBack();
  }

  /** Connects again: after a while, or at once when that was only for giving everything up. */
  async #comeBack(): Promise<void> {
    const { relinquish, logger } = this.#options;
    if (this.#declaration !== undefined && !this.#mayAcknowledge && relinquish !== undefined) {
      try {
        await relinquish();
        this.#mayAcknowledge = true;
        logger.warn({}, 'this node was declared dead: it has given up all its volumes');
        if (!this.#closed) this.start();
        return;
      } catch (error) {
        logger.error({ reason: errorText(error) }, 'this node was declared dead and cannot give up its volumes');
      }
    }
    if (this.#closed) return;
    this.#turn = (this.#turn + 1) % this.#options.dials.length;
    if (this.#turn !== 0) {
      this.start();
      return;
    }
    const delayMs = backoffMs(RECONNECT, this.#attempt, this.#options.random);
    this.#attempt += 1;
    this.#cancelTimer = this.#options.clock.timer(delayMs, () => this.start());
  }

  #keepAlive(): void {
    this.#cancelTimer();
    const pingMs = this.#options.dials.length > 1 ? PING_ONE_OF_MANY_MS : PING_MS;
    this.#cancelTimer = this.#options.clock.timer(pingMs, () => {
      if (!this.#heard) {
        this.#channel?.terminate();
        return;
      }
      this.#heard = false;
      this.#channel?.ping();
      this.#keepAlive();
    });
  }

  #send(outgoing: AgentMessage): void {
    this.#channel?.send(JSON.stringify(outgoing));
  }
}

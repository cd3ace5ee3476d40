import { AgentConnection } from '../../src/control/agent-connection.ts';
import { ControlService } from '../../src/control/control-service.ts';
import type { NodeId } from '../../src/kit/ids.ts';
import { silentLogger } from '../../src/kit/logger.ts';
import type { Random } from '../faults/random.ts';
import { ProcessClock, type SimClock } from './sim-clock.ts';
import type { End } from './sim-network.ts';
import { SimDisk, SimStore } from './sim-store.ts';

/** The real control service and the real connections of its agents, on a simulated disk, clock and network. */
export class SimControl {
  readonly disk = new SimDisk();
  readonly #clock: SimClock;
  readonly #random: Random;
  readonly #newUuid: () => string;
  readonly #diskLies: boolean;
  #process: ProcessClock | undefined;
  #service: ControlService | undefined;
  #connections = new Map<NodeId, AgentConnection>();
  readonly #ends = new Set<End>();
  readonly #mourners = new Set<() => void>();

  constructor(clock: SimClock, random: Random, newUuid: () => string, diskLies: boolean) {
    this.#clock = clock;
    this.#random = random;
    this.#newUuid = newUuid;
    this.#diskLies = diskLies;
  }

  /** Undefined while it is down. */
  get service(): ControlService | undefined {
    return this.#service;
  }

  start(): void {
    if (this.#service !== undefined) return;
    const process = new ProcessClock(this.#clock);
    const store = new SimStore(this.disk, process, this.#random, this.#diskLies);
    this.#process = process;
    this.#connections = new Map();
    this.#service = new ControlService({
      ...{ store, entries: store.entries(), clock: process, newUuid: this.#newUuid, logger: silentLogger },
      onFatal: (error) => {
        throw error;
      },
    });
  }

  /** kill -9, or its machine goes off and comes back later: then nobody is told. */
  die(how: 'killed' | 'off'): void {
    this.#process?.kill();
    this.#process = undefined;
    this.#service = undefined;
    this.disk.crash(this.#random);
    for (const end of this.#ends) {
      if (how === 'killed') end.processDied();
      else end.machineDied();
    }
    this.#ends.clear();
    if (how === 'killed') for (const mourner of this.#mourners) mourner();
    this.#mourners.clear();
  }

  /** Its wall clock is set. */
  jumpWall(byMs: number): void {
    this.#process?.jumpWall(byMs);
  }

  /** Calls `then` when the process is killed, but not when its machine goes off. The returned function forgets it. */
  onDeath(then: () => void): () => void {
    this.#mourners.add(then);
    return () => this.#mourners.delete(then);
  }

  /** Takes an agent's connection, unless nobody listens. */
  accept(node: NodeId, end: End): boolean {
    const [service, clock] = [this.#service, this.#process];
    if (service === undefined || clock === undefined) return false;
    const peer = {
      isOpen: () => end.open,
      send: (text: string) => end.send(text),
      ping: () => end.ping(),
      close: () => end.terminate(),
      terminate: () => end.terminate(),
      // Messages of a simulated network are small, and are read at once.
      pause: () => undefined,
      resume: () => undefined,
      unsentBytes: () => 0,
    };
    const connection = new AgentConnection(peer, node, this.#connections, { service, clock, logger: silentLogger });
    this.#ends.add(end);
    end.events = {
      message: (text) => connection.message(Buffer.from(text)),
      alive: (answers) => connection.alive(answers),
      closed: () => {
        this.#ends.delete(end);
        connection.closed();
      },
    };
    return true;
  }
}

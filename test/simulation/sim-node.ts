import type { ControlChannelEvents } from '../../src/agent/control-channel.ts';
import { ControlLink } from '../../src/agent/control-link.ts';
import { Convergence } from '../../src/agent/convergence.ts';
import { relinquish } from '../../src/agent/relinquish.ts';
import { SnapshotConvergence } from '../../src/agent/snapshot-convergence.ts';
import type { FlockerClient } from '../../src/client/flocker-client.ts';
import type { DatasetId, NodeId } from '../../src/kit/ids.ts';
import { silentLogger } from '../../src/kit/logger.ts';
import { openVolumes, type Volumes } from '../../src/volumes/volumes.ts';
import type { Random } from '../faults/random.ts';
import { SimBackend, type SimBackendWorld } from './sim-backend.ts';
import { simClient } from './sim-client.ts';
import { ProcessClock, type SimClock } from './sim-clock.ts';
import type { SimControl } from './sim-control.ts';
import { simLedger } from './sim-journal.ts';
import type { End, Link } from './sim-network.ts';
import { SimDisk } from './sim-store.ts';
import type { SimTasks } from './sim-tasks.ts';

/** What a node stands on. */
export interface SimNodeWorld extends Omit<SimBackendWorld, 'process'> {
  readonly control: SimControl;
  readonly tasks: SimTasks;
  /** Told of a deletion before volumes ask for it. */
  readonly deleting: (id: DatasetId) => void;
  readonly clock: SimClock;
  readonly link: Link;
  readonly newUuid: () => string;
}

/** A machine with the real node agent on it: planner, executor and its link to the control service. */
export class SimNode {
  readonly id: NodeId;
  readonly pool: string;
  readonly random: Random;
  readonly tasks: SimTasks;
  readonly #world: SimNodeWorld;
  #process: ProcessClock | undefined;
  #backend: SimBackend | undefined;
  #ends: End[] = [];
  #era: string;
  readonly #disk = new SimDisk();
  /** Undefined while the agent does not run. */
  volumes: Volumes | undefined;
  isOn = true;

  constructor(world: SimNodeWorld) {
    this.id = world.node;
    this.pool = world.pool;
    this.random = world.random;
    this.tasks = world.tasks;
    this.#world = world;
    this.#era = world.newUuid();
  }

  /** Starts the agent, if it is not running and the machine is on. */
  start(): void {
    if (this.#process !== undefined) return;
    if (!this.isOn) {
      this.isOn = true;
      this.#era = this.#world.newUuid();
    }
    const process = new ProcessClock(this.#world.clock);
    this.#process = process;
    const { random } = this.#world;
    const backend = new SimBackend({ ...this.#world, process });
    this.#backend = backend;
    const ledger = simLedger(this.#disk, process, random);
    const usedBy = (id: DatasetId): string | undefined => volumes.heldHere(id)?.[0]?.detail;
    const surroundings = { backend, clock: process, random: () => random.next(), logger: silentLogger };
    const convergence: Convergence = new Convergence({
      ...{ ...surroundings, usedBy },
      report: (report) => {
        link.report(report);
        snapshots.noteReport(report);
      },
    });
    const snapshots: SnapshotConvergence = new SnapshotConvergence({
      ...{ ...surroundings, between: (id, work) => convergence.between(id, work) },
      report: (report) => link.reportSnapshot(report),
    });
    const link: ControlLink = new ControlLink({
      dials: [(events) => this.#dial(process, events)],
      identity: { era: this.#era, version: 'simulated', backend: backend.kind, pool: this.pool, profiles: [] },
      ...{ ...surroundings, convergence, snapshots },
      relinquish: () => relinquish({ backend, convergence, usedBy, clock: process }),
    });
    const { control, link: way, deleting } = this.#world;
    const client = simClient({ control, link: way, process, deleting });
    const volumes: Volumes = openVolumes({
      // Volumes make no other requests.
      client: client as FlockerClient,
      ...{ nodeId: () => this.id, ledger, newUuid: this.#world.newUuid, ...surroundings },
      confirmMounted: async (id) => (await convergence.settled(id))?.kind === 'mounted',
    });
    void convergence.start().then(() => {
      link.start();
      this.volumes = volumes;
      void volumes.recover('task/', ({ holderId }) => Promise.resolve(this.tasks.running.has(holderId)));
    });
  }

  /** kill -9 of the agent: its mounts stay. */
  kill(): void {
    this.#process?.kill();
    this.#process = undefined;
    this.volumes = undefined;
    this.#disk.crash(this.random);
    this.#backend?.processDied();
    this.#backend = undefined;
    for (const end of this.#ends) end.processDied();
    this.#ends = [];
  }

  /** Its wall clock is set. */
  jumpWall(byMs: number): void {
    this.#process?.jumpWall(byMs);
  }

  /** Its connections break. */
  reset(): void {
    for (const end of this.#ends) end.terminate();
  }

  /** The machine goes off, without a word to anybody. */
  powerOff(): void {
    for (const end of this.#ends) end.machineDied();
    this.kill();
    this.isOn = false;
    this.tasks.powerOff();
    this.#world.engine.powerOff(this.id);
  }

  #dial(
    process: ProcessClock,
    events: ControlChannelEvents,
  ): { send(text: string): void; ping(): void; terminate(): void } {
    let end: End | undefined;
    let isGivenUp = false;
    this.#world.link.dial(
      (there) => this.#world.control.accept(this.id, there),
      (connected) => {
        if (connected === undefined || isGivenUp || !process.alive) {
          connected?.processDied();
          if (process.alive) events.closed();
          return;
        }
        end = connected;
        this.#ends.push(connected);
        connected.events = {
          message: (text) => events.message(text),
          alive: () => events.alive(),
          closed: () => {
            this.#ends = this.#ends.filter((other) => other !== connected);
            events.closed();
          },
        };
        events.opened(this.id);
      },
    );
    return {
      send: (text) => end?.send(text),
      ping: () => end?.ping(),
      terminate: () => {
        isGivenUp = true;
        end?.terminate();
      },
    };
  }
}

import type { DatasetId, NodeId, SnapshotId } from '../../src/kit/ids.ts';
import { Random } from '../faults/random.ts';
import { SimClock } from './sim-clock.ts';
import { SimControl } from './sim-control.ts';
import { SimEngine, type Violation } from './sim-engine.ts';
import { nodeId, uuid } from './sim-ids.ts';
import { Link } from './sim-network.ts';
import { SimNode } from './sim-node.ts';
import { SimTasks, type Written } from './sim-tasks.ts';
import { Trace } from './trace.ts';

/** Three nodes that share a pool, and one with a pool of its own. */
const POOLS = ['shared', 'shared', 'shared', 'own'];
const USUAL_FAILURE_RATE = 0.01;

/** How a cluster is simulated beside what follows from its seed. */
export interface SimOptions {
  /** Whether the trace keeps all lines, and not only the last. */
  readonly keepsAll?: boolean;
  /** Whether the control service's disk says that it has what it has not: then rules get broken. */
  readonly diskLies?: boolean;
}

/** A control service and nodes in one process and thread, in which everything follows from a seed. */
export class SimCluster {
  readonly clock = new SimClock();
  readonly trace: Trace;
  readonly control: SimControl;
  readonly engine: SimEngine;
  readonly nodes: readonly SimNode[];
  readonly links: readonly Link[];
  readonly datasetIds: DatasetId[] = [];
  readonly snapshotIds: SnapshotId[] = [];
  /** Deletions that users asked for, answered or not. */
  readonly deletions = new Set<string>();
  /** What was answered with 2xx. */
  readonly acknowledged = { made: new Set<string>(), deleted: new Set<string>() };
  readonly failing = new Map<NodeId, number>();
  /** Datasets that users made, so far. */
  made = 0;
  readonly written: Written = new Map();
  readonly violations: Violation[] = [];
  /** How often what happened. */
  readonly counts = new Map<string, number>();

  constructor(seed: number, { keepsAll = false, diskLies = false }: SimOptions) {
    // Each has numbers of its own, so that what happens to one changes little elsewhere.
    const random = (part: number): Random => new Random(Math.imul(seed, 31) + part * 7919);
    this.trace = new Trace(() => this.clock.nowMs, keepsAll);
    this.engine = new SimEngine(random(1).next() < 0.5, { deletions: this.deletions });
    let uuids = 0;
    const newUuid = (): string => uuid('b', (uuids += 1));
    const note = (text: string): void => this.trace.note(text);
    this.control = new SimControl(this.clock, random(2), newUuid, diskLies);
    this.links = POOLS.map((_, i) => new Link(this.clock, random(10 + i), (text) => note(`${i} ${text}`)));
    this.nodes = POOLS.map((pool, i) => {
      const id = nodeId(i);
      const link = this.links[i];
      if (link === undefined) throw new Error('no link');
      const tasks = new SimTasks(this.clock, this.engine, id, {
        count: (what) => this.count(what),
        began: (dataset) => {
          if (!this.datasetIds.includes(dataset)) this.datasetIds.push(dataset);
        },
        written: this.written,
      });
      return new SimNode({
        ...{ engine: this.engine, node: id, pool, random: random(20 + i), clock: this.clock, link, newUuid },
        ...{ control: this.control, tasks },
        deleting: (dataset) => this.deletions.add(dataset),
        isOff: (other) => this.nodes.find((node) => node.id === other)?.isOn === false,
        failureRate: () => this.failing.get(id) ?? USUAL_FAILURE_RATE,
        violated: (violation) => this.violations.push(violation),
        note: (text) => {
          note(`${i}:`);
          this.count(text);
        },
      });
    });
    this.control.start();
    for (const node of this.nodes) node.start();
  }

  /** Notes something that is counted too. */
  count(what: string): void {
    this.trace.note(what);
    this.counts.set(what, (this.counts.get(what) ?? 0) + 1);
  }

  /** Mends everything that was broken. */
  heal(): void {
    this.failing.clear();
    for (const link of this.links) link.heal();
    this.control.start();
    for (const node of this.nodes) {
      node.start();
    }
  }
}

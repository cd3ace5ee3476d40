import type { Hello, Report } from '../api/agent-channel.ts';
import type { CopyReport } from '../api/copy-channel.ts';
import { type DatasetId, type NodeId, parseAnyUuid, type SnapshotId } from '../kit/ids.ts';
import type { PoolReport, VolumeUsage } from '../model/storage-state.ts';
import type { Problem, VolumeState } from '../model/volume-state.ts';

/** What a node last said of one dataset. */
export interface Sighting {
  readonly state: VolumeState;
  /** The state when the node was last at rest: what a busy node reports is on its way to something else. */
  readonly restingState: VolumeState;
  readonly busy: boolean;
  readonly problem: Problem | null;
  /** As last measured while it was mounted there. */
  readonly usage: VolumeUsage | undefined;
}

/** What a node last said of its pool. */
export interface PoolMeasure {
  readonly report: PoolReport;
  /** Wall clock, milliseconds since the epoch. */
  readonly measuredAtMs: number;
  /** Larger than that of every measure before it, of whatever node. */
  readonly sequence: number;
}

/** A node that reports, or did so recently. */
export interface LiveNode {
  readonly id: NodeId;
  readonly host: string;
  readonly era: string;
  readonly version: string;
  readonly backend: string;
  readonly pool: string;
  readonly profiles: readonly string[];
  readonly connected: boolean;
  /** Whether its pool cuts a node off before its volumes go to another. */
  readonly fences: boolean;
  /** Where other nodes fetch copies of its volumes; null when it has no part in that. */
  readonly copyPort: number | null;
  /** Wall clock of its last message, milliseconds since the epoch. */
  readonly lastHeardMs: number;
}

/** A node that says hello. */
export function nodeOf(id: NodeId, hello: Hello, lastHeardMs: number): LiveNode {
  const { host, version, backend, pool, profiles } = hello;
  const era = parseAnyUuid(hello.era) ?? hello.era;
  const [copyPort, fences] = [hello.copies?.port ?? null, hello.fences ?? false];
  return { id, host, era, version, backend, pool, profiles, connected: true, fences, copyPort, lastHeardMs };
}

/** The reported state of the cluster as decisions read it. */
export interface ClusterView {
  node(id: NodeId): LiveNode | undefined;
  nodes(): Iterable<LiveNode>;
  /** Nodes that were heard since the start, but so long ago that what they reported was dropped. */
  silent(): Iterable<LiveNode>;
  /** Whether a node was heard since the start. */
  wasHeard(id: NodeId): boolean;
  sighting(node: NodeId, dataset: DatasetId): Sighting | undefined;
  /** Nodes that have a dataset attached or mounted. More than one, or one that does not hold it, is a conflict. */
  havers(dataset: DatasetId): ReadonlySet<NodeId>;
  /** Every dataset that some node has, known to the records or not. */
  had(): Iterable<readonly [DatasetId, ReadonlySet<NodeId>]>;
  nodeOfEra(era: string): NodeId | undefined;
  poolMeasure(node: NodeId): PoolMeasure | undefined;
  /** What keeps a snapshot from being taken or destroyed, by the node that was told to. */
  snapshotProblem(snapshot: SnapshotId): (Problem & { readonly node: NodeId }) | undefined;
  /** What the node that copies a dataset, or clears what remains of it, last said about that. */
  copySighting(node: NodeId, dataset: DatasetId): CopyReport | undefined;
}

const NOBODY: ReadonlySet<NodeId> = new Set();

/** What nodes reported. In memory only: after a restart of the control service they report again (contract 1.5). */
export class Cluster implements ClusterView {
  readonly #nodes = new Map<NodeId, LiveNode>();
  readonly #silent = new Map<NodeId, LiveNode>();
  readonly #sightings = new Map<NodeId, Map<DatasetId, Sighting>>();
  readonly #havers = new Map<DatasetId, Set<NodeId>>();
  readonly #eras = new Map<string, NodeId>();
  readonly #pools = new Map<NodeId, PoolMeasure>();
  #measures = 0;
  readonly #copies = new Map<NodeId, Map<DatasetId, CopyReport>>();
  readonly #snapshotProblems = new Map<SnapshotId, Problem & { readonly node: NodeId }>();

  node(id: NodeId): LiveNode | undefined {
    return this.#nodes.get(id);
  }

  nodes(): Iterable<LiveNode> {
    return this.#nodes.values();
  }

  silent(): Iterable<LiveNode> {
    return this.#silent.values();
  }

  wasHeard(id: NodeId): boolean {
    return this.#nodes.has(id) || this.#silent.has(id);
  }

  sighting(node: NodeId, dataset: DatasetId): Sighting | undefined {
    return this.#sightings.get(node)?.get(dataset);
  }

  havers(dataset: DatasetId): ReadonlySet<NodeId> {
    return this.#havers.get(dataset) ?? NOBODY;
  }

  had(): Iterable<readonly [DatasetId, ReadonlySet<NodeId>]> {
    return this.#havers;
  }

  nodeOfEra(era: string): NodeId | undefined {
    return this.#eras.get(era);
  }

  poolMeasure(node: NodeId): PoolMeasure | undefined {
    return this.#pools.get(node);
  }

  snapshotProblem(snapshot: SnapshotId): (Problem & { readonly node: NodeId }) | undefined {
    return this.#snapshotProblems.get(snapshot);
  }

  seeSnapshot(node: NodeId, snapshot: SnapshotId, problem: Problem | null): void {
    if (problem === null) this.#snapshotProblems.delete(snapshot);
    else this.#snapshotProblems.set(snapshot, { ...problem, node });
  }

  copySighting(node: NodeId, dataset: DatasetId): CopyReport | undefined {
    return this.#copies.get(node)?.get(dataset);
  }

  seeCopy(node: NodeId, dataset: DatasetId, report: CopyReport): void {
    const seen = this.#copies.get(node) ?? new Map<DatasetId, CopyReport>();
    if (report.state.kind === 'absent' && report.problem === null && !report.busy) seen.delete(dataset);
    else seen.set(dataset, report);
    this.#copies.set(node, seen);
  }

  /** A node that says hello: what it reported before is forgotten, as is the era it had. */
  join(node: LiveNode): void {
    this.forgetSightings(node.id);
    const before = this.#nodes.get(node.id);
    if (before !== undefined && this.#eras.get(before.era) === node.id) this.#eras.delete(before.era);
    this.#nodes.set(node.id, node);
    this.#silent.delete(node.id);
    this.#eras.set(node.era, node.id);
    if (before?.pool !== node.pool) this.#pools.delete(node.id);
  }

  /** How many datasets a node has something to say about. */
  sightings(node: NodeId): number {
    return this.#sightings.get(node)?.size ?? 0;
  }

  /** A node measured its pool. */
  measurePool(node: NodeId, report: PoolReport, measuredAtMs: number): void {
    this.#measures += 1;
    this.#pools.set(node, { report, measuredAtMs, sequence: this.#measures });
  }

  /** A node measured a volume; told of one that it has not mounted, it is as if it had said nothing. */
  measureVolume(node: NodeId, dataset: DatasetId, usage: VolumeUsage): void {
    const sighting = this.#sightings.get(node)?.get(dataset);
    if (sighting?.state.kind === 'mounted') this.#sightings.get(node)?.set(dataset, { ...sighting, usage });
  }

  heard(id: NodeId, lastHeardMs: number): void {
    const node = this.#nodes.get(id);
    if (node !== undefined) this.#nodes.set(id, { ...node, lastHeardMs });
  }

  disconnected(id: NodeId): void {
    const node = this.#nodes.get(id);
    if (node !== undefined) this.#nodes.set(id, { ...node, connected: false });
  }

  /** Drops a node's facts; its era stays known (contract 1.5). Returns the datasets it had something to say about. */
  expire(id: NodeId): DatasetId[] {
    const touched = [...(this.#sightings.get(id)?.keys() ?? [])];
    this.forgetSightings(id);
    const node = this.#nodes.get(id);
    if (node !== undefined) this.#silent.set(id, node);
    this.#nodes.delete(id);
    this.#pools.delete(id);
    return touched;
  }

  see(node: NodeId, dataset: DatasetId, report: Report): void {
    const { state, busy, problem } = report;
    const before = this.#sightings.get(node)?.get(dataset);
    const restingState = busy ? (before?.restingState ?? state) : state;
    const usage = state.kind === 'mounted' ? before?.usage : undefined;
    const sighting: Sighting = { state, restingState, busy, problem, usage };
    let seen = this.#sightings.get(node);
    if (seen === undefined) {
      seen = new Map();
      this.#sightings.set(node, seen);
    }
    if (sighting.state.kind === 'absent' && sighting.problem === null && !sighting.busy) seen.delete(dataset);
    else seen.set(dataset, sighting);
    this.#noteHaver(node, dataset, sighting.state.kind === 'attached' || sighting.state.kind === 'mounted');
  }

  forgetSightings(node: NodeId): void {
    for (const dataset of this.#sightings.get(node)?.keys() ?? []) this.#noteHaver(node, dataset, false);
    this.#sightings.delete(node);
    this.#copies.delete(node);
    for (const [snapshot, problem] of this.#snapshotProblems) {
      if (problem.node === node) this.#snapshotProblems.delete(snapshot);
    }
  }

  #noteHaver(node: NodeId, dataset: DatasetId, has: boolean): void {
    const havers = this.#havers.get(dataset);
    if (has) {
      if (havers === undefined) this.#havers.set(dataset, new Set([node]));
      else havers.add(node);
      return;
    }
    havers?.delete(node);
    if (havers?.size === 0) this.#havers.delete(dataset);
  }
}

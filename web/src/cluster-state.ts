import type { DatasetInspection } from '../../src/api/inspection.ts';
import type { NodeInspection } from '../../src/api/nodes.ts';
import type { SnapshotView } from '../../src/api/snapshots.ts';
import type { PoolView, StorageView } from '../../src/api/storage.ts';

/** Everything as it was read at one moment. */
export interface Snapshotted {
  readonly datasets: readonly DatasetInspection[];
  readonly nodes: readonly NodeInspection[];
  readonly storage: StorageView;
  readonly snapshots: readonly SnapshotView[];
}

/** One change, as the event stream tells it. */
export type Change =
  | { readonly kind: 'dataset'; readonly value: DatasetInspection }
  | { readonly kind: 'node'; readonly value: NodeInspection }
  | { readonly kind: 'storage'; readonly value: PoolView }
  | { readonly kind: 'snapshot'; readonly value: SnapshotView };

/** A line of what happened lately. */
export interface Happening {
  readonly key: number;
  readonly atMs: number;
  readonly text: string;
}

/** How full and how thrifty the storage was at one moment. */
export interface Sample {
  readonly atMs: number;
  readonly usedBytes: number | null;
  readonly savedBytes: number | null;
}

/** The cluster as the page knows it. */
export interface ClusterState {
  /** `loading` until the first answer; `away` while the control service cannot be reached: what is shown is old. */
  readonly connection: 'loading' | 'live' | 'away';
  readonly datasets: ReadonlyMap<string, DatasetInspection>;
  readonly nodes: ReadonlyMap<string, NodeInspection>;
  readonly pools: ReadonlyMap<string, PoolView>;
  readonly snapshots: ReadonlyMap<string, SnapshotView>;
  readonly happenings: readonly Happening[];
  readonly samples: readonly Sample[];
  readonly happened: number;
}

export type Action =
  | { readonly kind: 'read'; readonly state: Snapshotted; readonly atMs: number }
  | { readonly kind: 'changed'; readonly change: Change; readonly atMs: number }
  | { readonly kind: 'lost' }
  | { readonly kind: 'found' };

const MOST_HAPPENINGS = 100;
const MOST_SAMPLES = 2000;

export const NOTHING: ClusterState = {
  connection: 'loading',
  datasets: new Map(),
  nodes: new Map(),
  pools: new Map(),
  snapshots: new Map(),
  happenings: [],
  samples: [],
  happened: 0,
};

/** The next state; pure. */
export function after(state: ClusterState, action: Action): ClusterState {
  switch (action.kind) {
    case 'lost':
      return state.connection === 'loading' ? state : { ...state, connection: 'away' };
    case 'found':
      return state.connection === 'away' ? { ...state, connection: 'live' } : state;
    case 'read': {
      const { datasets, nodes, storage, snapshots } = action.state;
      const read: ClusterState = {
        ...state,
        connection: 'live',
        datasets: byKey(datasets.filter(isThere), ({ configuration }) => configuration.dataset_id),
        nodes: byKey(nodes, ({ uuid }) => uuid),
        pools: byKey(storage.pools, ({ pool }) => pool),
        snapshots: byKey(snapshots, ({ snapshot_id }) => snapshot_id),
      };
      return sampled(read, action.atMs);
    }
    case 'changed':
      return changed(state, action.change, action.atMs);
  }
}

function changed(state: ClusterState, change: Change, atMs: number): ClusterState {
  switch (change.kind) {
    case 'dataset': {
      const { value } = change;
      const id = value.configuration.dataset_id;
      const text = tellDataset(state.datasets.get(id), value, state);
      const next = { ...state, datasets: put(state.datasets, id, isThere(value) ? value : undefined) };
      return told(next, text, atMs);
    }
    case 'node': {
      const { value } = change;
      const before = state.nodes.get(value.uuid);
      const text =
        before?.connected === value.connected
          ? undefined
          : `Node ${value.host} ${value.connected ? 'is connected' : 'is away'}`;
      return told({ ...state, nodes: put(state.nodes, value.uuid, value) }, text, atMs);
    }
    case 'storage':
      return sampled({ ...state, pools: put(state.pools, change.value.pool, change.value) }, atMs);
    case 'snapshot': {
      const { value } = change;
      const { snapshot_id: id, status } = value;
      const before = state.snapshots.get(id)?.status;
      const text = before === status ? undefined : `Snapshot ${nameOf(value.metadata, id)} is ${status}`;
      const next = put(state.snapshots, id, status === 'deleted' ? undefined : value);
      return told({ ...state, snapshots: next }, text, atMs);
    }
  }
}

function tellDataset(
  before: DatasetInspection | undefined,
  now: DatasetInspection,
  { nodes }: ClusterState,
): string | undefined {
  const name = nameOf(now.configuration.metadata, now.configuration.dataset_id);
  if (before === undefined && now.status !== 'deleted') return `Volume ${name} is ${now.status}`;
  if (before?.status === now.status && before.holder === now.holder && before.problem?.code === now.problem?.code)
    return undefined;
  const { holder, problem, status } = now;
  const where = holder === null || status !== 'mounted' ? '' : ` on ${nodes.get(holder)?.host ?? holder}`;
  const why = problem === null || !problem.needs_action ? '' : `: ${problem.message}`;
  return `Volume ${name} is ${status}${where}${why}`;
}

function told(state: ClusterState, text: string | undefined, atMs: number): ClusterState {
  if (text === undefined || state.happenings[0]?.text === text) return state;
  const key = state.happened + 1;
  return { ...state, happened: key, happenings: [{ key, atMs, text }, ...state.happenings].slice(0, MOST_HAPPENINGS) };
}

function sampled(state: ClusterState, atMs: number): ClusterState {
  const sample: Sample = { atMs, ...sums(state.pools.values()) };
  return { ...state, samples: [...state.samples, sample].slice(-MOST_SAMPLES) };
}

/** Sums of what is known; null when nothing is. */
function sums(pools: Iterable<PoolView>): { usedBytes: number | null; savedBytes: number | null } {
  let usedBytes: number | null = null;
  let savedBytes: number | null = null;
  for (const { figures } of pools) {
    if (figures.used !== null) usedBytes = (usedBytes ?? 0) + figures.used;
    const saved = savedOf(figures);
    if (saved !== null) savedBytes = (savedBytes ?? 0) + saved;
  }
  return { usedBytes, savedBytes };
}

/** What compression and sharing save together; null when neither is known. */
export function savedOf(figures: PoolView['figures']): number | null {
  const { saved_by_compression: compression, saved_by_sharing: sharing } = figures;
  return compression === null && sharing === null ? null : (compression ?? 0) + (sharing ?? 0);
}

/** The name people use, or the beginning of the id. */
export function nameOf(metadata: Readonly<Record<string, string>>, id: string): string {
  return metadata['name'] ?? metadata['FLOCKER_ID'] ?? id.slice(0, 8);
}

function isThere({ status }: DatasetInspection): boolean {
  return status !== 'deleted';
}

function byKey<T>(values: readonly T[], keyOf: (value: T) => string): ReadonlyMap<string, T> {
  return new Map(values.map((value) => [keyOf(value), value]));
}

function put<T>(map: ReadonlyMap<string, T>, key: string, value: T | undefined): ReadonlyMap<string, T> {
  const next = new Map(map);
  if (value === undefined) next.delete(key);
  else next.set(key, value);
  return next;
}

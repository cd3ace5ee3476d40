import type { DatasetState } from '../api/datasets.ts';
import type { DatasetInspection, ProblemView } from '../api/inspection.ts';
import type { SnapshotView } from '../api/snapshots.ts';
import type { DatasetId, NodeId, SnapshotId } from '../kit/ids.ts';
import { ClientError, type FoundDatasets, type MountedDataset } from './flocker-client.ts';

/** The mounts to rely on among datasets, by id: with a problem, or while it is moving away, a mount that is there is none. */
export function mountsAmong(inspections: readonly DatasetInspection[]): FoundDatasets['mounted'] {
  const mounts = new Map<string, MountedDataset & { primary: string }>();
  for (const { configuration, status, state, problem } of inspections) {
    if (problem !== null || status !== 'mounted' || state?.path === undefined || state.primary === undefined) continue;
    const { path, maximum_size: sizeBytes, primary } = state;
    mounts.set(configuration.dataset_id, { path, sizeBytes, primary: primary.toLowerCase() });
  }
  return mounts;
}

/** Decides a wait from what either kind of server says; undefined means to wait on. */
export interface Judgement<T> {
  readonly inspection: (inspection: DatasetInspection) => T | undefined;
  readonly states: (states: readonly DatasetState[]) => T | undefined;
}

/** Mounted on `nodeId`; throws `needs_action` or `deleted` when that will not come. */
export function mountedIn(
  id: DatasetId,
  nodeId: NodeId,
  onProblem: (message: string | undefined) => void,
): Judgement<MountedDataset> {
  const mounted = (state: Omit<DatasetState, 'dataset_id'>): MountedDataset | undefined => {
    if (state.path === undefined || state.primary?.toLowerCase() !== nodeId) return undefined;
    return { path: state.path, sizeBytes: state.maximum_size };
  };
  return {
    inspection: ({ configuration, status, state, problem }) => {
      if (configuration.deleted) {
        throw new ClientError('deleted', `Dataset ${id} was deleted while a mount on node ${nodeId} was waited for`);
      }
      throwIfStuck(problem);
      // With a problem, or while it is moving away, a mount that is still there is not one to rely on.
      if (problem === null && status === 'mounted' && state !== null) return mounted(state);
      onProblem(problem?.message);
      return undefined;
    },
    states: (states) => {
      // A dataset may be listed twice for a moment (contract 1.5).
      for (const state of states) {
        const found = state.dataset_id.toLowerCase() === id ? mounted(state) : undefined;
        if (found !== undefined) return found;
      }
      onProblem(undefined);
      return undefined;
    },
  };
}

/** Destroyed; throws `needs_action` when that will not come. */
export function goneIn(id: DatasetId): Judgement<true> {
  let missing = 0;
  return {
    inspection: ({ status, problem }) => {
      if (status === 'deleted') return true;
      throwIfStuck(problem);
      return undefined;
    },
    states: (states) => {
      const listed = states.some((state) => state.dataset_id.toLowerCase() === id);
      missing = listed ? 0 : missing + 1;
      // The list is replaced by whichever node reported last, so that an item may be missing for a moment (contract 1.5).
      return missing >= 2 ? true : undefined;
    },
  };
}

/** The real size of a dataset that has at least `sizeBytes`; throws `needs_action` or `deleted` when it will not grow. */
export function grownIn(id: DatasetId, sizeBytes: number): (inspection: DatasetInspection) => number | undefined {
  return ({ configuration, state, growth, problem }) => {
    if (configuration.deleted) throw new ClientError('deleted', `Dataset ${id} was deleted while it was to grow`);
    if (state?.maximum_size !== undefined && state.maximum_size >= sizeBytes) return state.maximum_size;
    throwIfStuck(growth ?? problem);
    return undefined;
  };
}

/** A snapshot that is ready; throws `needs_action` or `deleted` when it will not be. */
export function snapshotReadyIn(id: SnapshotId): (snapshot: SnapshotView) => SnapshotView | undefined {
  return (snapshot) => {
    const { status, problem } = snapshot;
    if (status === 'ready') return snapshot;
    if (status === 'deleting' || status === 'deleted') {
      throw new ClientError('deleted', `Snapshot ${id} was deleted while it was waited for`);
    }
    if (status === 'failed') {
      throw new ClientError('needs_action', problem?.message ?? `Snapshot ${id} failed`, { cause: problem });
    }
    throwIfStuck(problem);
    return undefined;
  };
}

/** Gone from its pool; throws `needs_action` when that will not come. */
export function snapshotGoneIn({ status, problem }: SnapshotView): true | undefined {
  if (status === 'deleted') return true;
  throwIfStuck(problem);
  return undefined;
}

/** The problem is the cause, so that callers can tell a full pool from a missing profile by its code. */
function throwIfStuck(problem: ProblemView | null): void {
  if (problem?.needs_action === true) throw new ClientError('needs_action', problem.message, { cause: problem });
}

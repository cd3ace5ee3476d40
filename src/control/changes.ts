import type { DatasetId, NodeId, SnapshotId } from '../kit/ids.ts';
import type { Dataset } from '../model/dataset.ts';
import type { Lease } from '../model/lease.ts';
import type { NodeDeath } from '../model/node-death.ts';
import type { Snapshot } from '../model/snapshot.ts';
import type { DatasetCopies } from '../model/volume-copy.ts';
import { isNothing } from './copies.ts';
import { type Json, RESTORED_KEY, type StoreChange } from './store/store.ts';

/** One change of the durable deployment. Decisions return these; nothing else alters it. */
export type Change =
  | { readonly kind: 'dataset'; readonly dataset: Dataset }
  | { readonly kind: 'lease'; readonly lease: Lease }
  | { readonly kind: 'leaseEnded'; readonly datasetId: DatasetId }
  | { readonly kind: 'snapshot'; readonly snapshot: Snapshot }
  | { readonly kind: 'copies'; readonly copies: DatasetCopies }
  | { readonly kind: 'nodeDead'; readonly death: NodeDeath }
  | { readonly kind: 'nodeBack'; readonly node: NodeId }
  /** The records are an old copy; undefined when all that was doubted is confirmed. */
  | { readonly kind: 'restored'; readonly restored: Restored | undefined }
  /** The configuration as users see it changed: a new tag (contract 1.9). */
  | { readonly kind: 'revision'; readonly revision: number };

/** That the records were replaced by an old copy of them. */
export interface Restored {
  /** Wall clock, milliseconds since the epoch. */
  readonly atMs: number;
  /** Whether where the volumes are was put in doubt for it. */
  readonly doubted: boolean;
}

/** What a request leads to: the answer, and what to make durable before it is given. */
export interface Decision<Reply> {
  readonly reply: Reply;
  readonly changes: readonly Change[];
}

/** The dataset a change is about; undefined for changes of no single dataset. */
export function datasetOf(change: Change): DatasetId | undefined {
  switch (change.kind) {
    case 'dataset':
      return change.dataset.id;
    case 'lease':
      return change.lease.datasetId;
    case 'copies':
      return change.copies.datasetId;
    case 'leaseEnded':
      return change.datasetId;
    case 'snapshot':
    case 'nodeDead':
    case 'nodeBack':
    case 'restored':
    case 'revision':
      return undefined;
  }
}

/** The snapshot a change is about. */
export function snapshotOf(change: Change): SnapshotId | undefined {
  return change.kind === 'snapshot' ? change.snapshot.id : undefined;
}

export const DATASET_PREFIX = 'dataset/';
export const LEASE_PREFIX = 'lease/';
export const SNAPSHOT_PREFIX = 'snapshot/';
export const COPIES_PREFIX = 'copies/';
export const NODE_DEATH_PREFIX = 'node-death/';
export const REVISION_KEY = 'configuration/revision';

/** How a change is written to the store. */
export function toStoreChange(change: Change): StoreChange {
  switch (change.kind) {
    case 'dataset': {
      const { dataset } = change;
      const value: Json = {
        primary: dataset.primary,
        deleted: dataset.deleted,
        metadata: dataset.metadata,
        maximumSizeBytes: dataset.maximumSizeBytes,
        // Left out where there is none, so that such datasets are written as before there were snapshots.
        ...(dataset.source === null ? {} : { source: { ...dataset.source } }),
        storage: storedStorage(dataset.storage),
      };
      return { kind: 'put', key: DATASET_PREFIX + dataset.id, value };
    }
    case 'lease':
      return {
        kind: 'put',
        key: LEASE_PREFIX + change.lease.datasetId,
        value: { nodeId: change.lease.nodeId, expiresAtMs: change.lease.expiresAtMs },
      };
    case 'leaseEnded':
      return { kind: 'remove', key: LEASE_PREFIX + change.datasetId };
    case 'snapshot': {
      const { id, datasetId, metadata, deleted, storage } = change.snapshot;
      const stored: Json =
        storage.kind === 'failed' ? { kind: 'failed', problem: { ...storage.problem } } : { ...storage };
      return { kind: 'put', key: SNAPSHOT_PREFIX + id, value: { datasetId, metadata, deleted, storage: stored } };
    }
    case 'copies': {
      const { datasetId, underWay, remains } = change.copies;
      const key = COPIES_PREFIX + datasetId;
      if (isNothing(change.copies)) return { kind: 'remove', key };
      const value: Json = {
        underWay: underWay === null ? null : { ...underWay },
        remains: remains.map((each) => ({ ...each })),
      };
      return { kind: 'put', key, value };
    }
    case 'nodeDead': {
      const { node, declaration, declaredAtMs } = change.death;
      return { kind: 'put', key: NODE_DEATH_PREFIX + node, value: { declaration, declaredAtMs } };
    }
    case 'nodeBack':
      return { kind: 'remove', key: NODE_DEATH_PREFIX + change.node };
    case 'restored':
      if (change.restored === undefined) return { kind: 'remove', key: RESTORED_KEY };
      return { kind: 'put', key: RESTORED_KEY, value: { ...change.restored } };
    case 'revision':
      return { kind: 'put', key: REVISION_KEY, value: change.revision };
  }
}

function storedStorage(storage: Dataset['storage']): Json {
  if (storage.kind === 'unconfirmed') return { kind: 'unconfirmed', was: storedStorage(storage.was) };
  if (storage.kind === 'gone' || storage.leftBy === undefined) return { ...storage };
  return { ...storage, leftBy: [...storage.leftBy] };
}

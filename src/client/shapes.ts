import { Type } from 'typebox';
import { Compile } from 'typebox/compile';
import { DatasetConfiguration, DatasetState } from '../api/datasets.ts';
import { ErrorBody } from '../api/errors.ts';
import { DatasetInspection } from '../api/inspection.ts';
import { NodeByEra, NodeDeathView, NodeInspection, NodeState } from '../api/nodes.ts';
import { RestoredConfirmation, RestoredView } from '../api/restored.ts';
import { SnapshotView } from '../api/snapshots.ts';
import { PoolView, StorageView } from '../api/storage.ts';

/** What an answer has to look like. */
export interface Shape<T> {
  Check(value: unknown): value is T;
  Errors(value: unknown): readonly { readonly instancePath: string; readonly message: string }[];
}

/** Not the API's own lease: an answer may carry fields that a newer server adds. */
const Lease = Type.Object({
  dataset_id: Type.String(),
  node_uuid: Type.String(),
  expires: Type.Union([Type.Number(), Type.Null()]),
});

/** The answers of the REST API, compiled: a list may hold 100,000 datasets. */
export const SHAPES = {
  version: Compile(Type.Object({ flocker: Type.String() })),
  dataset: Compile(DatasetConfiguration),
  datasets: Compile(Type.Array(DatasetConfiguration)),
  datasetStates: Compile(Type.Array(DatasetState)),
  nodes: Compile(Type.Array(NodeState)),
  nodeByEra: Compile(NodeByEra),
  lease: Compile(Lease),
  leases: Compile(Type.Array(Lease)),
  inspection: Compile(DatasetInspection),
  inspections: Compile(Type.Array(DatasetInspection)),
  nodeInspection: Compile(NodeInspection),
  nodeDeath: Compile(NodeDeathView),
  restored: Compile(RestoredView),
  restoredConfirmation: Compile(RestoredConfirmation),
  nodeInspections: Compile(Type.Array(NodeInspection)),
  storage: Compile(StorageView),
  pool: Compile(PoolView),
  snapshot: Compile(SnapshotView),
  snapshots: Compile(Type.Array(SnapshotView)),
  /** Only whether the server has the addition at all. */
  anyArray: Compile(Type.Array(Type.Unknown())),
  error: Compile(ErrorBody),
};

/** The events that tell of datasets and of snapshots. */
export const DATASET_EVENTS = { name: 'dataset', shape: SHAPES.inspection };
export const SNAPSHOT_EVENTS = { name: 'snapshot', shape: SHAPES.snapshot };

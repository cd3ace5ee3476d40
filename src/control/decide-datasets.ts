import type { CreateDatasetBody, DatasetConfiguration, MoveDatasetBody } from '../api/datasets.ts';
import { DESCRIPTIONS } from '../api/errors.ts';
import type { ResizeDatasetBody } from '../api/snapshots.ts';
import {
  type DatasetId,
  type NewUuid,
  newDatasetId,
  parseDatasetId,
  parseNodeId,
  parseSnapshotId,
} from '../kit/ids.ts';
import type { Dataset, Storage } from '../model/dataset.ts';
import type { Change, Decision } from './changes.ts';
import type { ClusterView } from './cluster.ts';
import type { DeploymentView } from './deployment.ts';
import { settle } from './settle.ts';

/** An answer of the REST API: status and JSON body. */
export interface Reply<Body> {
  readonly status: number;
  readonly body: Body | { readonly description: string; readonly errors?: string[] };
}

/** Conditions a request carries; undefined means none. */
export interface Conditions {
  readonly tags: readonly string[] | undefined;
  readonly nameUnused: string | undefined;
  /** None of these has a lease. */
  readonly unleased?: readonly string[];
}

/** The 412 of a request whose conditions do not hold, or undefined (contract 1.9). */
export function unmetCondition(conditions: Conditions, deployment: DeploymentView): Reply<never> | undefined {
  const { tags, nameUnused, unleased = [] } = conditions;
  if (tags !== undefined && !tags.includes(deployment.tag)) {
    const description = `Tag doesn't match. Required: ${tags[0] ?? ''}, current: ${deployment.tag}`;
    return { status: 412, body: { description } };
  }
  if (nameUnused !== undefined && deployment.named(nameUnused).length > 0) {
    return { status: 412, body: { description: `A dataset named ${nameUnused} exists.` } };
  }
  const leased = unleased.find((id) => deployment.lease(id as DatasetId) !== undefined);
  if (leased !== undefined) return { status: 412, body: { description: `There is a lease on ${leased}.` } };
  return undefined;
}

export function decideCreate(
  deployment: DeploymentView,
  cluster: ClusterView,
  body: CreateDatasetBody,
  conditions: Conditions,
  newUuid: NewUuid,
): Decision<Reply<DatasetConfiguration>> {
  const unmet = unmetCondition(conditions, deployment);
  if (unmet !== undefined) return refuse(unmet);
  const primary = parseNodeId(body.primary);
  const id = body.dataset_id === undefined ? newDatasetId(newUuid) : parseDatasetId(body.dataset_id);
  if (primary === undefined || id === undefined) return reject(400, DESCRIPTIONS.schema);
  if (deployment.dataset(id) !== undefined) return reject(409, DESCRIPTIONS.datasetIdInUse);
  // A task that asks for a volume of a forgotten name would begin with an empty one.
  if (deployment.restored !== undefined && cluster.havers(id).size === 0) return reject(409, DESCRIPTIONS.restored);
  const source = sourceOf(deployment, body);
  if ('refusal' in source) return refuse(source.refusal);
  const dataset = settle(
    {
      id,
      primary,
      deleted: false,
      metadata: body.metadata ?? {},
      ...source,
      storage: presentStorage(id, cluster),
    },
    cluster,
  );
  return accept(deployment, 201, dataset);
}

/** A volume that a node has and the records lack, as after restoring an old copy of them, is taken in with its data. */
function presentStorage(id: DatasetId, cluster: ClusterView): Storage {
  const [haver] = cluster.havers(id);
  const node = haver === undefined ? undefined : cluster.node(haver);
  if (node === undefined) return { kind: 'unmade' };
  return { kind: 'held', node: node.id, made: true, pool: node.pool, sizeBytes: null };
}

/** What a new dataset begins with and the size it has to have for that, or why it cannot. */
function sourceOf(
  deployment: DeploymentView,
  { source_snapshot, maximum_size }: CreateDatasetBody,
): Pick<Dataset, 'source' | 'maximumSizeBytes'> | { readonly refusal: Reply<never> } {
  const maximumSizeBytes = maximum_size ?? null;
  if (source_snapshot === undefined) return { source: null, maximumSizeBytes };
  const refusal = (status: number, description: string): { refusal: Reply<never> } => ({
    refusal: { status, body: { description } },
  });
  const id = parseSnapshotId(source_snapshot);
  const snapshot = id === undefined ? undefined : deployment.snapshots.get(id);
  if (snapshot === undefined) return refusal(404, DESCRIPTIONS.snapshotNotFound);
  const { deleted, storage } = snapshot;
  if (deleted || storage.kind !== 'taken') return refusal(409, DESCRIPTIONS.snapshotNotReady);
  if (maximumSizeBytes !== null && maximumSizeBytes < storage.sizeBytes) {
    const errors = [`/maximum_size the snapshot has ${storage.sizeBytes} bytes`];
    return { refusal: { status: 400, body: { description: DESCRIPTIONS.smallerThanSnapshot, errors } } };
  }
  return {
    source: { snapshotId: snapshot.id, pool: storage.pool },
    maximumSizeBytes: maximumSizeBytes ?? storage.sizeBytes,
  };
}

export function decideMove(
  deployment: DeploymentView,
  cluster: ClusterView,
  id: string,
  body: MoveDatasetBody,
  conditions: Conditions,
): Decision<Reply<DatasetConfiguration>> {
  const unmet = unmetCondition(conditions, deployment);
  if (unmet !== undefined) return refuse(unmet);
  const dataset = deployment.dataset(id as DatasetId);
  if (dataset === undefined) return reject(404, DESCRIPTIONS.datasetNotFound);
  if (dataset.deleted) return reject(405, DESCRIPTIONS.datasetDeleted);
  const primary = body.primary === undefined ? dataset.primary : parseNodeId(body.primary);
  if (primary === undefined) return reject(400, DESCRIPTIONS.schema);
  if (primary === dataset.primary) return refuse({ status: 200, body: configurationOf(dataset) });
  return accept(deployment, 200, settle({ ...dataset, primary }, cluster));
}

/** A dataset only grows; what it has is what it was asked to have or, where its engine rounded up, what was made. */
export function decideResize(
  deployment: DeploymentView,
  id: string,
  { maximum_size: maximumSizeBytes }: ResizeDatasetBody,
  conditions: Conditions,
): Decision<Reply<DatasetConfiguration>> {
  const unmet = unmetCondition(conditions, deployment);
  if (unmet !== undefined) return refuse(unmet);
  const dataset = deployment.dataset(id as DatasetId);
  if (dataset === undefined) return reject(404, DESCRIPTIONS.datasetNotFound);
  if (dataset.deleted) return reject(405, DESCRIPTIONS.datasetDeleted);
  if (maximumSizeBytes === dataset.maximumSizeBytes) return refuse({ status: 200, body: configurationOf(dataset) });
  const madeBytes = 'sizeBytes' in dataset.storage ? (dataset.storage.sizeBytes ?? 0) : 0;
  const hasBytes = Math.max(madeBytes, dataset.maximumSizeBytes ?? 0);
  if (maximumSizeBytes < hasBytes) {
    const errors = [`/maximum_size it has ${hasBytes} bytes`];
    return { reply: { status: 409, body: { description: DESCRIPTIONS.onlyGrows, errors } }, changes: [] };
  }
  return accept(deployment, 200, { ...dataset, maximumSizeBytes });
}

export function decideDelete(
  deployment: DeploymentView,
  cluster: ClusterView,
  id: string,
  conditions: Conditions,
): Decision<Reply<DatasetConfiguration>> {
  const unmet = unmetCondition(conditions, deployment);
  if (unmet !== undefined) return refuse(unmet);
  const dataset = deployment.dataset(id as DatasetId);
  if (dataset === undefined) return reject(404, DESCRIPTIONS.datasetNotFound);
  if (dataset.deleted) return refuse({ status: 200, body: configurationOf(dataset) });
  return accept(deployment, 200, settle({ ...dataset, deleted: true }, cluster));
}

/** A dataset's configuration as the API shows it (contract 1.4). */
export function configurationOf(dataset: Dataset): DatasetConfiguration {
  return {
    dataset_id: dataset.id,
    primary: dataset.primary,
    deleted: dataset.deleted,
    metadata: { ...dataset.metadata },
    ...(dataset.maximumSizeBytes === null ? {} : { maximum_size: dataset.maximumSizeBytes }),
  };
}

function accept(deployment: DeploymentView, status: number, dataset: Dataset): Decision<Reply<DatasetConfiguration>> {
  const changes: Change[] = [
    { kind: 'dataset', dataset },
    { kind: 'revision', revision: deployment.revision + 1 },
  ];
  return { reply: { status, body: configurationOf(dataset) }, changes };
}

function refuse<Body>(reply: Reply<Body>): Decision<Reply<Body>> {
  return { reply, changes: [] };
}

function reject(status: number, description: string): Decision<Reply<never>> {
  return { reply: { status, body: { description } }, changes: [] };
}

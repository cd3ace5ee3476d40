import { randomUUID } from 'node:crypto';
import { Compile } from 'typebox/compile';
import { CreateDatasetBody } from '../../api/datasets.ts';
import { DESCRIPTIONS } from '../../api/errors.ts';
import type { DatasetInspection } from '../../api/inspection.ts';
import { type Clock, systemClock } from '../../kit/clock.ts';
import { orAbort } from '../../kit/deadline.ts';
import { type DatasetId, type NewUuid, type NodeId, newDatasetId } from '../../kit/ids.ts';
import { nameOf } from '../../model/dataset.ts';
import {
  ClientError,
  type Condition,
  type FlockerClient,
  type FoundDatasets,
  type LeaseRequest,
  type NewDataset,
} from '../flocker-client.ts';
import { goneIn, mountedIn, mountsAmong } from '../judgements.ts';
import { onChange } from '../passing.ts';
import type { StorageClient } from '../storage-client.ts';
import { FakeCluster, type FakeDataset } from './fake-cluster.ts';
import { fakeStorageClient } from './fake-storage-client.ts';

type FakeClient = FlockerClient & StorageClient;

/** A cluster in memory and a client of it. `{...client, acquireLease: …}` puts a fault into one method. */
export interface FakeFlocker {
  readonly client: FakeClient;
  readonly cluster: FakeCluster;
  /** Adds a node that mounts what is configured onto it, or brings one back. */
  addNode(node?: NodeId): NodeId;
  /** The node stops reporting and acting. */
  removeNode(node: NodeId): void;
  close(): void;
}

const createBody = Compile(CreateDatasetBody);

/** `additions: false` behaves like ClusterHQ's Flocker. Leases expire by `clock`; nodes act by themselves at once. */
export function fakeFlocker(
  options: { readonly clock?: Clock; readonly newUuid?: NewUuid; readonly additions?: boolean } = {},
): FakeFlocker {
  const newUuid = options.newUuid ?? randomUUID;
  const cluster = new FakeCluster(options.clock ?? systemClock, newUuid);
  return {
    client: fakeClient(cluster, newUuid, options.additions ?? true),
    cluster,
    addNode: (node) => cluster.addNode(node),
    removeNode: (node) => cluster.removeNode(node),
    close: () => cluster.close(),
  };
}

function fakeClient(cluster: FakeCluster, newUuid: NewUuid, additions: boolean): FakeClient {
  /** As every request does: later, and not at all when the caller gave up. */
  const answer = async <T>(signal: AbortSignal, reply: () => T): Promise<T> => {
    await Promise.resolve();
    signal.throwIfAborted();
    return structuredClone(reply());
  };
  const wait = <T>(look: () => T | undefined, signal: AbortSignal): Promise<T> => {
    let stop = (): void => undefined;
    const waited = new Promise<T>((resolve, reject) => {
      const lookAgain = (): void => {
        try {
          const found = look();
          if (found !== undefined) resolve(found);
        } catch (error) {
          reject(error);
        }
      };
      stop = cluster.listen(lookAgain);
      lookAgain();
    });
    return orAbort(waited, signal).finally(() => stop());
  };
  const named = (name: string): FoundDatasets => ({
    datasets: configurations(cluster).filter((found) => !found.deleted && nameOf(found.metadata) === name),
    mounted: mountsAmong(additions ? inspections(cluster) : []),
    ifUnchanged: additions ? { kind: 'nameUnused', name } : { kind: 'tag', tag: cluster.tag },
  });
  const takeLease = ({ datasetId, nodeId, expiresSeconds }: LeaseRequest): void => {
    const held = cluster.leaseOf(datasetId);
    if (held !== undefined && held.nodeId !== nodeId) throw new ClientError('lease_held', DESCRIPTIONS.leaseHeld);
    cluster.putLease(datasetId, nodeId, expiresSeconds);
  };
  return {
    ...fakeStorageClient({ cluster, additions, answer, wait }),
    version: (signal) => answer(signal, () => '1.15.0'),
    hasAdditions: (signal) => answer(signal, () => additions),
    listDatasets: (signal) => answer(signal, () => ({ datasets: configurations(cluster), tag: cluster.tag })),
    findByName: (name, signal) => answer(signal, () => named(name)),
    createDataset: (dataset, condition, signal) =>
      answer(signal, () => {
        if (condition.kind === 'nameUnused' && !additions) throw badRequest('This server knows no condition on names');
        if (condition.kind === 'unleased') throw badRequest('Only a deletion may depend on leases');
        if (dataset.sourceSnapshot !== undefined && !additions) {
          throw new ClientError('not_supported', 'This server has no snapshots to make a dataset from');
        }
        checkCondition(cluster, condition);
        return create(cluster, newUuid, dataset).configuration;
      }),
    moveDataset: (id, primary, condition, signal) =>
      answer(signal, () => {
        if (condition.kind === 'unleased') throw badRequest('Only a deletion may depend on leases');
        const dataset = changeable(cluster, id, condition);
        if (dataset.configuration.deleted) throw new ClientError('deleted', DESCRIPTIONS.datasetDeleted);
        if (dataset.configuration.primary !== primary) {
          dataset.configuration = { ...dataset.configuration, primary };
          cluster.configured();
        }
        return dataset.configuration;
      }),
    deleteDataset: (id, condition, signal) =>
      answer(signal, () => {
        if (condition.kind === 'unleased' && !additions) throw badRequest('This server knows no condition on leases');
        const dataset = changeable(cluster, id, condition);
        if (!dataset.configuration.deleted) {
          dataset.configuration = { ...dataset.configuration, deleted: true };
          cluster.configured();
        }
        return dataset.configuration;
      }),
    listDatasetStates: (signal) => answer(signal, () => states(cluster)),
    listNodes: (signal) => answer(signal, () => cluster.nodes.map((uuid) => ({ uuid, host: '192.0.2.1' }))),
    inspectDatasets: (signal) => answer(signal, () => (additions ? inspections(cluster) : undefined)),
    inspectDataset: (id, signal) =>
      answer(signal, () => {
        if (!additions) throw new ClientError('not_supported', 'This server cannot show one dataset only');
        const found = cluster.datasets.get(id);
        return found === undefined ? undefined : cluster.inspect(found);
      }),
    inspectNodes: (signal) =>
      answer(signal, () => (additions ? cluster.nodes.map((node) => cluster.inspectNode(node)) : undefined)),
    nodeByEra: (era, signal) =>
      answer(signal, () => {
        const node = cluster.nodes.find((candidate) => cluster.eraOf(candidate) === era);
        if (node === undefined) throw new ClientError('not_found', DESCRIPTIONS.noNodeWithEra);
        return node;
      }),
    listLeases: (signal) => answer(signal, () => cluster.leases()),
    acquireLease: (lease, signal) => answer(signal, () => takeLease(lease)),
    acquireLeaseAndFind: (lease, name, signal) =>
      answer(signal, () => {
        takeLease(lease);
        return additions ? named(name) : undefined;
      }),
    releaseLease: (id, signal) =>
      answer(signal, () => {
        if (cluster.leaseOf(id) === undefined) throw new ClientError('not_found', DESCRIPTIONS.leaseNotFound);
        cluster.dropLease(id);
      }),
    waitUntilMounted: (id, nodeId, onProblem, signal) => {
      const mounted = mountedIn(id, nodeId, onChange(onProblem));
      return wait(
        () => (additions ? mounted.inspection(cluster.inspect(known(cluster, id))) : mounted.states(states(cluster))),
        signal,
      );
    },
    waitUntilGone: async (id, signal) => {
      const gone = goneIn(id);
      const dataset = cluster.datasets.get(id);
      if (dataset !== undefined) await wait(() => gone.inspection(cluster.inspect(dataset)), signal);
    },
    close: () => Promise.resolve(),
  };
}

function create(cluster: FakeCluster, newUuid: NewUuid, dataset: NewDataset): FakeDataset {
  const id = dataset.datasetId ?? newDatasetId(newUuid);
  const { sourceSnapshot: source } = dataset;
  const sourceBytes = source === undefined ? undefined : cluster.snapshots.sourceSizeBytes(source);
  const sizeBytes = dataset.maximumSizeBytes ?? sourceBytes;
  if (sizeBytes !== undefined && sizeBytes < (sourceBytes ?? 0)) throw badRequest(DESCRIPTIONS.smallerThanSnapshot);
  const size = sizeBytes === undefined ? {} : { maximum_size: sizeBytes };
  const body = { primary: dataset.primary, dataset_id: id, metadata: { ...dataset.metadata }, ...size };
  if (!createBody.Check(body)) {
    const errors = createBody.Errors(body).map((error) => `${error.instancePath} ${error.message}`);
    throw badRequest(`${DESCRIPTIONS.schema} (${errors.join('; ')})`);
  }
  if (cluster.datasets.has(id)) throw new ClientError('id_in_use', DESCRIPTIONS.datasetIdInUse);
  const configuration = {
    ...body,
    primary: dataset.primary,
    metadata: { ...dataset.metadata },
    deleted: false,
    ...size,
  };
  const made: FakeDataset = { id, configuration, source, sizeBytes: 0, storage: { kind: 'unmade' } };
  cluster.datasets.set(id, made);
  cluster.configured();
  return made;
}

function checkCondition(cluster: FakeCluster, condition: Condition): void {
  if (!holds(cluster, condition))
    throw new ClientError('condition_failed', `The condition does not hold; the tag is now ${cluster.tag}`);
}

function holds(cluster: FakeCluster, condition: Condition): boolean {
  switch (condition.kind) {
    case 'none':
      return true;
    case 'tag':
      return condition.tag === cluster.tag;
    case 'unleased':
      return condition.ids.every((id) => cluster.leaseOf(id) === undefined);
    case 'nameUnused':
      return !configurations(cluster).some((found) => !found.deleted && nameOf(found.metadata) === condition.name);
  }
}

function changeable(cluster: FakeCluster, id: DatasetId, condition: Condition): FakeDataset {
  if (condition.kind === 'nameUnused') throw badRequest('Only a creation may depend on an unused name');
  checkCondition(cluster, condition);
  return known(cluster, id);
}

function known(cluster: FakeCluster, id: DatasetId): FakeDataset {
  const dataset = cluster.datasets.get(id);
  if (dataset === undefined) throw new ClientError('not_found', DESCRIPTIONS.datasetNotFound);
  return dataset;
}

function configurations(cluster: FakeCluster): FakeDataset['configuration'][] {
  return [...cluster.datasets.values()].map(({ configuration }) => configuration);
}

function states(cluster: FakeCluster): NonNullable<ReturnType<FakeCluster['stateOf']>>[] {
  return [...cluster.datasets.values()].flatMap((dataset) => cluster.stateOf(dataset) ?? []);
}

function badRequest(message: string): ClientError {
  return new ClientError('bad_request', message);
}

function inspections(cluster: FakeCluster): DatasetInspection[] {
  return [...cluster.datasets.values()].map((dataset) => cluster.inspect(dataset));
}

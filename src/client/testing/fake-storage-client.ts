import { Compile } from 'typebox/compile';
import { DESCRIPTIONS } from '../../api/errors.ts';
import { ResizeDatasetBody } from '../../api/snapshots.ts';
import type { DatasetId } from '../../kit/ids.ts';
import { ClientError } from '../flocker-client.ts';
import { grownIn, snapshotGoneIn, snapshotReadyIn } from '../judgements.ts';
import type { ClusterChange, StorageClient } from '../storage-client.ts';
import type { FakeCluster, FakeDataset } from './fake-cluster.ts';
import { fakeStorageView } from './fake-storage.ts';

const resizeBody = Compile(ResizeDatasetBody);

interface FakeStorageParts {
  readonly cluster: FakeCluster;
  readonly additions: boolean;
  readonly answer: <T>(signal: AbortSignal, reply: () => T) => Promise<T>;
  readonly wait: <T>(look: () => T | undefined, signal: AbortSignal) => Promise<T>;
}

/** {@link StorageClient} of the fake cluster. */
export function fakeStorageClient({ cluster, additions, answer, wait }: FakeStorageParts): StorageClient {
  const { snapshots } = cluster;
  const supported = <T>(signal: AbortSignal, reply: () => T): Promise<T> =>
    answer(signal, () => {
      if (!additions) throw new ClientError('not_supported', 'This server is no mesos-module-flocker');
      return reply();
    });
  const waited = async <T>(look: () => T | undefined, signal: AbortSignal): Promise<T> => {
    await supported(signal, () => undefined);
    return wait(look, signal);
  };
  return {
    storageState: (signal) => supported(signal, () => fakeStorageView(cluster)),
    declareNodeDead: (node, signal) => supported(signal, () => cluster.declareDead(node)),
    // It is never restored, so nothing is ever in doubt.
    restoredState: (signal) => supported(signal, () => ({ restored: null, unconfirmed: [], unknown: [] })),
    confirmRestored: (signal) => supported(signal, () => ({ confirmed: [], waiting: [] })),
    resizeDataset: (id, maximumSizeBytes, signal) =>
      supported(signal, () => {
        if (!resizeBody.Check({ maximum_size: maximumSizeBytes })) {
          throw new ClientError('bad_request', DESCRIPTIONS.schema);
        }
        const dataset = known(cluster, id);
        const { configuration } = dataset;
        if (configuration.deleted) throw new ClientError('deleted', DESCRIPTIONS.datasetDeleted);
        if (maximumSizeBytes === configuration.maximum_size) return configuration;
        const hasBytes = Math.max(
          configuration.maximum_size ?? 0,
          dataset.storage.kind === 'unmade' ? 0 : dataset.sizeBytes,
        );
        if (maximumSizeBytes < hasBytes) throw new ClientError('bad_request', DESCRIPTIONS.onlyGrows);
        dataset.configuration = { ...configuration, maximum_size: maximumSizeBytes };
        cluster.configured();
        return dataset.configuration;
      }),
    waitUntilGrown: (id, sizeBytes, signal) => {
      const grown = grownIn(id, sizeBytes);
      return waited(() => grown(cluster.inspect(known(cluster, id))), signal);
    },
    createSnapshot: (snapshot, signal) =>
      supported(signal, () => {
        const view = snapshots.create(structuredClone(snapshot));
        cluster.changed();
        return view;
      }),
    listSnapshots: (filter, signal) => supported(signal, () => snapshots.list(filter)),
    deleteSnapshot: (id, signal) =>
      supported(signal, () => {
        const view = snapshots.remove(id);
        cluster.changed();
        return view;
      }),
    waitForSnapshot: (id, signal) => {
      const ready = snapshotReadyIn(id);
      return waited(() => ready(snapshots.view(id)), signal);
    },
    waitUntilSnapshotGone: async (id, signal) => {
      await waited(() => {
        // Nothing of it is left to wait for.
        const [snapshot] = snapshots.list({ snapshotId: id });
        return snapshot === undefined ? true : snapshotGoneIn(snapshot);
      }, signal);
    },
    followChanges: (onChange, _onProblem, signal) => {
      let seen = new Set(changesIn(cluster).keys());
      return waited<never>(() => {
        const now = changesIn(cluster);
        for (const [text, change] of now) if (!seen.has(text)) onChange(change);
        seen = new Set(now.keys());
        return undefined;
      }, signal);
    },
  };
}

/** All that a change can be of, by its text. */
function changesIn(cluster: FakeCluster): Map<string, ClusterChange> {
  const datasets = [...cluster.datasets.values()].map(
    (dataset): ClusterChange => ({ kind: 'dataset', value: cluster.inspect(dataset) }),
  );
  const snapshots = cluster.snapshots.list({}).map((value): ClusterChange => ({ kind: 'snapshot', value }));
  return new Map([...datasets, ...snapshots].map((change) => [JSON.stringify(change), structuredClone(change)]));
}

function known(cluster: FakeCluster, id: DatasetId): FakeDataset {
  const dataset = cluster.datasets.get(id);
  if (dataset === undefined) throw new ClientError('not_found', DESCRIPTIONS.datasetNotFound);
  return dataset;
}

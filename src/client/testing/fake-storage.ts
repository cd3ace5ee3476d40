import type { StorageFigures, StorageView } from '../../api/storage.ts';
import { DEFAULT_SIZE_BYTES, PROFILE_KEY } from '../../model/dataset.ts';
import type { PoolFigures } from '../../model/storage-state.ts';
import type { FakeCluster, FakeDataset } from './fake-cluster.ts';

/** The storage of a fake cluster: one pool that all its nodes reach, as `cluster.storage` says. */
export function fakeStorageView(cluster: FakeCluster): StorageView {
  const nodes = cluster.nodes.map((node) => cluster.inspectNode(node));
  const [first] = nodes;
  const takesRoom = ({ storage, configuration }: FakeDataset): boolean =>
    storage.kind !== 'gone' && !(storage.kind === 'unmade' && configuration.deleted);
  const datasets = [...cluster.datasets.values()].filter(takesRoom);
  const figures = figuresOf(cluster.storage.figures, promised(datasets));
  return {
    pools:
      first === undefined
        ? []
        : [
            {
              pool: first.pool,
              backend: first.backend,
              nodes: nodes.map(({ uuid }) => uuid),
              measured: first.last_heard,
              profiles: cluster.storage.profiles.map((traits) => {
                const ofIt = datasets.filter(
                  ({ configuration }) => configuration.metadata[PROFILE_KEY] === traits.name,
                );
                return { ...traits, datasets: ofIt.length, provisioned: promised(ofIt) };
              }),
              figures,
            },
          ],
    nodes: nodes.map(({ uuid, host, connected, pool }) => ({ uuid, host, connected, pool })),
    total: first === undefined ? { ...UNKNOWN, provisioned: promised(datasets) } : figures,
  };
}

const UNKNOWN = {
  total: null,
  available: null,
  used: null,
  logical: null,
  physical: null,
  saved_by_compression: null,
  saved_by_sharing: null,
  compression_share: null,
} as const;

function figuresOf(figures: PoolFigures, provisioned: number): StorageFigures {
  const { logicalBytes, compressionSavedBytes } = figures;
  return {
    total: figures.totalBytes,
    available: figures.availableBytes,
    used: figures.usedBytes,
    provisioned,
    logical: logicalBytes,
    physical: figures.physicalBytes,
    saved_by_compression: compressionSavedBytes,
    saved_by_sharing: figures.sharedSavedBytes,
    compression_share:
      logicalBytes === null || logicalBytes === 0 || compressionSavedBytes === null
        ? null
        : Math.min(1, compressionSavedBytes / logicalBytes),
  };
}

function promised(datasets: readonly FakeDataset[]): number {
  return datasets.reduce((sum, { configuration }) => sum + (configuration.maximum_size ?? DEFAULT_SIZE_BYTES), 0);
}

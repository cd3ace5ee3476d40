import type { DatasetInspection } from '../../api/inspection.ts';
import type { StorageView } from '../../api/storage.ts';
import type { FlockerClient } from '../../client/flocker-client.ts';
import type { StorageClient } from '../../client/storage-client.ts';
import type { NodeId } from '../../kit/ids.ts';
import { DEFAULT_SIZE_BYTES, nameOf, PROFILE_KEY } from '../../model/dataset.ts';
import { poolLabels } from './pool-labels.ts';
import type { KnownDataset, StorageLook } from './provider-state.ts';
import { poolOf, spareBytesOf } from './room.ts';

/** What the provider needs of the control service. */
export type ProviderClient = Pick<
  FlockerClient,
  'createDataset' | 'deleteDataset' | 'findByName' | 'inspectDatasets' | 'waitUntilGone' | 'waitUntilMounted'
> &
  Pick<StorageClient, 'storageState'>;

/** Looks at the storage of a node; undefined while its pool is not known. */
export async function lookAtStorage(
  client: Pick<ProviderClient, 'storageState' | 'inspectDatasets'>,
  node: NodeId,
  stateUrl: string | null,
  signal: AbortSignal,
): Promise<Omit<StorageLook, 'diskEpoch' | 'atMs'> | undefined> {
  const [view, inspections] = await Promise.all([client.storageState(signal), client.inspectDatasets(signal)]);
  return lookOf(view, inspections ?? [], node, stateUrl);
}

export function lookOf(
  view: StorageView,
  inspections: readonly DatasetInspection[],
  node: NodeId,
  stateUrl: string | null,
): Omit<StorageLook, 'diskEpoch' | 'atMs'> | undefined {
  const pool = poolOf(view, node);
  if (pool === undefined) return undefined;
  const identity = { id: pool.pool, backend: pool.backend, stateUrl };
  const present = inspections.filter(({ configuration }) => !configuration.deleted);
  const names = new Map<string, number>();
  for (const { configuration } of present) {
    const name = nameOf(configuration.metadata);
    if (name !== undefined) names.set(name, (names.get(name) ?? 0) + 1);
  }
  return {
    profiles: pool.profiles.map((traits) => ({ profile: traits.name, labels: poolLabels(traits, identity) })),
    freeBytes: Math.max(0, spareBytesOf(view, inspections, node) ?? 0),
    totalBytes: pool.figures.total,
    datasets: present.map((inspection) => knownDataset(inspection, names, node)),
  };
}

function knownDataset(
  { configuration, state, status, lease }: DatasetInspection,
  names: ReadonlyMap<string, number>,
  node: NodeId,
): KnownDataset {
  const { dataset_id: id, metadata, primary } = configuration;
  const name = nameOf(metadata) ?? null;
  const here = primary.toLowerCase() === node && status === 'mounted';
  return {
    id: id.toLowerCase(),
    name,
    profile: metadata[PROFILE_KEY] ?? null,
    sizeBytes: state?.maximum_size ?? configuration.maximum_size ?? DEFAULT_SIZE_BYTES,
    idleHere: here && lease === null && name !== null && names.get(name) === 1,
  };
}

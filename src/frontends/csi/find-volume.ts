import type { DatasetConfiguration } from '../../api/datasets.ts';
import type { DatasetInspection } from '../../api/inspection.ts';
import { type DatasetId, type NodeId, parseDatasetId, parseNodeId } from '../../kit/ids.ts';
import { DEFAULT_SIZE_BYTES, FILESYSTEM_KEY, nameOf, PROFILE_KEY } from '../../model/dataset.ts';
import { blockBytesOf } from './block-size.ts';
import type { Access } from './capabilities.ts';
import { type ContentSource, sourceIn } from './content-source.ts';
import { CsiError } from './csi-error.ts';
import type { CsiWorld } from './csi-world.ts';

/** A volume of the cluster, as CSI speaks of it. */
export interface FoundVolume {
  readonly id: DatasetId;
  /** Undefined for a dataset that was made without one. */
  readonly name: string | undefined;
  readonly primary: NodeId | undefined;
  readonly access: Access;
  /** As callers count it, bytes: of a block volume the size of the device. */
  readonly sizeBytes: number;
  readonly profile: string | undefined;
  readonly filesystem: string | undefined;
  readonly source: ContentSource | undefined;
  /** Why it is not as configured; undefined when it is, or the server does not say. */
  readonly problem: DatasetInspection['problem'] | undefined;
}

type Finder = Pick<CsiWorld, 'client'>;

/** The volume with this id or name; undefined when there is none. Fails when several have the name. */
export async function findVolume(
  { client }: Finder,
  volumeId: string,
  signal: AbortSignal,
): Promise<FoundVolume | undefined> {
  const id = parseDatasetId(volumeId);
  if (id !== undefined) {
    const found = (await client.hasAdditions(signal))
      ? await client.inspectDataset(id, signal)
      : await configured(client, id, signal);
    if (found !== undefined && !found.configuration.deleted) return foundVolume(found.configuration, found.problem);
  }
  // No volume has such a name.
  if (volumeId.length > 1024 || volumeId.includes('/')) return undefined;
  return findByName({ client }, volumeId, signal);
}

/** The volume with this name; undefined when there is none. Fails when several have it. */
export async function findByName(
  { client }: Finder,
  name: string,
  signal: AbortSignal,
): Promise<FoundVolume | undefined> {
  const { datasets } = await client.findByName(name, signal);
  const [first, ...more] = datasets;
  if (more.length > 0) {
    const ids = datasets.map((dataset) => dataset.dataset_id).join(', ');
    throw new CsiError(
      'FAILED_PRECONDITION',
      `volume ${name}: several datasets have this name: ${ids}. Use the id of the one that is meant, or delete the others`,
    );
  }
  return first === undefined ? undefined : foundVolume(first, undefined);
}

/** As {@link findVolume}; fails with `NOT_FOUND`. */
export async function requireVolume(world: Finder, volumeId: string, signal: AbortSignal): Promise<FoundVolume> {
  const found = await findVolume(world, volumeId, signal);
  if (found === undefined) throw new CsiError('NOT_FOUND', `there is no volume ${volumeId}`);
  return found;
}

export function foundVolume(
  configuration: DatasetConfiguration,
  problem: DatasetInspection['problem'] | undefined,
): FoundVolume {
  const { dataset_id, metadata, primary, maximum_size } = configuration;
  const id = parseDatasetId(dataset_id);
  const blockBytes = blockBytesOf(metadata, maximum_size);
  if (id === undefined)
    throw new CsiError('FAILED_PRECONDITION', `the volume has the id ${dataset_id}, which is no UUIDv4`);
  return {
    id,
    name: nameOf(metadata),
    primary: parseNodeId(primary),
    access: blockBytes === undefined ? 'mount' : 'block',
    sizeBytes: blockBytes ?? maximum_size ?? DEFAULT_SIZE_BYTES,
    profile: metadata[PROFILE_KEY],
    filesystem: metadata[FILESYSTEM_KEY],
    source: sourceIn(metadata),
    problem,
  };
}

async function configured(
  client: CsiWorld['client'],
  id: DatasetId,
  signal: AbortSignal,
): Promise<{ configuration: DatasetConfiguration; problem: undefined } | undefined> {
  const { datasets } = await client.listDatasets(signal);
  const configuration = datasets.find(({ dataset_id }) => dataset_id.toLowerCase() === id);
  return configuration === undefined ? undefined : { configuration, problem: undefined };
}

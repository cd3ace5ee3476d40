import { errorCode } from '../../kit/coded-error.ts';
import { type DatasetId, derivedUuid, type NodeId, parseDatasetId, parseNodeId } from '../../kit/ids.ts';
import type { CsiWorld } from './csi-world.ts';

/** On which node a volume is published, as ControllerPublishVolume has it. */
export interface Publication {
  readonly nodeId: NodeId;
  readonly readOnly: boolean;
}

/** All leases at one moment. */
export interface LeasesNow {
  publication(volume: DatasetId): Publication | undefined;
  /** The node that uses the volume, whichever way it came to it. */
  user(volume: DatasetId): NodeId | undefined;
}

type Client = CsiWorld['client'];

/**
 * What is published where. Any node agent may serve the controller, and it may be another one each time, so this has to be
 * with the control service: a publication is a lease that never expires, on an id made from the volume's. The control
 * service grants it to one node only, and it is nobody else's: neither a renewal nor a release of the volume's own lease,
 * which the node takes when it stages, touches it.
 *
 * A second such lease marks a publication as read-only. It is taken before and given up after the first.
 */
export async function readLeases(client: Client, signal: AbortSignal): Promise<LeasesNow> {
  const nodes = new Map<string, NodeId>();
  for (const { dataset_id, node_uuid } of await client.listLeases(signal)) {
    const node = parseNodeId(node_uuid);
    if (node !== undefined) nodes.set(dataset_id.toLowerCase(), node);
  }
  return {
    publication: (volume) => {
      const nodeId = nodes.get(publicationId(volume));
      return nodeId === undefined ? undefined : { nodeId, readOnly: nodes.get(markId(volume)) === nodeId };
    },
    user: (volume) => nodes.get(volume),
  };
}

/** Fails with the client's `lease_held` when the volume is published on another node by then. */
export async function addPublication(
  client: Client,
  volume: DatasetId,
  { nodeId, readOnly }: Publication,
  signal: AbortSignal,
): Promise<void> {
  const take = (id: DatasetId): Promise<void> =>
    client.acquireLease({ datasetId: id, nodeId, expiresSeconds: null }, signal);
  if (readOnly) await take(markId(volume));
  // One may have been left by a publication that was cut off.
  else await drop(client, markId(volume), signal);
  await take(publicationId(volume));
}

/** A volume that is not published is fine. */
export async function removePublication(client: Client, volume: DatasetId, signal: AbortSignal): Promise<void> {
  await drop(client, publicationId(volume), signal);
  await drop(client, markId(volume), signal);
}

/** Ids that have a lease while a volume is in use or published. */
export function leasedIds(volume: DatasetId): DatasetId[] {
  return [volume, publicationId(volume), markId(volume)];
}

async function drop(client: Client, id: DatasetId, signal: AbortSignal): Promise<void> {
  await client.releaseLease(id, signal).catch((error: unknown) => {
    if (errorCode(error) !== 'not_found') throw error;
  });
}

function publicationId(volume: DatasetId): DatasetId {
  return derived('csi publication', volume);
}

function markId(volume: DatasetId): DatasetId {
  return derived('csi read-only publication', volume);
}

function derived(what: string, volume: DatasetId): DatasetId {
  const id = parseDatasetId(derivedUuid(what, volume));
  if (id === undefined) throw new Error('a derived id is a UUIDv4');
  return id;
}

import type { FlockerClient } from '../client/flocker-client.ts';
import type { DatasetId } from '../kit/ids.ts';

/** Says in words which node holds the lease of a dataset and until when. */
export async function describeLeaseHolder(
  client: FlockerClient,
  datasetId: DatasetId,
  signal: AbortSignal,
): Promise<string> {
  const [leases, nodes] = await Promise.all([client.listLeases(signal), client.listNodes(signal)]);
  const lease = leases.find((one) => one.dataset_id.toLowerCase() === datasetId);
  if (lease === undefined) return 'another node held its lease a moment ago';
  const host = nodes.find((node) => node.uuid === lease.node_uuid)?.host;
  const where = host === undefined ? 'which does not report' : `host ${host}`;
  const until =
    lease.expires === null
      ? 'which never expires'
      : `which expires in ${Math.max(0, Math.ceil(lease.expires))} s unless it is renewed`;
  return `node ${lease.node_uuid} (${where}) uses it and holds its lease, ${until}`;
}

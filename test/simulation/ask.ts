import type { ControlService } from '../../src/control/control-service.ts';
import type { DatasetId, NodeId, SnapshotId } from '../../src/kit/ids.ts';
import { chosen, living } from './choose.ts';
import type { Deed, DeedKind } from './deeds.ts';
import type { SimCluster } from './sim-cluster.ts';
import { DEFAULT_BYTES } from './sim-engine.ts';
import { datasetId, snapshotId } from './sim-ids.ts';

const NO_CONDITIONS = { tags: undefined, nameUnused: undefined };
const MOST_DATASETS = 5;
const MOST_SNAPSHOTS = 4;

interface Request {
  readonly cluster: SimCluster;
  readonly service: ControlService;
  readonly deed: Deed;
  readonly primary: NodeId;
  /** Undefined while there is none. */
  readonly id: DatasetId | undefined;
  readonly snapshot: SnapshotId | undefined;
}

type Answer = Promise<{ readonly status: number }> | undefined;

const REQUESTS: Partial<Record<DeedKind, (request: Request) => Answer>> = {
  create: (request) => make(request),
  clone: (request) => (request.snapshot === undefined ? undefined : make(request, request.snapshot)),
  move: ({ service, id, primary }) =>
    id === undefined ? undefined : service.moveDataset(id, { primary }, NO_CONDITIONS),
  remove: ({ cluster, service, id }) => {
    if (id === undefined) return undefined;
    cluster.deletions.add(id);
    return succeeded(service.deleteDataset(id, NO_CONDITIONS), () => cluster.acknowledged.deleted.add(id));
  },
  lease: ({ service, id, primary, deed: { way, lastsMs } }) =>
    id === undefined
      ? undefined
      : service.acquireLease({ dataset_id: id, node_uuid: primary, expires: way < 0.3 ? null : 1 + lastsMs / 1000 }),
  releaseLease: ({ service, id }) => (id === undefined ? undefined : service.releaseLease(id)),
  grow: ({ service, id }) => {
    if (id === undefined) return undefined;
    const sizeBytes = service.deployment.dataset(id)?.maximumSizeBytes ?? DEFAULT_BYTES;
    return service.resizeDataset(id, { maximum_size: sizeBytes + 2 ** 20 }, NO_CONDITIONS);
  },
  snapshot: ({ cluster: { snapshotIds, deletions }, service, id }) => {
    if (id === undefined || living(snapshotIds, deletions).length >= MOST_SNAPSHOTS) return undefined;
    const made = snapshotId(snapshotIds.length);
    snapshotIds.push(made);
    return service.snapshots.create({ dataset_id: id, snapshot_id: made });
  },
  removeSnapshot: ({ cluster, service, snapshot }) => {
    if (snapshot === undefined) return undefined;
    cluster.deletions.add(snapshot);
    return service.snapshots.remove(snapshot);
  },
};

/** Asks the control service for what a user wants, if it can be reached. */
export function ask(cluster: SimCluster, deed: Deed): void {
  const { service } = cluster.control;
  const primary = cluster.nodes[deed.node]?.id;
  if (service === undefined || primary === undefined) return;
  const id = chosen(cluster.datasetIds, cluster.deletions, deed.subject);
  const snapshot = chosen(cluster.snapshotIds, cluster.deletions, deed.subject);
  const answer = REQUESTS[deed.kind]?.({ cluster, service, deed, primary, id, snapshot });
  void answer?.then(({ status }) => cluster.count(`${deed.kind} answered ${status}`));
}

function make({ cluster, service, primary }: Request, source?: SnapshotId): Answer {
  const { datasetIds, deletions, acknowledged } = cluster;
  if (living(datasetIds, deletions).length >= MOST_DATASETS) return undefined;
  const id = datasetId((cluster.made += 1));
  datasetIds.push(id);
  const body = { primary, dataset_id: id, ...(source === undefined ? {} : { source_snapshot: source }) };
  return succeeded(service.createDataset(body, NO_CONDITIONS), () => acknowledged.made.add(id));
}

async function succeeded<T extends { readonly status: number }>(answer: Promise<T>, then: () => void): Promise<T> {
  const reply = await answer;
  if (reply.status < 300) then();
  return reply;
}

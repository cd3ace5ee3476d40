import type { DatasetConfiguration, DatasetState } from '../../api/datasets.ts';
import type { DatasetInspection } from '../../api/inspection.ts';
import type { NodeState } from '../../api/nodes.ts';
import type { FlockerClient } from '../../client/flocker-client.ts';
import { nameOf } from '../../model/dataset.ts';

/** Where a dataset stands, in the words of contract 6.1. */
export type ListStatus = 'attached' | 'detached' | 'pending' | 'deleting' | 'deleted';

/** A dataset as `list` shows it. */
export interface DatasetView {
  readonly configuration: DatasetConfiguration;
  readonly name: string | undefined;
  readonly status: ListStatus;
  /** The configured primary, while it reports. */
  readonly server: NodeState | undefined;
  /** Where the volume is mounted now. */
  readonly state: Omit<DatasetState, 'dataset_id'> | undefined;
  /** Undefined on servers without our additions. */
  readonly inspection: DatasetInspection | undefined;
}

/** Every dataset, by name and then by id. Asks a foreign server only what the original's has. */
export async function viewDatasets(client: FlockerClient, signal: AbortSignal): Promise<DatasetView[]> {
  const [inspections, nodes] = await Promise.all([client.inspectDatasets(signal), client.listNodes(signal)]);
  const nodeByUuid = new Map(nodes.map((node) => [node.uuid, node]));
  const views =
    inspections === undefined
      ? await viewsOfLists(client, nodeByUuid, signal)
      : inspections.map((inspection) =>
          view(inspection.configuration, inspection.state ?? undefined, nodeByUuid, inspection),
        );
  return views.sort((a, b) => compare(a.name ?? '', b.name ?? '') || compare(idOf(a), idOf(b)));
}

async function viewsOfLists(
  client: FlockerClient,
  nodes: ReadonlyMap<string, NodeState>,
  signal: AbortSignal,
): Promise<DatasetView[]> {
  const [{ datasets }, states] = await Promise.all([client.listDatasets(signal), client.listDatasetStates(signal)]);
  const stateById = new Map<string, DatasetState>();
  for (const state of states) {
    // A dataset may be listed mounted and not mounted for a moment (contract 1.5).
    if (stateById.get(state.dataset_id)?.primary === undefined) stateById.set(state.dataset_id, state);
  }
  return datasets.map((dataset) => view(dataset, stateById.get(dataset.dataset_id), nodes, undefined));
}

function view(
  configuration: DatasetConfiguration,
  state: DatasetView['state'],
  nodes: ReadonlyMap<string, NodeState>,
  inspection: DatasetInspection | undefined,
): DatasetView {
  // An inspection knows of volumes that no node reports at present.
  const exists = inspection === undefined ? state !== undefined : inspection.status !== 'deleted';
  const attached = state?.primary !== undefined && nodes.has(state.primary);
  const whileWanted = state === undefined ? 'pending' : attached ? 'attached' : 'detached';
  return {
    configuration,
    name: nameOf(configuration.metadata),
    status: configuration.deleted ? (exists ? 'deleting' : 'deleted') : whileWanted,
    server: nodes.get(configuration.primary),
    state,
    inspection,
  };
}

function idOf({ configuration }: DatasetView): string {
  return configuration.dataset_id;
}

function compare(a: string, b: string): number {
  return a < b ? -1 : Number(a > b);
}

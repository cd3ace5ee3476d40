import type { DatasetInspection } from '../../api/inspection.ts';
import type { NodeState } from '../../api/nodes.ts';
import type { SnapshotView } from '../../api/snapshots.ts';
import { ClientError } from '../../client/flocker-client.ts';
import { nameOf } from '../../model/dataset.ts';
import { bytesText, shareText } from './figures.ts';
import { findDataset, idOf } from './lookup.ts';
import { paintFor } from './paint.ts';
import { type Session, writeJson } from './session.ts';
import { snapshotLine } from './snapshot-view.ts';
import { printable } from './text-width.ts';
import { writeFields } from './write-table.ts';

/** `inspect`: all that is known of one volume. */
export async function inspectDataset(
  session: Session,
  _options: unknown,
  [selector = '']: readonly string[],
): Promise<void> {
  const { client, signal } = session;
  const { datasets } = await client.listDatasets(signal);
  const id = idOf(findDataset(selector, datasets));
  const [inspection, snapshots, nodes] = await Promise.all([
    client.inspectDataset(id, signal),
    client.listSnapshots({ datasetId: id }, signal),
    client.listNodes(signal),
  ]);
  if (inspection === undefined) throw new ClientError('not_found', `dataset ${id} has left the configuration`);
  if (session.json) writeJson(session, { ...inspection, snapshots });
  else writeInspection(session, inspection, snapshots, nodes);
}

function writeInspection(
  session: Session,
  { configuration, status, state, holder, lease, usage, source_snapshot, growth, copy, problem }: DatasetInspection,
  snapshots: readonly SnapshotView[],
  nodes: readonly NodeState[],
): void {
  const paint = paintFor(session.environment);
  const hosts = new Map(nodes.map(({ uuid, host }) => [uuid, host]));
  const node = (uuid: string): string => printable(`${uuid} (${hosts.get(uuid) ?? 'not reporting'})`);
  const pairs = Object.entries(configuration.metadata).map(([key, value]) => `${key}=${value}`);
  const real = state?.maximum_size;
  const configured = configuration.maximum_size;
  const size = configured === undefined ? 'no quota' : bytesText(configured);
  const whole =
    usage === undefined || usage.used === null || usage.available === null ? null : usage.used + usage.available;
  writeFields(session, [
    ['volume', printable(nameOf(configuration.metadata) ?? '-')],
    ['dataset', printable(configuration.dataset_id)],
    ['status', paint(status === 'mounted' ? 'green' : 'yellow', status)],
    ['size', real === undefined || real === configured ? size : `${size} (has ${bytesText(real)})`],
    [
      'used',
      usage === undefined
        ? undefined
        : `${bytesText(usage.used)} (${shareText(usage.used, whole)}), ${bytesText(usage.available)} free`,
    ],
    ['primary', node(configuration.primary)],
    ['held by', holder === null ? undefined : node(holder)],
    [
      'mounted',
      state?.primary === undefined ? undefined : printable(`on ${node(state.primary)} at ${state.path ?? '?'}`),
    ],
    ['lease', lease === null ? undefined : `${node(lease.node_uuid)}, ${expiryText(lease.expires)}`],
    ['made from', source_snapshot === undefined ? undefined : `snapshot ${printable(source_snapshot)}`],
    ['metadata', pairs.length === 0 ? undefined : printable(pairs.join(','))],
    ...snapshots.map((snapshot): [string, string] => ['snapshot', snapshotLine(snapshot)]),
    [
      'copied',
      copy === undefined ? undefined : `from ${node(copy.from)}: ${bytesText(copy.bytes)} of ${bytesText(copy.total)}`,
    ],
    ['growth', growth === undefined ? undefined : paint('yellow', printable(growth.message))],
    ['problem', problem === null ? undefined : paint('red', printable(problem.message))],
  ]);
}

function expiryText(expires: number | null): string {
  return expires === null ? 'never expires' : `expires in ${Math.ceil(expires)} s`;
}

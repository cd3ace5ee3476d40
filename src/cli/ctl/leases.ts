import type { LeaseBody } from '../../api/leases.ts';
import { parseDatasetId } from '../../kit/ids.ts';
import { nameOf } from '../../model/dataset.ts';
import { CtlError } from './ctl-error.ts';
import { shortened } from './list.ts';
import { findDataset } from './lookup.ts';
import { type Session, writeJson } from './session.ts';
import { printable } from './text-width.ts';
import { writeTable } from './write-table.ts';

/** `leases`: who uses which volume, as far as the control service was told. */
export async function listLeases(session: Session, options: { readonly long?: true }): Promise<void> {
  const { client, signal, environment, json } = session;
  const [leases, { datasets }, nodes] = await Promise.all([
    client.listLeases(signal),
    client.listDatasets(signal),
    client.listNodes(signal),
  ]);
  const names = new Map(datasets.map((dataset) => [dataset.dataset_id, nameOf(dataset.metadata)]));
  const hosts = new Map(nodes.map(({ uuid, host }) => [uuid, host]));
  const wallMs = environment.clock.wallMs();
  const endOf = ({ expires }: LeaseBody): string | null =>
    expires === null ? null : new Date(wallMs + expires * 1000).toISOString();
  if (json) {
    writeJson(
      session,
      leases.map((lease) => ({
        dataset_id: lease.dataset_id,
        name: names.get(lease.dataset_id) ?? null,
        node_uuid: lease.node_uuid,
        host: hosts.get(lease.node_uuid) ?? null,
        expires_at: endOf(lease),
      })),
    );
    return;
  }
  const long = options.long === true;
  const rows = leases.map(({ dataset_id, node_uuid, expires }) => [
    { text: printable(dataset_id) },
    { text: printable(names.get(dataset_id) ?? '-') },
    { text: printable(`${shortened(node_uuid, long)} (${hosts.get(node_uuid) ?? 'not reporting'})`) },
    { text: expires === null ? 'never' : `in ${Math.ceil(expires)}s` },
  ]);
  writeTable(session, ['DATASET', 'NAME', 'SERVER', 'EXPIRES'], rows, 1);
}

/** `leases release`: ends a lease, whosever it is. A lease may be on an id that is no dataset's, so whole ids are taken as they are. */
export async function releaseLease(session: Session, options: { readonly dataset: string }): Promise<void> {
  const { client, signal, environment } = session;
  const [leases, { datasets }] = await Promise.all([client.listLeases(signal), client.listDatasets(signal)]);
  const whole = leases.find(({ dataset_id: id }) => id.toLowerCase() === options.dataset.toLowerCase());
  const text = whole?.dataset_id ?? findDataset(options.dataset, datasets).dataset_id;
  const lease = leases.find(({ dataset_id: id }) => id === text);
  if (lease === undefined)
    throw new CtlError('no_match', `nobody has a lease on dataset ${text}; see "flockerctl leases"`);
  const id = parseDatasetId(text);
  if (id === undefined) throw new CtlError('unexpected_answer', `"${text}" is no UUID of a dataset`);
  await client.releaseLease(id, signal);
  if (session.json) writeJson(session, lease);
  else
    environment.stdout.write(
      `released the lease of node ${lease.node_uuid} on dataset ${text}. If a task there still uses the volume, the node takes the lease again.\n`,
    );
}

import { nameOf } from '../../model/dataset.ts';
import { bytesText } from './figures.ts';
import { findDataset, idOf } from './lookup.ts';
import { paintFor } from './paint.ts';
import { type Session, writeJson } from './session.ts';
import { findSnapshot, snapshotIdOf, snapshotLine } from './snapshot-view.ts';
import { printable } from './text-width.ts';
import { writeTable } from './write-table.ts';

export interface CreateSnapshotOptions {
  readonly dataset: string;
  readonly metadata?: Readonly<Record<string, string>>;
  readonly wait?: true;
}

/** `snapshot create`: asks for a snapshot of a volume; with `wait` until it is taken. */
export async function createSnapshot(session: Session, options: CreateSnapshotOptions): Promise<void> {
  const { client, signal } = session;
  const { datasets } = await client.listDatasets(signal);
  const datasetId = idOf(findDataset(options.dataset, datasets));
  const asked = await client.createSnapshot({ datasetId, metadata: options.metadata ?? {} }, signal);
  const waits = options.wait === true;
  const snapshot = waits ? await client.waitForSnapshot(snapshotIdOf(asked), signal) : asked;
  if (session.json) writeJson(session, snapshot);
  else session.environment.stdout.write(`${waits ? 'took' : 'asked for'} snapshot ${snapshotLine(snapshot)}\n`);
}

/** `snapshot list`: all snapshots, or those of one volume. */
export async function listSnapshots(session: Session, options: { readonly dataset?: string }): Promise<void> {
  const { client, signal, environment, json } = session;
  const { datasets } = await client.listDatasets(signal);
  const filter = options.dataset === undefined ? {} : { datasetId: idOf(findDataset(options.dataset, datasets)) };
  const snapshots = await client.listSnapshots(filter, signal);
  if (json) {
    writeJson(session, snapshots);
    return;
  }
  const names = new Map(datasets.map((dataset) => [dataset.dataset_id, nameOf(dataset.metadata)]));
  const paint = paintFor(environment);
  const rows = snapshots.map(({ snapshot_id, dataset_id, metadata, status, size, taken, problem }) => [
    { text: printable(snapshot_id) },
    { text: printable(metadata['name'] ?? '-') },
    { text: printable(names.get(dataset_id) ?? dataset_id) },
    { text: status, paint: (text: string) => paint(status === 'ready' ? 'green' : 'yellow', text) },
    { text: bytesText(size) },
    { text: taken ?? '-' },
    { text: printable(problem?.message ?? '') },
  ]);
  writeTable(session, ['SNAPSHOT', 'NAME', 'VOLUME', 'STATUS', 'SIZE', 'TAKEN', ''], rows, 6);
}

export interface DestroySnapshotOptions {
  readonly snapshot: string;
  readonly wait?: true;
}

/** `snapshot destroy`: deletes a snapshot; with `wait` until it is gone from the pool. */
export async function destroySnapshot(session: Session, options: DestroySnapshotOptions): Promise<void> {
  const { client, signal } = session;
  const id = snapshotIdOf(findSnapshot(options.snapshot, await client.listSnapshots({}, signal)));
  const deleted = await client.deleteSnapshot(id, signal);
  if (options.wait === true) await client.waitUntilSnapshotGone(id, signal);
  const text = `snapshot ${deleted.snapshot_id}`;
  if (session.json) writeJson(session, deleted);
  else session.environment.stdout.write(options.wait === true ? `destroyed ${text}\n` : `marked ${text} as deleted.\n`);
}

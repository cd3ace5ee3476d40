import { viewJson } from './dataset-json.ts';
import { type DatasetView, type ListStatus, viewDatasets } from './dataset-view.ts';
import { type Paint, paintFor } from './paint.ts';
import { type Session, writeJson } from './session.ts';
import type { Cell } from './table.ts';
import { printable } from './text-width.ts';
import { writeTable } from './write-table.ts';

export interface ListOptions {
  readonly deleted?: true;
  readonly long?: true;
}

const SHORT_UUID = 8;
const GIB = 2 ** 30;

const STATUS_TEXTS: Readonly<Record<ListStatus, string>> = {
  attached: 'attached ✅',
  detached: 'detached',
  pending: 'pending ⌛',
  deleting: 'deleting',
  deleted: 'deleted',
};
const STATUS_COLOURS = {
  attached: 'green',
  detached: 'yellow',
  pending: 'yellow',
  deleting: 'red',
  deleted: 'dim',
} as const;

/** `list`: the table of contract 6.1, and below it why volumes are not as configured. */
export async function listDatasets(session: Session, options: ListOptions): Promise<void> {
  const { client, signal, environment } = session;
  const all = await viewDatasets(client, signal);
  const views = all.filter(({ status }) => options.deleted === true || status !== 'deleted');
  if (session.json) {
    const wallMs = environment.clock.wallMs();
    writeJson(
      session,
      views.map((view) => viewJson(view, wallMs)),
    );
    return;
  }
  const paint = paintFor(environment);
  const { stdout } = environment;
  const rows = views.map((view) => rowOf(view, options.long === true, paint));
  writeTable(session, ['DATASET', 'SIZE', 'METADATA', 'STATUS', 'SERVER'], rows, 2);
  const problems = views.flatMap((view) => problemLine(view, paint));
  if (problems.length > 0) stdout.write(`${problems.join('\n')}\n\n`);
}

function rowOf({ configuration, status, server }: DatasetView, long: boolean, paint: Paint): Cell[] {
  const { maximum_size: sizeBytes, metadata } = configuration;
  const pairs = Object.entries(metadata).map(([key, value]) => `${key}=${value}`);
  return [
    { text: printable(configuration.dataset_id) },
    { text: sizeBytes === undefined ? '<no quota>' : `${(sizeBytes / GIB).toFixed(2)}G` },
    { text: printable(pairs.join(',')) },
    { text: STATUS_TEXTS[status], paint: (text) => paint(STATUS_COLOURS[status], text) },
    { text: server === undefined ? '<missing>' : printable(`${shortened(server.uuid, long)} (${server.host})`) },
  ];
}

function problemLine({ configuration, inspection }: DatasetView, paint: Paint): string[] {
  const problem = inspection?.problem;
  if (problem === null || problem === undefined) return [];
  const mark = problem.needs_action ? `${paint('red', 'needs action')}: ` : '';
  return [`${configuration.dataset_id.slice(0, SHORT_UUID)}: ${mark}${printable(problem.message)}`];
}

/** A UUID as the tables show it. */
export function shortened(uuid: string, long: boolean): string {
  return long ? uuid : uuid.slice(0, SHORT_UUID);
}

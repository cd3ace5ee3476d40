import { shortened } from './list.ts';
import { paintFor } from './paint.ts';
import { type Session, writeJson } from './session.ts';
import { formatTable } from './table.ts';
import { printable } from './text-width.ts';

/** `list-nodes`: the table of contract 6.1, and below it which nodes are away. */
export async function listNodes(session: Session, options: { readonly long?: true }): Promise<void> {
  const { client, signal, environment, json } = session;
  const [states, inspections] = await Promise.all([client.listNodes(signal), client.inspectNodes(signal)]);
  const inspectionByUuid = new Map((inspections ?? []).map((inspection) => [inspection.uuid, inspection]));
  const nodes = states.sort((a, b) => (a.uuid < b.uuid ? -1 : 1));
  if (json) {
    writeJson(
      session,
      nodes.map((node) => ({ ...node, ...inspectionByUuid.get(node.uuid) })),
    );
    return;
  }
  const long = options.long === true;
  const rows = nodes.map(({ uuid, host }) => [{ text: shortened(uuid, long) }, { text: printable(host) }]);
  const header = [{ text: 'SERVER' }, { text: 'ADDRESS' }];
  environment.stdout.write(formatTable([header, ...rows], { maxWidth: undefined, elastic: 1 }));
  const paint = paintFor(environment);
  const away = nodes.flatMap(({ uuid, host }) => {
    const inspection = inspectionByUuid.get(uuid);
    if (inspection === undefined || inspection.connected) return [];
    const what = paint('red', `away, not heard since ${inspection.last_heard}`);
    return [`${shortened(uuid, long)} (${printable(host)}): ${what}`];
  });
  if (away.length > 0) environment.stdout.write(`${away.join('\n')}\n\n`);
}

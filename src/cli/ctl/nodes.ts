import type { NodeInspection } from '../../api/nodes.ts';
import { ClientError } from '../../client/flocker-client.ts';
import { agoText } from './figures.ts';
import { shortened } from './list.ts';
import { paintFor } from './paint.ts';
import { type Session, writeJson } from './session.ts';
import { printable } from './text-width.ts';
import { writeTable } from './write-table.ts';

/** `nodes`: every node that ever reported, whether its agent is connected, what it stores on. */
export async function showNodes(session: Session, options: { readonly long?: true }): Promise<void> {
  const { client, signal, environment } = session;
  const [inspections, datasets] = await Promise.all([client.inspectNodes(signal), client.inspectDatasets(signal)]);
  if (inspections === undefined || datasets === undefined)
    throw new ClientError(
      'not_supported',
      'This server does not tell about nodes; "flockerctl list-nodes" lists them.',
    );
  const held = new Map<string, number>();
  for (const { holder } of datasets) if (holder !== null) held.set(holder, (held.get(holder) ?? 0) + 1);
  const nodes = inspections.toSorted((a, b) => (a.uuid < b.uuid ? -1 : 1));
  if (session.json) {
    writeJson(
      session,
      nodes.map((node) => ({ ...node, volumes: held.get(node.uuid) ?? 0 })),
    );
    return;
  }
  const paint = paintFor(environment);
  const wallMs = environment.clock.wallMs();
  const state = ({ connected, declared_dead, last_heard }: NodeInspection): string =>
    declared_dead !== undefined
      ? `declared dead ${agoText(declared_dead, wallMs)} ago`
      : connected
        ? 'connected'
        : `away for ${agoText(last_heard, wallMs)}`;
  const withMesos = nodes.some(({ mesos_agents: agents }) => agents !== undefined);
  const rows = nodes.map((node) => [
    { text: shortened(node.uuid, options.long === true) },
    { text: printable(node.host) },
    { text: state(node), paint: (text: string) => paint(node.connected ? 'green' : 'red', text) },
    { text: String(held.get(node.uuid) ?? 0) },
    { text: printable(node.backend) },
    { text: printable(shortened(node.pool, options.long === true)) },
    { text: printable(node.profiles.join(',')) },
    { text: printable(node.version) },
    ...(withMesos ? [{ text: printable(mesosAgents(node, options.long === true)) }] : []),
  ]);
  const header = ['SERVER', 'ADDRESS', 'AGENT', 'VOLUMES', 'BACKEND', 'POOL', 'PROFILES', 'VERSION'];
  writeTable(session, [...header, ...(withMesos ? ['MESOS AGENT'] : [])], rows, 6);
}

/** Which agents of Mesos are on a node, so that it is seen in time when none is, or when nobody knows whose one is. */
function mesosAgents({ mesos_agents: agents }: NodeInspection, long: boolean): string {
  if (agents === undefined) return '';
  if (agents.length === 0) return 'none known';
  return agents
    .map(({ id, hostname, also_fits: others = [] }) =>
      others.length === 0
        ? `${hostname} (${id})`
        : `${hostname} (${id}; fits ${others.map((other) => shortened(other, long)).join(', ')} too)`,
    )
    .join(', ');
}

import { ClientError } from '../../client/flocker-client.ts';
import { type NodeId, parseNodeId } from '../../kit/ids.ts';
import { CtlError } from './ctl-error.ts';
import { findNode } from './lookup.ts';
import { type Session, writeJson } from './session.ts';

/** `node declare-dead`: lets other nodes have what a node has that is gone for good, or for too long. */
export async function declareNodeDead(
  session: Session,
  options: { readonly yes?: true },
  [text = '']: readonly string[],
): Promise<void> {
  const { client, signal, environment } = session;
  const { id, host } = await nodeOf(session, text);
  if (options.yes !== true) {
    throw new CtlError(
      'not_confirmed',
      `make sure that ${host} (${id}) is switched off, or cut off from the storage: if it goes on writing, volumes are ` +
        'damaged. Then repeat this with --yes',
    );
  }
  const death = await client.declareNodeDead(id, signal);
  if (session.json) {
    writeJson(session, death);
    return;
  }
  environment.stdout.write(
    `${host} (${id}) is declared dead since ${death.declared_dead}. ` +
      `Now taken from it: ${counted(death.datasets.length, 'volume')}, ${counted(death.leases.length, 'lease')}. ` +
      'Move its volumes, or start their tasks on other nodes. It gets nothing until its agent has come back and let go of everything.\n',
  );
}

/** A node that was heard lately is found as anywhere; one that was not, as after a restart of the control service, by its whole UUID. */
async function nodeOf(
  { client, signal }: Session,
  text: string,
): Promise<{ readonly id: NodeId; readonly host: string }> {
  const nodes = await client.inspectNodes(signal);
  if (nodes === undefined)
    throw new ClientError('not_supported', 'This server cannot give the volumes of a dead node to others.');
  const whole = parseNodeId(text);
  if (whole !== undefined && !nodes.some(({ uuid }) => uuid === whole)) return { id: whole, host: 'the node' };
  return findNode(text, nodes);
}

function counted(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? '' : 's'}`;
}

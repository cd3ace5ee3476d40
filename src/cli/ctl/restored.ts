import { CtlError } from './ctl-error.ts';
import { shortened } from './list.ts';
import { type Session, writeJson } from './session.ts';

const CONFIRM =
  'No new volumes are made until you confirm it. When every node is connected ("flockerctl nodes"), or surely off:\n' +
  '  flockerctl restored confirm --yes\n';

/** `restored`: what is in doubt since a backup was restored, and what nodes have that the backup did not know. */
export async function showRestored(session: Session): Promise<void> {
  const { client, signal, environment } = session;
  const view = await client.restoredState(signal);
  if (session.json) {
    writeJson(session, view);
    return;
  }
  const { restored, unconfirmed, unknown } = view;
  const { stdout } = environment;
  if (restored === null && unconfirmed.length === 0 && unknown.length === 0) {
    stdout.write('Nothing is in doubt.\n');
    return;
  }
  if (restored !== null) stdout.write(`A backup was restored at ${restored}.\n`);
  stdout.write(
    unconfirmed.length === 0
      ? `Every dataset in it was found or confirmed.\n${restored === null ? '' : CONFIRM}`
      : `No node has reported that it has these ${unconfirmed.length} datasets, so none gets them:\n` +
          unconfirmed.map((id) => `  ${id}\n`).join('') +
          CONFIRM,
  );
  if (unknown.length === 0) return;
  stdout.write(
    'Nodes have volumes that the control service does not know. They stay as they are; to take one in, create it with its id:\n' +
      unknown
        .map(
          (one) =>
            `  flockerctl create --node ${shortened(one.node_uuid, false)} --dataset-id ${one.dataset_id} -m name=NAME\n`,
        )
        .join(''),
  );
}

/** `restored confirm`: what no node reported, no node has. */
export async function confirmRestored(session: Session, options: { readonly yes?: true }): Promise<void> {
  const { client, signal, environment } = session;
  if (options.yes !== true) {
    throw new CtlError(
      'not_confirmed',
      'make sure that every node that may have a volume is connected ("flockerctl nodes"), or is switched off: a node that is forgotten ' +
        'goes on writing. Then repeat this with --yes',
    );
  }
  const { confirmed, waiting } = await client.confirmRestored(signal);
  if (session.json) {
    writeJson(session, { confirmed, waiting });
    return;
  }
  environment.stdout.write(
    `${confirmed.length} datasets are again as the backup says.` +
      `${waiting.length === 0 ? '' : ` Nodes are busy with ${waiting.length} more: repeat this.`}\n`,
  );
}

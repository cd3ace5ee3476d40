import { finishChange } from './finish-change.ts';
import { findDataset, idOf } from './lookup.ts';
import type { Session } from './session.ts';
import { settleGone } from './settle.ts';

export interface DestroyOptions {
  readonly dataset: string;
  readonly wait?: true;
}

/** `destroy`: marks a dataset as deleted; its data are destroyed as soon as no lease holds them. */
export async function destroyDataset(session: Session, options: DestroyOptions): Promise<void> {
  const { client, signal } = session;
  const { datasets } = await client.listDatasets(signal);
  const id = idOf(findDataset(options.dataset, datasets));
  const configuration = await client.deleteDataset(id, { kind: 'none' }, signal);
  await finishChange(session, {
    configuration,
    text: 'marked dataset as deleted. poll list manually to see it disappear.',
    waitingText: 'marked dataset as deleted.',
    settle: options.wait === true ? () => settleGone(session, configuration) : undefined,
  });
}

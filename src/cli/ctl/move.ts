import { finishChange } from './finish-change.ts';
import { findDataset, findNode, idOf } from './lookup.ts';
import type { Session } from './session.ts';
import { settleMounted } from './settle.ts';

export interface MoveOptions {
  readonly dataset: string;
  readonly destination: string;
  readonly wait?: true;
}

/** `move`: configures a dataset onto another node. */
export async function moveDataset(session: Session, options: MoveOptions): Promise<void> {
  const { client, signal } = session;
  const [nodes, { datasets }] = await Promise.all([client.listNodes(signal), client.listDatasets(signal)]);
  const id = idOf(findDataset(options.dataset, datasets));
  const node = findNode(options.destination, nodes);
  const configuration = await client.moveDataset(id, node.id, { kind: 'none' }, signal);
  await finishChange(session, {
    configuration,
    text: 'initiated move of dataset, please check state to observe it actually move.',
    waitingText: 'initiated move of dataset.',
    settle: options.wait === true ? () => settleMounted(session, configuration, node) : undefined,
  });
}

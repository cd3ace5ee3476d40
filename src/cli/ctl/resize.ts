import { formatSize } from '../../kit/sizes.ts';
import { finishChange } from './finish-change.ts';
import { findDataset, idOf } from './lookup.ts';
import type { Session } from './session.ts';

export interface ResizeOptions {
  readonly dataset: string;
  /** Bytes. */
  readonly size: number;
  readonly wait?: true;
}

/** `resize`: makes a volume larger. */
export async function resizeDataset(session: Session, options: ResizeOptions): Promise<void> {
  const { client, signal } = session;
  const { datasets } = await client.listDatasets(signal);
  const id = idOf(findDataset(options.dataset, datasets));
  const configuration = await client.resizeDataset(id, options.size, signal);
  const settle = async (): Promise<{ text: string; fields: Record<string, unknown> }> => {
    const realBytes = await client.waitUntilGrown(id, options.size, signal);
    return { text: `has ${formatSize(realBytes)}`, fields: { real_size: realBytes } };
  };
  await finishChange(session, {
    configuration,
    text: `configured the dataset to ${formatSize(options.size)}; it grows when its node gets to it.`,
    waitingText: `configured the dataset to ${formatSize(options.size)}.`,
    settle: options.wait === true ? settle : undefined,
  });
}

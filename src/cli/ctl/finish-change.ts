import type { DatasetConfiguration } from '../../api/datasets.ts';
import { errorText } from '../../kit/coded-error.ts';
import { configurationJson } from './dataset-json.ts';
import { type Session, writeJson } from './session.ts';
import type { Settled } from './settle.ts';

/** A change that the control service has saved. */
export interface SavedChange {
  readonly configuration: DatasetConfiguration;
  /** What is said when nothing waits, and what is when `settle` does. */
  readonly text: string;
  readonly waitingText: string;
  readonly settle: (() => Promise<Settled>) | undefined;
}

/** Reports a saved change and, if asked to, waits until the cluster has done it. */
export async function finishChange(session: Session, change: SavedChange): Promise<void> {
  const { environment, json } = session;
  const { configuration, settle } = change;
  const say = (text: string): void => {
    if (!json) environment.stdout.write(`${text}\n`);
  };
  say(settle === undefined ? change.text : change.waitingText);
  try {
    const settled = await settle?.();
    if (settled !== undefined) say(settled.text);
    if (json) writeJson(session, { ...configurationJson(configuration), ...settled?.fields });
  } catch (error) {
    // Whoever reads the JSON has to learn the id: the change itself stays.
    if (json) writeJson(session, { ...configurationJson(configuration), error: errorText(error) });
    throw error;
  }
}

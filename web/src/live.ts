import { PATHS } from '../../src/api/paths.ts';
import { readAll } from './api.ts';
import type { Action, Change } from './cluster-state.ts';

const KINDS = ['dataset', 'node', 'storage', 'snapshot'] as const;
/** A browser gives up on a stream that was answered with an error; then it is opened anew after this long. */
const REOPEN_MS = 2_000;

/**
 * Reads everything and then follows the events, until the returned function is called. Whatever may have been missed, as over a
 * restart of the control service, is read anew.
 */
export function follow(dispatch: (action: Action) => void): () => void {
  let stream: EventSource | undefined;
  let timer: number | undefined;
  let reading = 0;
  let isReading = false;
  let over = false;
  /** What came while everything was being read: the answer may be older than it. */
  let meanwhile: Action[] = [];

  const read = async (): Promise<void> => {
    reading += 1;
    const mine = reading;
    meanwhile = [];
    isReading = true;
    try {
      const state = await readAll();
      // A later reading is under way: what this one saw is old.
      if (mine !== reading || over) return;
      dispatch({ kind: 'read', state, atMs: Date.now() });
      for (const action of meanwhile) dispatch(action);
      meanwhile = [];
    } catch {
      if (mine === reading && !over) dispatch({ kind: 'lost' });
    } finally {
      if (mine === reading) isReading = false;
    }
  };
  const open = (): void => {
    stream = new EventSource(PATHS.events);
    stream.addEventListener('open', () => {
      dispatch({ kind: 'found' });
      void read();
    });
    stream.addEventListener('error', () => {
      dispatch({ kind: 'lost' });
      if (stream?.readyState !== EventSource.CLOSED) return;
      timer = window.setTimeout(open, REOPEN_MS);
    });
    stream.addEventListener('reset', () => void read());
    for (const kind of KINDS) {
      stream.addEventListener(kind, ({ data }: MessageEvent<string>) => {
        const change = { kind, value: JSON.parse(data) as unknown } as Change;
        const action: Action = { kind: 'changed', change, atMs: Date.now() };
        if (isReading) meanwhile.push(action);
        dispatch(action);
      });
    }
  };
  open();
  return () => {
    over = true;
    window.clearTimeout(timer);
    stream?.close();
  };
}

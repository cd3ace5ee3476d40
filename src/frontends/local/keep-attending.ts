import { backoffMs } from '../../kit/backoff.ts';
import { type Clock, pause } from '../../kit/clock.ts';
import type { LocalClient, OpenAttendance } from './local-client.ts';

const RETURN = { firstMs: 50, factor: 2, longestMs: 1_000 };

/** Attends a holder, and again whenever the agent was restarted, until closed. Fails when the first time fails. */
export async function keepAttending(
  client: LocalClient,
  holderId: string,
  clock: Clock,
  signal: AbortSignal,
): Promise<{ close(): void }> {
  const over = new AbortController();
  // The request lives as long as the connection, so only the beginning may depend on the caller's signal.
  const onAbort = (): void => over.abort(signal.reason);
  if (signal.aborted) onAbort();
  signal.addEventListener('abort', onAbort, { once: true });
  let open: OpenAttendance;
  try {
    open = await client.attend(holderId, over.signal);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
  const stay = async (): Promise<void> => {
    for (let attempt = 0; !over.signal.aborted; ) {
      await open.lost;
      try {
        // Several clients of one agent need not come back in step: there is one agent, on this machine.
        await pause(
          clock,
          backoffMs(RETURN, attempt, () => 0.5),
          over.signal,
        );
        open = await client.attend(holderId, over.signal);
        attempt = 0;
      } catch {
        attempt += 1;
      }
    }
  };
  void stay();
  return {
    close: () => {
      over.abort(new Error('no longer attending'));
      open.close();
    },
  };
}

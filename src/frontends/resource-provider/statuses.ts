import type { Draft } from './draft.ts';
import type { StoredOperation } from './mesos-messages.ts';
import { statusCall } from './operation-calls.ts';

/** First after 10 s, doubling to 10 min, as Mesos's own status update manager. */
const FIRST_RETRY_MS = 10_000;
const LONGEST_RETRY_MS = 600_000;

/** Sends the status of an operation that has ended, and sees to it that it is sent again until it is acknowledged. */
export function sendStatus(draft: Draft, operation: StoredOperation): void {
  if (operation.status === null || draft.versionUuid === null) return;
  const count = draft.state.sent.get(operation.uuid) ?? 0;
  draft.send(statusCall(draft.record, operation));
  draft.state = { ...draft.state, sent: new Map(draft.state.sent).set(operation.uuid, count + 1) };
  const delayMs = Math.min(LONGEST_RETRY_MS, FIRST_RETRY_MS * 2 ** count);
  draft.act({ kind: 'retryLater', operation: operation.uuid, delayMs });
}

/** Forgets an operation that is acknowledged. It may be acknowledged twice. */
export function acknowledged(draft: Draft, operationUuid: string, statusUuid: string): void {
  const { operations } = draft.record;
  const found = operations.find(({ uuid }) => uuid === operationUuid);
  if (found?.status?.uuid !== statusUuid) return;
  draft.change({ operations: operations.filter((operation) => operation !== found) });
  const sent = new Map(draft.state.sent);
  sent.delete(operationUuid);
  draft.state = { ...draft.state, sent };
}

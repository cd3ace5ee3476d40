import type { Draft } from './draft.ts';
import { differsMuch, offeredTotals } from './offered-totals.ts';
import { listedOperation, unknownOperationCall } from './operation-calls.ts';
import { changesRoom, toldTotals } from './pending-operations.ts';
import type { StorageLook } from './provider-state.ts';
import { sendStatus } from './statuses.ts';

/**
 * Tells Mesos everything anew, under a new version. Master and agent take back all offers and drop what is under way under the
 * old version, so it is done only when it must be.
 */
export function tellState(draft: Draft): void {
  const { session } = draft.state;
  if (session.kind === 'away') return;
  const first = session.versionUuid === null;
  // Nothing of ours is on offer while we are away: now it can change without hurting anybody.
  if (first) follow(draft);
  const versionUuid = draft.newUuid();
  draft.state = { ...draft.state, session: { ...session, versionUuid, reconcile: [] } };
  const { record } = draft;
  draft.send({
    type: 'UPDATE_STATE',
    update_state: {
      resource_version_uuid: { value: versionUuid },
      resources: toldTotals(record),
      operations: record.operations.map((operation) => listedOperation(record, operation)),
    },
  });
  if (!first) return;
  for (const operation of record.operations) sendStatus(draft, operation);
  answerReconcile(draft, session.reconcile);
}

/** Only what never came is answered: for all else the status goes out by itself. */
export function reconcile(draft: Draft, uuids: readonly string[]): void {
  const { session } = draft.state;
  if (session.kind === 'away') return;
  if (session.versionUuid !== null) answerReconcile(draft, uuids);
  else draft.state = { ...draft.state, session: { ...session, reconcile: [...session.reconcile, ...uuids] } };
}

function answerReconcile(draft: Draft, uuids: readonly string[]): void {
  const known = new Set(draft.record.operations.map(({ uuid }) => uuid));
  for (const uuid of uuids) if (!known.has(uuid)) draft.send(unknownOperationCall(draft.record, uuid));
}

/**
 * Follows what the storage has, with hysteresis: an agent that gets an operation on something that we have just taken away
 * aborts (contract 1.16: H9). So nothing changes while room is being taken or given back; otherwise only when two looks in
 * turn agree that it should, and not often. At once only when a disk was refused for want of room.
 */
export function looked(draft: Draft, look: StorageLook): void {
  const { state, record, settings } = draft;
  const usable = look.diskEpoch === state.diskEpoch && !changesRoom(record);
  if (usable) draft.state = { ...draft.state, look };
  if (state.session.kind === 'away') return;
  if (state.session.versionUuid === null) return tellState(draft);
  if (!usable) return;
  const wanted = offeredTotals(record, look, settings);
  const differs = differsMuch(record.totals, wanted.totals);
  const rested = state.adjustedAtMs === null || look.atMs - state.adjustedAtMs >= settings.adjustEveryMs;
  const follows = differs && (state.overpromised || (state.differed && rested));
  draft.state = {
    ...draft.state,
    differed: differs && !follows,
    overpromised: state.overpromised && !follows && differs,
  };
  if (!follows) return;
  follow(draft);
  draft.say('info', { free: look.freeBytes }, 'what is offered follows the storage');
  tellState(draft);
}

function follow(draft: Draft): void {
  const { look, diskEpoch } = draft.state;
  if (look === null || look.diskEpoch !== diskEpoch || changesRoom(draft.record)) return;
  const wanted = offeredTotals(draft.record, look, draft.settings);
  if (
    differsMuch(draft.record.totals, wanted.totals) ||
    JSON.stringify(wanted.pools) !== JSON.stringify(draft.record.pools)
  )
    draft.change(wanted);
  draft.state = { ...draft.state, adjustedAtMs: look.atMs, differed: false, overpromised: false };
}

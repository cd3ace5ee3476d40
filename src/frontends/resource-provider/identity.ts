import { tellState } from './decide-offers.ts';
import { PROFILE_LABEL } from './disk.ts';
import type { Draft } from './draft.ts';
import type { Resource, StoredOperation } from './mesos-messages.ts';
import { emptyRecord } from './provider-record.ts';
import type { OfferSettings } from './provider-state.ts';
import { unallocated } from './resource-arithmetic.ts';

/** The agent took us in, under an id that is new or ours. */
export function subscribed(draft: Draft, providerId: string, agentId: string): void {
  const { record } = draft;
  if (record.providerId !== providerId || record.agentId !== agentId) {
    const totals = record.totals.map((resource) => ({ ...resource, provider_id: { value: providerId } }));
    draft.change({ providerId, agentId, totals });
  }
  draft.state = { ...draft.state, session: { kind: 'subscribed', versionUuid: null, reconcile: [] }, sent: new Map() };
  // With nothing to tell but that there is nothing, the storage is looked at first.
  if (draft.state.look !== null || draft.record.totals.length > 0) tellState(draft);
  else draft.act({ kind: 'lookAgain' });
}

/**
 * Another agent knows nothing of our id, of our operations and of what was reserved. The disks and their data are still
 * there, and are offered as disks that exist.
 */
export function identityLost(draft: Draft): void {
  const { record, settings } = draft;
  const disks = record.totals.flatMap((resource) => existingAgain(resource, settings) ?? []);
  const unfinished = record.operations.flatMap((operation) => neverHandedOut(operation, draft));
  draft.change({
    ...emptyRecord(record.type, record.name),
    totals: disks,
    pools: record.pools,
    doomed: [...new Set([...record.doomed, ...unfinished])],
  });
  draft.state = { ...draft.state, session: { kind: 'away' }, sent: new Map(), begun: new Set() };
  for (const datasetId of unfinished) draft.act({ kind: 'doom', datasetId });
  draft.say('warn', { disks: disks.length }, 'the Mesos agent is another one than before: attaching as a new provider');
}

/** The operator of Mesos removed this provider: its id must never be used again. Volumes stay. */
export function tornDown(draft: Draft): void {
  draft.change({ tornDown: true, providerId: null });
  draft.state = { ...draft.state, session: { kind: 'away' }, sent: new Map() };
  draft.say('warn', {}, 'the operator of Mesos removed this provider for good; its volumes are kept');
  draft.act({ kind: 'end' });
}

function existingAgain(resource: Resource, { defaultReservations }: OfferSettings): Resource | undefined {
  const source = resource.disk?.source;
  if (source?.id === undefined) return undefined;
  const { reservations: _r, shared: _s, disk: _d, provider_id: _p, ...rest } = unallocated(resource);
  const { mount: _m, profile, ...bare } = source;
  const labels = source.metadata?.labels ?? [];
  const profiled = profile === undefined || labels.some(({ key }) => key === PROFILE_LABEL);
  return {
    ...rest,
    ...(defaultReservations.length === 0 ? {} : { reservations: [...defaultReservations] }),
    disk: {
      source: {
        ...bare,
        type: 'RAW',
        metadata: { labels: profiled ? labels : [...labels, { key: PROFILE_LABEL, value: profile }] },
      },
    },
  };
}

/** The dataset that was being made for a framework that will never hear of it. */
function neverHandedOut({ status, info, uuid }: StoredOperation, draft: Draft): readonly string[] {
  const isNew = info.type === 'CREATE_DISK' && info.create_disk?.source.disk?.source?.id === undefined;
  return status === null && isNew ? [draft.datasetIdOf(uuid)] : [];
}

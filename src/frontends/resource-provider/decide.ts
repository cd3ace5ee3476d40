import { looked, reconcile, tellState } from './decide-offers.ts';
import { applyOperation, beginWaiting, workEnded } from './decide-operations.ts';
import { diskOf } from './disk.ts';
import { Draft } from './draft.ts';
import { identityLost, subscribed, tornDown } from './identity.ts';
import type { Resource } from './mesos-messages.ts';
import type { DecideSources, Decision, Disk, ProviderEvent, ProviderState } from './provider-state.ts';
import { diskIdOf } from './resource-arithmetic.ts';
import { acknowledged, sendStatus } from './statuses.ts';

/**
 * What a provider does about an event. Pure and total. The record of the new state has to be on disk before any of the
 * actions is done, except `publish` and its answer, which change nothing.
 */
export function decide(state: ProviderState, event: ProviderEvent, sources: DecideSources): Decision {
  const draft = new Draft(state, sources);
  react(draft, event);
  return draft.decision();
}

function react(draft: Draft, event: ProviderEvent): void {
  switch (event.kind) {
    case 'started':
      beginWaiting(draft);
      for (const datasetId of draft.record.doomed) draft.act({ kind: 'doom', datasetId });
      return;
    case 'subscribed':
      return subscribed(draft, event.providerId, event.agentId);
    case 'lost':
      draft.state = { ...draft.state, session: { kind: 'away' }, sent: new Map() };
      return;
    case 'identityLost':
      return identityLost(draft);
    case 'message':
      return heard(draft, event.message);
    case 'worked':
      return workEnded(draft, event.operation, event.outcome);
    case 'published':
      return published(draft, event.publish, event.ok);
    case 'looked':
      return looked(draft, event.look);
    case 'retry':
      return retry(draft, event.operation);
    case 'doomedGone':
      return draft.change({ doomed: draft.record.doomed.filter((one) => one !== event.datasetId) });
    default:
      event satisfies never;
  }
}

function heard(draft: Draft, message: Extract<ProviderEvent, { kind: 'message' }>['message']): void {
  switch (message.kind) {
    case 'apply':
      return applyOperation(draft, message);
    case 'acknowledge':
      return acknowledged(draft, message.operationUuid, message.statusUuid);
    case 'publish':
      return publish(draft, message.uuid, message.resources);
    case 'reconcile':
      return reconcile(draft, message.uuids);
    case 'teardown':
      return tornDown(draft);
    case 'unknown':
      return draft.say('warn', { what: message.what }, 'Mesos sent something that is not understood');
    default:
      message satisfies never;
  }
}

/** All disks that tasks on this agent use: what is not one of ours cannot be mounted. */
function publish(draft: Draft, uuid: string, resources: readonly Resource[]): void {
  const disks = new Map<string, Disk>();
  for (const { disk } of resources) {
    const id = disk?.source?.id;
    const known = draft.record.totals.find((resource) => id !== undefined && diskIdOf(resource) === id);
    const found = known === undefined || known.disk?.source?.type !== 'MOUNT' ? undefined : diskOf(known);
    if (id === undefined || found === undefined) {
      draft.say('warn', { disk: id ?? null }, 'Mesos wants a disk mounted that this provider does not have');
      return published(draft, uuid, false);
    }
    disks.set(id, found);
  }
  draft.act({ kind: 'publish', publish: uuid, disks: [...disks.values()] });
}

function published(draft: Draft, publish: string, ok: boolean): void {
  draft.send({
    type: 'UPDATE_PUBLISH_RESOURCES_STATUS',
    update_publish_resources_status: { uuid: { value: publish }, status: ok ? 'OK' : 'FAILED' },
  });
}

/** The agent relays an acknowledgement only for an operation that it has: after this many it is told of it again. */
const TOLD_AGAIN_AFTER = 3;

function retry(draft: Draft, uuid: string): void {
  const operation = draft.record.operations.find((one) => one.uuid === uuid);
  if (operation === undefined || operation.status === null || draft.versionUuid === null) return;
  const count = draft.state.sent.get(uuid) ?? 0;
  if (count > 0 && count % TOLD_AGAIN_AFTER === 0) tellState(draft);
  sendStatus(draft, operation);
}

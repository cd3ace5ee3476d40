import { formatSize } from '../../kit/sizes.ts';
import { MINIMUM_SIZE_BYTES } from '../../model/dataset.ts';
import { conversionOf, isSpeculative } from './conversion.ts';
import { tellState } from './decide-offers.ts';
import { diskOf, PROFILE_LABEL } from './disk.ts';
import { convertedDisk, convertedPool, volumeName } from './disk-conversion.ts';
import { datasetBytesOf } from './disk-quantity.ts';
import type { Draft } from './draft.ts';
import type { AgentMessage, Resource, StoredOperation, TerminalStatus } from './mesos-messages.ts';
import { disksIn, pendingOf, unusedTotals } from './pending-operations.ts';
import type { Disk, Work, WorkOutcome } from './provider-state.ts';
import { convert, quantityOf } from './resource-arithmetic.ts';
import { sendStatus } from './statuses.ts';

/** Takes an operation in, in the order they come. */
export function applyOperation(draft: Draft, message: Extract<AgentMessage, { kind: 'apply' }>): void {
  const { uuid, frameworkId, info, versionUuid } = message;
  if (draft.record.operations.some((operation) => operation.uuid === uuid)) return;
  const conversion = conversionOf(info);
  const fits =
    typeof conversion !== 'string' && convert(unusedTotals(draft.record), conversion.consumed, []) !== undefined;
  const operation: StoredOperation = { uuid, frameworkId, info, status: null };
  draft.change({ operations: [...draft.record.operations, operation] });
  if (draft.versionUuid === null) {
    refuse(draft, operation, 'OPERATION_DROPPED', 'the resource provider has just come back; try it again');
  } else if (draft.versionUuid !== versionUuid) {
    refuse(draft, operation, 'OPERATION_DROPPED', 'the resources have changed since they were offered; try it again');
  } else if (typeof conversion === 'string') {
    refuse(draft, operation, 'OPERATION_FAILED', conversion);
  } else if (fits) {
    begin(draft, operation);
  } else {
    refuse(
      draft,
      operation,
      'OPERATION_FAILED',
      'the resource provider does not have these resources, or not any more',
    );
  }
}

/** Begins what waited for an operation on the same disk, and after a start whatever was pending. */
export function beginWaiting(draft: Draft): void {
  for (const { uuid } of pendingOf(draft.record)) {
    const operation = pendingOf(draft.record).find((one) => one.uuid === uuid);
    if (operation !== undefined && !draft.state.begun.has(uuid)) begin(draft, operation);
  }
}

/** The work for an operation has ended. */
export function workEnded(draft: Draft, uuid: string, outcome: WorkOutcome): void {
  const operation = pendingOf(draft.record).find((one) => one.uuid === uuid);
  const begun = new Set(draft.state.begun);
  if (operation === undefined || !begun.delete(uuid)) return;
  draft.state = { ...draft.state, begun, diskEpoch: draft.state.diskEpoch + 1 };
  if (outcome.ok) finish(draft, operation);
  else {
    if (outcome.doubtful === true) doom(draft, operation);
    if (outcome.full === true) draft.state = { ...draft.state, overpromised: true };
    refuse(draft, operation, 'OPERATION_FAILED', outcome.message);
    if (outcome.full === true) draft.act({ kind: 'lookAgain' });
  }
  beginWaiting(draft);
}

function begin(draft: Draft, operation: StoredOperation): void {
  const { uuid, info } = operation;
  const conversion = conversionOf(info);
  if (isBlocked(draft, operation) || typeof conversion === 'string') return;
  if (convert(draft.record.totals, conversion.consumed, []) === undefined)
    return refuse(draft, operation, 'OPERATION_FAILED', 'an operation before this one failed');
  const work = workOf(draft, operation, conversion.consumed);
  if (typeof work === 'string') return refuse(draft, operation, 'OPERATION_FAILED', work);
  if (work === null) return finish(draft, operation);
  const begun = new Set(draft.state.begun).add(uuid);
  draft.state = { ...draft.state, begun, diskEpoch: draft.state.diskEpoch + 1 };
  draft.act({ kind: 'work', operation: uuid, work });
}

/** An operation waits for those before it that are about the same disk. */
function isBlocked(draft: Draft, { uuid, info }: StoredOperation): boolean {
  const mine = disksIn(info);
  const pending = pendingOf(draft.record);
  const earlier = pending.slice(
    0,
    pending.findIndex((one) => one.uuid === uuid),
  );
  return earlier.some((other) => [...disksIn(other.info)].some((id) => mine.has(id)));
}

/** What has to be done for it; null when it is only a matter of books, words when it cannot be done. */
function workOf(draft: Draft, { uuid, info }: StoredOperation, consumed: readonly Resource[]): Work | string | null {
  switch (info.type ?? '') {
    case 'DESTROY': {
      const disks = consumed.flatMap((volume): readonly Disk[] => {
        const disk = diskOf(volume);
        return disk === undefined ? [] : [disk];
      });
      return disks.length === consumed.length ? { kind: 'wipe', disks } : 'a volume has no label that names it';
    }
    case 'CREATE_DISK':
      return workOfCreate(draft, uuid, info.create_disk);
    case 'DESTROY_DISK': {
      const source = info.destroy_disk?.source;
      const disk = source === undefined ? undefined : diskOf(source);
      if (disk === undefined) return 'only a disk with an id and the label of its volume can be destroyed';
      return { kind: 'destroy', disk: disk.root === '' ? { ...disk, root: draft.settings.mountRoot } : disk };
    }
    default:
      return null;
  }
}

function workOfCreate(draft: Draft, uuid: string, create: StoredOperation['info']['create_disk']): Work | string {
  if (create === undefined) return 'CREATE_DISK has no source';
  const { source, target_type: target, target_profile: targetProfile } = create;
  const { id, profile: sourceProfile, type, metadata } = source.disk?.source ?? {};
  const profile = targetProfile ?? sourceProfile;
  const known = draft.record.pools.map((pool) => pool.profile);
  if (type !== 'RAW') return 'CREATE_DISK needs a RAW disk';
  if (target !== 'MOUNT') return `a disk of type ${target ?? 'none'} cannot be made here; ask for MOUNT`;
  if (profile === undefined || !known.includes(profile))
    return `Profile '${profile ?? ''}' not found; this node has ${known.join(', ') || 'none'}`;
  if (id !== undefined) {
    const actual = metadata?.labels?.find(({ key }) => key === PROFILE_LABEL)?.value;
    if (actual !== undefined && actual !== profile) return `disk ${id} has the profile ${actual}, not ${profile}`;
    return { kind: 'adopt', datasetId: id, profile };
  }
  const sizeBytes = datasetBytesOf(quantityOf(source));
  if (sizeBytes < MINIMUM_SIZE_BYTES)
    return `a disk has at least ${formatSize(MINIMUM_SIZE_BYTES)}, and ${formatSize(sizeBytes)} were asked for`;
  const datasetId = draft.datasetIdOf(uuid);
  return { kind: 'make', datasetId, volume: volumeName(profile, datasetId), profile, sizeBytes };
}

function finish(draft: Draft, operation: StoredOperation): void {
  const { info } = operation;
  const conversion = conversionOf(info);
  const consumed = typeof conversion === 'string' ? [] : conversion.consumed;
  const converted = typeof conversion === 'string' ? [] : (conversion.converted ?? convertedBy(draft, operation));
  const totals = convert(draft.record.totals, consumed, converted);
  if (totals === undefined) return refuse(draft, operation, 'OPERATION_FAILED', 'an operation before this one failed');
  draft.change({ totals: [...totals] });
  end(draft, operation, {
    state: 'OPERATION_FINISHED',
    uuid: draft.newUuid(),
    message: null,
    converted: [...converted],
  });
}

function convertedBy(draft: Draft, { uuid, info }: StoredOperation): readonly Resource[] {
  const { create_disk: create, destroy_disk: destroy } = info;
  if (create !== undefined) return [convertedDisk(create, draft.datasetIdOf(uuid), draft.settings.mountRoot)];
  return destroy === undefined ? [] : convertedPool(destroy.source, draft.record.pools, draft.settings.vendor);
}

/** Master and agent have done a speculative one already: they have to be told what there is instead. */
function refuse(
  draft: Draft,
  operation: StoredOperation,
  state: 'OPERATION_FAILED' | 'OPERATION_DROPPED',
  message: string,
): void {
  end(draft, operation, { state, uuid: draft.newUuid(), message, converted: [] });
  draft.say('warn', { operation: operation.info.type, uuid: operation.uuid, state }, message);
  if (isSpeculative(operation.info) && draft.versionUuid !== null) tellState(draft);
}

function end(draft: Draft, operation: StoredOperation, status: TerminalStatus): void {
  const ended: StoredOperation = { ...operation, status };
  const place = draft.record.operations.findIndex(({ uuid }) => uuid === operation.uuid);
  draft.change({ operations: draft.record.operations.with(place, ended) });
  sendStatus(draft, ended);
}

function doom(draft: Draft, { uuid, info }: StoredOperation): void {
  if (info.create_disk?.source.disk?.source?.id !== undefined) return;
  const datasetId = draft.datasetIdOf(uuid);
  draft.change({ doomed: [...new Set([...draft.record.doomed, datasetId])] });
  draft.act({ kind: 'doom', datasetId });
}

import type { Offer, OperationStatus, Resource, SchedulerEvent, TaskStatus } from './mesos.ts';
import { missingFor, rankOffers, type TaskNeeds } from './rank.ts';
import type { Wish } from './wish.ts';

export interface Job extends TaskNeeds {
  /** Name of the task, and of its persistent volume: that is how the data are found again. */
  readonly name: string;
  readonly command: string;
  readonly wish: Wish;
}

/**
 * - `looking`: offers are looked through for a volume of an earlier time before a disk is made.
 * - `wanting`: a disk is to be made of the best offer. `making`: CREATE_DISK is under way.
 * - `placed`: there is a disk; the task is started where it is whenever it is not running.
 * - `running`, `done`: the task.
 */
export type Phase = 'looking' | 'wanting' | 'making' | 'placed' | 'running' | 'done';

export interface Placement {
  readonly phase: Phase;
  /** Of the disk, once there is one. */
  readonly diskId: string | undefined;
  readonly operations: number;
  readonly starts: number;
}

export interface Step {
  readonly placement: Placement;
  /** Bodies of calls to the master. */
  readonly calls: readonly object[];
  /** For people, one line each. */
  readonly lines: readonly string[];
}

export const INITIAL: Placement = { phase: 'looking', diskId: undefined, operations: 0, starts: 0 };
const REFUSE = { refuse_seconds: 1 };

/** What to do about an event. Pure, so that the whole of the placement can be read, and tested, in one place. */
export function decide(placement: Placement, event: SchedulerEvent | { readonly type: 'LOOKED' }, job: Job): Step {
  switch (event.type) {
    case 'LOOKED':
      return {
        placement: placement.phase === 'looking' ? { ...placement, phase: 'wanting' } : placement,
        calls: [],
        lines: [],
      };
    case 'OFFERS':
      return onOffers(placement, event.offers.offers, job);
    case 'UPDATE_OPERATION_STATUS':
      return onOperation(placement, event.update_operation_status.status);
    case 'UPDATE':
      return onTask(placement, event.update.status, job);
    case 'ERROR':
      return {
        placement: { ...placement, phase: 'done' },
        calls: [],
        lines: [`the master says: ${event.error.message}`],
      };
    case 'SUBSCRIBED':
    case 'RESCIND':
    case 'HEARTBEAT':
      return { placement, calls: [], lines: [] };
    default:
      return event satisfies never;
  }
}

function onOffers(placement: Placement, offers: readonly Offer[], job: Job): Step {
  const { phase } = placement;
  const starts = phase === 'looking' || phase === 'wanting' || phase === 'placed' || phase === 'making';
  const home = starts ? offers.find((offer) => diskIn(offer, placement, job) !== undefined) : undefined;
  if (home !== undefined) return launch(placement, home, offers, job);
  if (phase !== 'wanting') return { placement, calls: decline(offers), lines: [] };
  const ranked = rankOffers(offers, job.wish, job);
  const [best] = ranked;
  const lines = ranked.map(
    (one) => `${one.offer.hostname}: ${one === best && one.pool !== undefined ? 'chosen, ' : ''}${one.reason}`,
  );
  if (best?.pool === undefined) return { placement, calls: decline(offers), lines };
  const { pool, offer } = best;
  const operations = placement.operations + 1;
  return {
    placement: { ...placement, phase: 'making', operations },
    calls: [accept(offer, makeDisk(pool, job, `${job.name}-disk-${operations}`)), ...decline(offers, offer)],
    lines,
  };
}

/** RESERVE the part that is wanted, unless all is reserved for us already, and make a disk of it. */
function makeDisk(pool: Resource, { role, name, wish }: Job, operationId: string): readonly object[] {
  const part = { ...pool, scalar: { value: wish.sizeMib }, allocation_info: { role } };
  if ((pool.reservations ?? []).length > 0) return [createDisk(part, operationId)];
  const labels = { labels: [{ key: 'placement', value: name }] };
  const reserved = { ...part, reservations: [{ type: 'DYNAMIC', role, labels }] };
  return [{ type: 'RESERVE', reserve: { resources: [reserved] } }, createDisk(reserved, operationId)];
}

function createDisk(source: Resource, operationId: string): object {
  return { type: 'CREATE_DISK', id: { value: operationId }, create_disk: { source, target_type: 'MOUNT' } };
}

/** Our disk in an offer: its volume has our name, or it was made for us and has none yet. */
function diskIn(offer: Offer, { diskId }: Placement, { name }: Job): Resource | undefined {
  const disks = (offer.resources ?? []).filter(({ disk }) => disk?.source?.type === 'MOUNT');
  const ours = ({ disk, reservations }: Resource): boolean =>
    disk?.persistence === undefined &&
    ((diskId !== undefined && disk?.source?.id === diskId) ||
      reservations?.at(-1)?.labels?.labels.some(({ key, value }) => key === 'placement' && value === name) === true);
  return disks.find(({ disk }) => disk?.persistence?.id === name) ?? disks.find(ours);
}

function launch(placement: Placement, home: Offer, offers: readonly Offer[], job: Job): Step {
  const disk = diskIn(home, placement, job);
  const missing = missingFor(home, job);
  const diskId = disk?.disk?.source?.id;
  if (disk === undefined || missing !== undefined) {
    const lines = [`${home.hostname}: the data are here, but there is ${missing ?? 'no disk'}; waiting`];
    return { placement: { ...placement, phase: 'placed', diskId }, calls: decline(offers), lines };
  }
  const { name, role, command } = job;
  const starts = placement.starts + 1;
  const isNew = disk.disk?.persistence === undefined;
  const volume: Resource = isNew
    ? { ...disk, disk: { ...disk.disk, persistence: { id: name }, volume: { container_path: 'data', mode: 'RW' } } }
    : disk;
  const scalar = (resource: string, value: number): Resource => ({
    ...{ name: resource, type: 'SCALAR', scalar: { value }, allocation_info: { role } },
  });
  const task = {
    name,
    task_id: { value: `${name}-${starts}-${home.id.value}` },
    agent_id: home.agent_id,
    resources: [scalar('cpus', job.cpus), scalar('mem', job.memMib), volume],
    command: { value: command },
  };
  const operations = [
    ...(isNew ? [{ type: 'CREATE', create: { volumes: [volume] } }] : []),
    { type: 'LAUNCH', launch: { task_infos: [task] } },
  ];
  return {
    placement: { ...placement, phase: 'running', diskId, starts },
    calls: [accept(home, operations), ...decline(offers, home)],
    lines: [`${home.hostname}: chosen, ${isNew ? 'the new disk is' : 'the data are'} here`],
  };
}

function onOperation(placement: Placement, status: OperationStatus): Step {
  const {
    operation_id,
    state,
    uuid,
    agent_id,
    resource_provider_id,
    converted_resources: [disk] = [],
    message,
  } = status;
  // `uuid` is bare bytes in this call (contract: base64 text).
  const acknowledgement = { agent_id, resource_provider_id, uuid: uuid?.value, operation_id };
  const calls =
    uuid === undefined ? [] : [{ type: 'ACKNOWLEDGE_OPERATION_STATUS', acknowledge_operation_status: acknowledgement }];
  if (placement.phase !== 'making') return { placement, calls, lines: [] };
  if (state === 'OPERATION_FINISHED') {
    return {
      placement: { ...placement, phase: 'placed', diskId: disk?.disk?.source?.id },
      calls,
      lines: [`disk ${disk?.disk?.source?.id ?? ''} is made`],
    };
  }
  const why = `the disk could not be made (${state}${message === undefined ? '' : `: ${message}`}); looking again`;
  return { placement: { ...placement, phase: 'wanting' }, calls, lines: [why] };
}

const ENDED = new Set([
  'TASK_FAILED',
  'TASK_LOST',
  'TASK_KILLED',
  'TASK_ERROR',
  'TASK_DROPPED',
  'TASK_GONE',
  'TASK_GONE_BY_OPERATOR',
]);

function onTask(placement: Placement, { task_id, state, message, uuid, agent_id }: TaskStatus, { name }: Job): Step {
  const calls = uuid === undefined ? [] : [{ type: 'ACKNOWLEDGE', acknowledge: { agent_id, task_id, uuid } }];
  if (state === 'TASK_FINISHED')
    return { placement: { ...placement, phase: 'done' }, calls, lines: [`${name} has finished`] };
  if (!ENDED.has(state)) return { placement, calls, lines: [`${task_id.value}: ${state}`] };
  const why = `${task_id.value}: ${state}${message === undefined ? '' : ` (${message})`}; starting it again where its data are`;
  return { placement: { ...placement, phase: 'placed' }, calls, lines: [why] };
}

function accept(offer: Offer, operations: readonly object[]): object {
  return { type: 'ACCEPT', accept: { offer_ids: [offer.id], operations, filters: REFUSE } };
}

function decline(offers: readonly Offer[], ...taken: readonly Offer[]): readonly object[] {
  const ids = offers.filter((offer) => !taken.includes(offer)).map(({ id }) => id);
  return ids.length === 0 ? [] : [{ type: 'DECLINE', decline: { offer_ids: ids, filters: REFUSE } }];
}

import { beforeEach, describe, expect, it } from 'vitest';
import { decide } from './decide.ts';
import type { OperationInfo, Resource } from './mesos-messages.ts';
import { emptyRecord } from './provider-record.ts';
import {
  type AgentCall,
  initialState,
  type OfferSettings,
  type ProviderAction,
  type ProviderEvent,
  type ProviderState,
  type StorageLook,
} from './provider-state.ts';

const GIB = 2 ** 30;
const OFFERS: OfferSettings = {
  vendor: 'v',
  defaultReservations: [],
  mountRoot: '/root-of-disks',
  profiles: null,
  share: 1,
  offerExisting: false,
  adjustEveryMs: 60_000,
};

let state: ProviderState;
let settings: OfferSettings;
let uuids: number;
beforeEach(() => {
  state = initialState(emptyRecord('t', 'n'));
  settings = OFFERS;
  uuids = 0;
});

const uuid = (count: number): string => `00000000-0000-4000-8000-${count.toString(16).padStart(12, '0')}`;
const base64 = (count: number): string => Buffer.from(uuid(count).replaceAll('-', ''), 'hex').toString('base64');

function on(event: ProviderEvent): readonly ProviderAction[] {
  const decision = decide(state, event, { settings, newUuid: () => uuid((uuids += 1)) });
  ({ state } = decision);
  return decision.actions;
}
function calls(actions: readonly ProviderAction[]): AgentCall[] {
  return actions.flatMap((action) => (action.kind === 'send' ? [action.call] : []));
}
function types(actions: readonly ProviderAction[]): string[] {
  return calls(actions).map(({ type }) => type);
}
function look(freeGib: number, atMs: number, more: Partial<StorageLook> = {}): ProviderEvent {
  return {
    kind: 'looked',
    look: {
      profiles: [{ profile: 'gold', labels: [{ key: 'media', value: 'ssd' }] }],
      freeBytes: freeGib * GIB,
      totalBytes: 100 * GIB,
      datasets: [],
      diskEpoch: state.diskEpoch,
      atMs,
      ...more,
    },
  };
}
function version(): string {
  return state.session.kind === 'subscribed' ? (state.session.versionUuid ?? '') : '';
}
function apply(count: number, info: OperationInfo, versionUuid = version()): readonly ProviderAction[] {
  const message = { kind: 'apply', uuid: base64(count), frameworkId: 'F', versionUuid, info } as const;
  return on({ kind: 'message', message });
}
function subscribe(): readonly ProviderAction[] {
  return on({ kind: 'subscribed', providerId: 'P', agentId: 'A' });
}
const pool = (mib: number, reserved = true): Resource => ({
  name: 'disk',
  type: 'SCALAR',
  scalar: { value: mib },
  provider_id: { value: 'P' },
  allocation_info: { role: 'r' },
  ...(reserved ? { reservations: [{ type: 'DYNAMIC', role: 'r' }] } : {}),
  disk: {
    source: { type: 'RAW', profile: 'gold', vendor: 'v', metadata: { labels: [{ key: 'media', value: 'ssd' }] } },
  },
});
const told = (actions: readonly ProviderAction[]): Record<string, number> => {
  const last = calls(actions).findLast((call) => call.type === 'UPDATE_STATE');
  if (last?.type !== 'UPDATE_STATE') throw new Error('no state was told');
  const { resources } = last.update_state;
  return Object.fromEntries(
    resources.map(({ disk, scalar }) => [disk?.source?.id ?? disk?.source?.profile ?? '', scalar?.value ?? 0]),
  );
};
/** A disk that is made, with its id. */
function made(mib = 1024): Resource {
  apply(101, { type: 'RESERVE', reserve: { resources: [pool(mib)] } });
  apply(102, { type: 'CREATE_DISK', create_disk: { source: pool(mib), target_type: 'MOUNT' } });
  on({ kind: 'worked', operation: base64(102), outcome: { ok: true } });
  const disk = state.record.totals.find((one) => one.disk?.source?.type === 'MOUNT');
  if (disk === undefined) throw new Error('no disk was made');
  return { ...disk, allocation_info: { role: 'r' } };
}

describe('the first state', () => {
  it('waits for a look at the storage when there is nothing to tell', () => {
    expect(subscribe()).toEqual([{ kind: 'lookAgain' }]);
    expect(told(on(look(10, 0)))).toEqual({ gold: 10 * 1024 });
  });
  it('drops what comes before it, and answers questions after it', () => {
    subscribe();
    expect(types(apply(1, { type: 'RESERVE', reserve: { resources: [pool(1)] } }, 'old'))).toEqual([]);
    on({ kind: 'message', message: { kind: 'reconcile', uuids: [base64(1), base64(9)] } });
    const actions = on(look(10, 0));
    expect(types(actions)).toEqual(['UPDATE_STATE', 'UPDATE_OPERATION_STATUS', 'UPDATE_OPERATION_STATUS']);
    expect(calls(actions)[1]).toMatchObject({ update_operation_status: { status: { state: 'OPERATION_DROPPED' } } });
    const answer = calls(actions)[2];
    expect(answer).toMatchObject({ update_operation_status: { operation_uuid: { value: base64(9) } } });
    expect(JSON.stringify(answer)).not.toMatch(/"uuid"|framework_id|operation_id/);
  });
});

describe('what is offered', () => {
  it('shrinks only when two looks agree, and not often', () => {
    subscribe();
    on(look(50, 0));
    expect(types(on(look(20, 30_000)))).toEqual([]);
    expect(types(on(look(50, 40_000)))).toEqual([]);
    expect(types(on(look(20, 50_000)))).toEqual([]);
    expect(types(on(look(20, 55_000)))).toEqual([]);
    expect(told(on(look(20, 60_000)))).toEqual({ gold: 20 * 1024 });
    expect(types(on(look(19.9, 200_000)))).toEqual([]);
    expect(types(on(look(19.9, 300_000)))).toEqual([]);
  });
  it('is corrected at once when a disk came too late', () => {
    subscribe();
    on(look(50, 0));
    apply(1, { type: 'RESERVE', reserve: { resources: [pool(1024)] } });
    apply(2, { type: 'CREATE_DISK', create_disk: { source: pool(1024), target_type: 'MOUNT' } });
    const refused = on({ kind: 'worked', operation: base64(2), outcome: { ok: false, message: 'full', full: true } });
    expect(calls(refused)).toMatchObject([
      { update_operation_status: { status: { state: 'OPERATION_FAILED', message: 'full' } } },
    ]);
    expect(refused).toContainEqual({ kind: 'lookAgain' });
    // What is reserved stays reserved.
    expect(told(on(look(0, 1)))).toEqual({ gold: 1024 });
  });
  it('does not change while a disk is made, nor by a look from before', () => {
    subscribe();
    on(look(50, 0));
    const early = look(50, 1);
    apply(1, { type: 'RESERVE', reserve: { resources: [pool(1024)] } });
    apply(2, { type: 'CREATE_DISK', create_disk: { source: pool(1024), target_type: 'MOUNT' } });
    for (const atMs of [100_000, 200_000]) expect(types(on(look(10, atMs)))).toEqual([]);
    on({ kind: 'worked', operation: base64(2), outcome: { ok: true } });
    for (let time = 0; time < 3; time += 1) expect(types(on(early))).toEqual([]);
  });
  it('is divided between the profiles of a pool, and never more than there is', () => {
    settings = { ...OFFERS, profiles: new Map(Object.entries({ gold: 3, silver: 1 })) };
    const profiles = ['gold', 'silver', 'bronze'].map((profile) => ({ profile, labels: [] }));
    subscribe();
    expect(told(on(look(40, 0, { profiles })))).toEqual({ gold: 30 * 1024, silver: 10 * 1024 });
  });
  it('is a share of the pool, less what was made of it', () => {
    settings = { ...OFFERS, share: 0.5 };
    subscribe();
    expect(told(on(look(100, 0)))).toEqual({ gold: 50 * 1024 });
    made(10 * 1024);
    on({ kind: 'lost' });
    on(look(90, 1));
    const after = told(subscribe());
    expect(after['gold']).toBe(40 * 1024);
  });
  it('has idle volumes of the node when the operator wants that, and keeps them', () => {
    settings = { ...OFFERS, offerExisting: true };
    const dataset = { id: uuid(7), name: 'webapp', profile: 'gold', sizeBytes: GIB, idleHere: true };
    subscribe();
    expect(told(on(look(10, 0, { datasets: [dataset] })))).toEqual({ gold: 10 * 1024, [uuid(7)]: 1024 });
    on({ kind: 'lost' });
    on(look(10, 1, { datasets: [{ ...dataset, idleHere: false }] }));
    expect(told(subscribe())).toEqual({ gold: 10 * 1024, [uuid(7)]: 1024 });
    on({ kind: 'lost' });
    on(look(10, 2));
    expect(told(subscribe())).toEqual({ gold: 10 * 1024 });
  });
});

describe('operations', () => {
  beforeEach(() => {
    subscribe();
    on(look(50, 0));
  });
  it('are dropped under an old version, and Mesos is told what there is instead', () => {
    const actions = apply(1, { type: 'RESERVE', reserve: { resources: [pool(1024)] } }, base64(99));
    expect(types(actions)).toEqual(['UPDATE_OPERATION_STATUS', 'UPDATE_STATE']);
    expect(told(actions)).toEqual({ gold: 50 * 1024 });
    const create = { source: pool(1, false), target_type: 'MOUNT' };
    expect(types(apply(2, { type: 'CREATE_DISK', create_disk: create }, base64(99)))).toEqual([
      'UPDATE_OPERATION_STATUS',
    ]);
  });
  it.each<[string, OperationInfo, RegExp]>([
    [
      'too small',
      { type: 'CREATE_DISK', create_disk: { source: pool(63, false), target_type: 'MOUNT' } },
      /at least 64 MiB/,
    ],
    ['a block disk', { type: 'CREATE_DISK', create_disk: { source: pool(64, false), target_type: 'BLOCK' } }, /MOUNT/],
    ['more than there is', { type: 'UNRESERVE', unreserve: { resources: [pool(64)] } }, /does not have/],
    ['unknown', { type: 'GROW_VOLUME' }, /GROW_VOLUME is not supported/],
  ])('fail when %s', (_name, info, message) => {
    expect(calls(apply(1, info))[0]).toMatchObject({
      update_operation_status: {
        status: { state: 'OPERATION_FAILED', message: expect.stringMatching(message) as string },
      },
    });
  });
  it('on one disk wait for each other, and Mesos is told of it as it sees it meanwhile', () => {
    const disk = made();
    const volume: Resource = { ...disk, disk: { ...disk.disk, persistence: { id: 'pv' }, volume: { mode: 'RW' } } };
    apply(3, { type: 'CREATE', create: { volumes: [volume] } });
    const destroy = apply(4, { type: 'DESTROY', destroy: { volumes: [volume] } });
    expect(destroy).toMatchObject([{ kind: 'work', work: { kind: 'wipe' } }]);
    expect(apply(5, { type: 'DESTROY_DISK', destroy_disk: { source: disk } })).toEqual([]);
    // Master and agent have taken the persistence away already: so what they are told has none.
    const dropped = apply(6, { type: 'RESERVE', reserve: { resources: [pool(1)] } }, base64(99));
    const last = calls(dropped).findLast(({ type }) => type === 'UPDATE_STATE');
    expect(JSON.stringify(last?.type === 'UPDATE_STATE' ? last.update_state.resources : '')).not.toContain('"pv"');
    const wiped = on({ kind: 'worked', operation: base64(4), outcome: { ok: true } });
    expect(wiped).toContainEqual(expect.objectContaining({ kind: 'work', operation: base64(5) }));
  });
  it('fail one after the other when the first does', () => {
    const disk = made();
    const volume: Resource = { ...disk, disk: { ...disk.disk, persistence: { id: 'pv' }, volume: { mode: 'RW' } } };
    apply(3, { type: 'CREATE', create: { volumes: [volume] } });
    apply(4, { type: 'DESTROY', destroy: { volumes: [volume] } });
    apply(5, { type: 'DESTROY_DISK', destroy_disk: { source: disk } });
    on({ kind: 'worked', operation: base64(4), outcome: { ok: false, message: 'busy' } });
    expect(state.record.operations.slice(-2).map(({ status }) => status?.state)).toEqual([
      'OPERATION_FAILED',
      'OPERATION_FAILED',
    ]);
    expect(state.record.totals.some((one) => one.disk?.persistence?.id === 'pv')).toBe(true);
  });
  it('make the same disk after a crash', () => {
    apply(1, { type: 'RESERVE', reserve: { resources: [pool(1024)] } });
    const [work] = apply(2, { type: 'CREATE_DISK', create_disk: { source: pool(1024), target_type: 'MOUNT' } });
    state = initialState(state.record);
    expect(on({ kind: 'started' })).toContainEqual(work);
    expect(work).toMatchObject({ work: { kind: 'make', sizeBytes: GIB, profile: 'gold' } });
  });
  it('are told of until they are acknowledged, later and later, and in a state now and then', () => {
    const first = apply(1, { type: 'RESERVE', reserve: { resources: [pool(1024)] } });
    const delays = [first];
    const said: string[][] = [];
    for (let time = 0; time < 8; time += 1) {
      const actions = on({ kind: 'retry', operation: base64(1) });
      delays.push(actions);
      said.push(types(actions));
    }
    const waits = delays.flatMap((actions) =>
      actions.flatMap((one) => (one.kind === 'retryLater' ? [one.delayMs / 1000] : [])),
    );
    expect(waits).toEqual([10, 20, 40, 80, 160, 320, 600, 600, 600]);
    expect(said.map((one) => one.includes('UPDATE_STATE'))).toEqual([
      false,
      false,
      true,
      false,
      false,
      true,
      false,
      false,
    ]);
    const statusUuid = state.record.operations[0]?.status?.uuid ?? '';
    const message = { kind: 'acknowledge', operationUuid: base64(1), statusUuid } as const;
    on({ kind: 'message', message });
    expect(on({ kind: 'message', message })).toEqual([]);
    expect(state.record.operations).toEqual([]);
    expect(on({ kind: 'retry', operation: base64(1) })).toEqual([]);
  });
});

describe('mounting', () => {
  it('is refused for what is no disk of ours', () => {
    subscribe();
    on(look(50, 0));
    const message = { kind: 'publish', uuid: base64(1), resources: [pool(1)] } as const;
    expect(calls(on({ kind: 'message', message }))).toEqual([
      {
        type: 'UPDATE_PUBLISH_RESOURCES_STATUS',
        update_publish_resources_status: { uuid: { value: base64(1) }, status: 'FAILED' },
      },
    ]);
    const disk = made();
    const both = { kind: 'publish', uuid: base64(2), resources: [disk, disk] } as const;
    expect(on({ kind: 'message', message: both })).toEqual([
      {
        kind: 'publish',
        publish: base64(2),
        disks: [
          {
            id: disk.disk?.source?.id,
            volume: expect.stringMatching(/^mesos-gold-/) as string,
            root: '/root-of-disks',
          },
        ],
      },
    ]);
  });
});

it('offers its disks as existing ones to another agent, and deletes what nobody ever heard of', () => {
  subscribe();
  on(look(50, 0));
  const disk = made();
  apply(3, { type: 'RESERVE', reserve: { resources: [pool(64)] } });
  apply(4, { type: 'CREATE_DISK', create_disk: { source: pool(64), target_type: 'MOUNT' } });
  on({ kind: 'lost' });
  const actions = on({ kind: 'identityLost' });
  const id = disk.disk?.source?.id ?? '';
  expect(state.record).toMatchObject({ providerId: null, operations: [] });
  expect(state.record.doomed).toHaveLength(1);
  expect(actions).toContainEqual({ kind: 'doom', datasetId: state.record.doomed[0] });
  on(look(49, 1, { datasets: [{ id, name: 'x', profile: 'gold', sizeBytes: GIB, idleHere: true }] }));
  expect(told(on({ kind: 'subscribed', providerId: 'P2', agentId: 'A2' }))).toMatchObject({ [id]: 1024 });
  const offered = state.record.totals.find((one) => one.disk?.source?.id === id);
  expect(offered?.disk?.source).toMatchObject({ type: 'RAW' });
  expect(offered?.disk?.source?.profile).toBeUndefined();
});

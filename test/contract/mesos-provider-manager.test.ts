import { beforeEach, describe, expect, it } from 'vitest';
import type { MesosOperationInfo, MesosResource } from '../support/mesos/mesos-resources.ts';
import { HostAbort, ProviderManagerModel } from '../support/mesos/provider-manager-model.ts';

const RESERVED = { reservations: [{ type: 'DYNAMIC', role: 'storage' }] };

/** The stand-in aborts where a real agent or master does: rules H1 to H11 of the contract, section 1.16. */
describe('the stand-in for a Mesos agent', () => {
  let model: ProviderManagerModel;
  let nowMs: number;
  let provider: string;
  let streamId: string;
  let uuids: number;
  const uuid = (): string => {
    uuids += 1;
    return `00000000-0000-4000-8000-${uuids.toString().padStart(12, '0')}`;
  };
  const base64 = (): string => Buffer.from(uuid().replaceAll('-', ''), 'hex').toString('base64');
  beforeEach(() => {
    nowMs = 0;
    uuids = 0;
    model = new ProviderManagerModel({ agentId: 'A', newUuid: uuid, nowMs: () => nowMs });
    subscribe();
  });

  function subscribe(id?: string): void {
    const info = { type: 't', name: 'n', ...(id === undefined ? {} : { id: { value: id } }) };
    const stream = model.subscribe({ type: 'SUBSCRIBE', subscribe: { resource_provider_info: info } });
    if ('status' in stream || stream.providerId === undefined) throw new Error('refused');
    ({ streamId } = stream);
    provider = stream.providerId;
  }
  const pool = (mib: number, more: MesosResource = {}): MesosResource => ({
    name: 'disk',
    type: 'SCALAR',
    scalar: { value: mib },
    provider_id: { value: provider },
    ...RESERVED,
    disk: { source: { type: 'RAW', profile: 'gold', vendor: 'v' } },
    ...more,
  });
  const call = (body: object): { status: number; text: string } =>
    model.call(streamId, { resource_provider_id: { value: provider }, ...body });
  const tell = (resources: readonly MesosResource[], operations: readonly object[] = []): { status: number } =>
    call({ type: 'UPDATE_STATE', update_state: { resource_version_uuid: { value: base64() }, resources, operations } });
  const ended = (operation: string, status: object, latest: object = {}): { status: number; text: string } =>
    call({
      type: 'UPDATE_OPERATION_STATUS',
      update_operation_status: {
        operation_uuid: { value: operation },
        status: {
          state: 'OPERATION_FINISHED',
          uuid: { value: base64() },
          resource_provider_id: { value: provider },
          ...status,
        },
        latest_status: { resource_provider_id: { value: provider }, ...latest },
      },
    });
  function apply(info: MesosOperationInfo): string {
    model.apply(info);
    return [...model.sent.keys()].at(-1) ?? '';
  }
  const allocated = (mib: number): MesosResource => pool(mib, { allocation_info: { role: 'storage' } });
  const create = (mib: number): MesosOperationInfo => ({
    type: 'CREATE_DISK',
    create_disk: { source: allocated(mib), target_type: 'MOUNT' },
  });
  const disk = (mib: number, id: string, more: MesosResource = {}): MesosResource => ({
    ...allocated(mib),
    disk: { source: { type: 'MOUNT', id, profile: 'gold', vendor: 'v', mount: { root: '/r' } } },
    ...more,
  });
  function aborts(rule: string, work: () => unknown): void {
    expect(work).toThrow(HostAbort);
    expect(model.aborts.at(-1)?.message).toMatch(new RegExp(`^${rule}:`));
  }

  it('H1: a disk of another size', () => {
    tell([pool(1024)]);
    const operation = apply(create(256));
    aborts('H1', () => ended(operation, { converted_resources: [disk(256.001, 'a')] }));
  });
  it('H2: a disk without its allocation or reservation', () => {
    tell([pool(1024)]);
    const operation = apply(create(256));
    const { allocation_info: _allocation, ...bare } = disk(256, 'a');
    aborts('H2', () => ended(operation, { converted_resources: [bare] }));
    aborts('H2', () => ended(operation, { converted_resources: [disk(256, 'a', { reservations: [] })] }));
  });
  it('H3: an operation of another agent or framework', () => {
    tell([pool(1024)]);
    const operation = apply(create(256));
    const info = create(256);
    const listed = { uuid: { value: operation }, info, latest_status: { state: 'OPERATION_PENDING' } };
    aborts('H3', () => tell([pool(1024)], [listed]));
    const framework = { framework_id: { value: 'F' } };
    aborts('H3', () => tell([pool(1024)], [{ ...listed, ...framework, agent_id: { value: 'A' } }]));
  });
  it('H4: a role, a reservation of the old kind, another type', () => {
    aborts('H4', () => tell([pool(1, { role: '*' })]));
    aborts('H4', () => tell([pool(1, { reservation: {} })]));
    aborts('H4', () => tell([pool(1, { type: 'TEXT' })]));
  });
  it('H5: a uuid that is none, a latest status without the provider', () => {
    tell([pool(1024)]);
    const operation = apply(create(256));
    aborts('H5', () => ended('AAAA', {}));
    aborts('H5', () => ended(operation, {}, { resource_provider_id: { value: 'other' } }));
  });
  it('H6: an operation that the master never sent', () => {
    const made = { agent_id: { value: 'A' }, uuid: { value: base64() }, info: create(1), latest_status: {} };
    aborts('H6', () => tell([pool(1024)], [made]));
  });
  it('H7: a stream while the one before is open, or at once after it', () => {
    aborts('H7', () => subscribe(provider));
    model.disconnect();
    nowMs += 500;
    aborts('H7', () => subscribe(provider));
    nowMs += 1_000;
    subscribe(provider);
  });
  it('H8: a status before the state', () => {
    aborts('H8', () => ended(base64(), {}));
  });
  it('H9: a disk of a pool that is gone; a reservation of what is gone', () => {
    tell([pool(1024)]);
    const operation = apply(create(256));
    tell([pool(128)], [{ agent_id: { value: 'A' }, uuid: { value: operation }, info: create(256), latest_status: {} }]);
    aborts('H9', () => ended(operation, { converted_resources: [disk(256, 'a')] }));
    aborts('H9', () => model.apply({ type: 'UNRESERVE', unreserve: { resources: [allocated(256)] } }));
  });
  it('H10: an operation that waits for its acknowledgement and is not told of', () => {
    tell([pool(1024)]);
    const operation = apply(create(256));
    ended(operation, { converted_resources: [disk(256, 'a')] });
    model.disconnect();
    nowMs += 2_000;
    subscribe(provider);
    aborts('H10', () => tell([pool(1024)]));
  });
  it('H11: a disk twice', () => {
    const { allocation_info: _allocation, ...mount } = disk(256, 'a');
    aborts('H11', () => tell([mount, mount]));
  });
  it('answers what is only wrong with 400', () => {
    expect(model.call(undefined, { type: 'UPDATE_STATE', resource_provider_id: { value: provider } }).status).toBe(400);
    expect(model.call('other', { type: 'UPDATE_STATE', resource_provider_id: { value: provider } }).status).toBe(400);
    expect(call({}).status).toBe(400);
    expect(call({ type: 'UPDATE_STATE', resource_provider_id: { value: 'other' } })).toMatchObject({
      status: 400,
      text: expect.stringContaining('not subscribed') as string,
    });
    expect(tell([pool(1, { provider_id: { value: 'other' } })]).status).toBe(400);
    expect(ended(base64(), { resource_provider_id: { value: 'other' } }).status).toBe(400);
    expect(model.aborts).toEqual([]);
  });
});

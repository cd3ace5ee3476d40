import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { MesosOperationInfo, MesosResource } from '../../../test/support/mesos/mesos-resources.ts';
import { ProviderBench } from '../../../test/support/mesos/provider-bench.ts';
import { ProviderManagerModel } from '../../../test/support/mesos/provider-manager-model.ts';
import { recordedSession } from '../../../test/support/mesos/recorded-session.ts';
import { MesosProviderManager } from '../../../test/support/mesos-provider-manager.ts';
import { uuidFromBase64 } from './mesos-messages.ts';
import { VOLUME_LABEL } from './pool-labels.ts';

interface Apply {
  readonly framework_id: { readonly value: string };
  readonly info: MesosOperationInfo;
  readonly operation_uuid: { readonly value: string };
}

/** The recorded events that the agent would make by itself, as the stand-in is asked for them. */
const session = recordedSession();
const body = (line: Record<string, unknown>, key: string): unknown => line[key];

describe('the stand-in for the agent, against traffic of a real one', () => {
  it('takes the same calls, answers the same, and makes the same events', () => {
    const uuids: string[] = [];
    const model = new ProviderManagerModel({ agentId: 'A', newUuid: () => uuids.shift() ?? '', nowMs: () => 0 });
    const events: unknown[] = [];
    let streamId = '';
    let providerId = '';
    for (const line of session) {
      if (line.dir === 'reply') expect(line).toEqual({ dir: 'reply', status: 202, text: '' });
      if (line.dir === 'out') {
        const reply = model.call(streamId, { ...line.body, resource_provider_id: { value: providerId } });
        expect(reply).toEqual({ status: 202, text: '' });
      }
      if (line.dir !== 'in') continue;
      const { event } = line;
      switch (event['type']) {
        case 'SUBSCRIBED': {
          const { provider_id: id } = body(event, 'subscribed') as { provider_id: { value: string } };
          providerId = id.value;
          uuids.push('stream', providerId);
          const stream = model.subscribe({
            type: 'SUBSCRIBE',
            subscribe: { resource_provider_info: { type: 't', name: 'n' } },
          });
          if ('status' in stream) throw new Error(stream.text);
          streamId = stream.streamId;
          break;
        }
        case 'APPLY_OPERATION': {
          const { info, framework_id: framework, operation_uuid: uuid } = body(event, 'apply_operation') as Apply;
          uuids.push(uuidFromBase64(uuid.value));
          events.push([model.apply(info, framework.value), event]);
          break;
        }
        case 'ACKNOWLEDGE_OPERATION_STATUS': {
          const { operation_uuid: uuid } = body(event, 'acknowledge_operation_status') as Apply;
          events.push([model.acknowledge(uuid.value), event]);
          break;
        }
        default: {
          const { uuid, resources } = body(event, 'publish_resources') as {
            uuid: { value: string };
            resources: readonly MesosResource[];
          };
          uuids.push(uuidFromBase64(uuid.value));
          events.push([model.publish(resources).event, event]);
        }
      }
    }
    for (const pair of events) expect((pair as [unknown, unknown])[0]).toEqual((pair as [unknown, unknown])[1]);
    expect(events).toHaveLength(14);
    expect([...model.publishes.values()]).toEqual(['OK', 'OK']);
    expect(model.aborts).toEqual([]);
    // All that was taken from the pool is in it again.
    expect(model.entry?.totals).toMatchObject([{ scalar: { value: 102_400 } }]);
  });
});

describe('the provider, given what a real agent sent', () => {
  let manager: MesosProviderManager;
  let bench: ProviderBench;
  beforeEach(async () => {
    manager = await MesosProviderManager.start();
    bench = new ProviderBench(manager);
  });
  afterEach(async () => {
    await bench.close();
    await manager.close();
  });

  it('answers as the recorded provider did', async () => {
    bench.start();
    await manager.untilSubscribed();
    const recorded = session.flatMap((line) => (line.dir === 'out' ? [line.body] : []));
    // What the recorded session is about differs in ids; the events are made from what is offered here.
    let disk: MesosResource | undefined;
    const here = (resource: MesosResource): MesosResource => {
      const provider_id = { value: manager.model.stream?.providerId ?? '' };
      const source = resource.disk?.source?.type === 'MOUNT' ? disk?.disk?.source : manager.totals[0]?.disk?.source;
      return { ...resource, provider_id, disk: { ...resource.disk, ...(source === undefined ? {} : { source }) } };
    };
    for (const line of session) {
      if (line.dir !== 'in') continue;
      const { event } = line;
      if (event['type'] === 'APPLY_OPERATION') {
        const { info, framework_id: framework } = body(event, 'apply_operation') as Apply;
        const operation = manager.apply(mapResources(info, here), framework.value);
        const status = await manager.ended(operation);
        expect(status.state).toBe('OPERATION_FINISHED');
        if (info.type === 'CREATE_DISK') [disk] = status.converted_resources ?? [];
      } else if (event['type'] === 'PUBLISH_RESOURCES') {
        const { resources } = body(event, 'publish_resources') as { resources: readonly MesosResource[] };
        expect(await manager.publish(resources.map(here))).toBe('OK');
      }
    }
    const said = manager.calls.map(({ body: call }) => neutral(call));
    expect(said).toEqual(recorded.map(neutral));
    expect(bench.storage.work.map(({ kind }) => kind)).toEqual(['make', 'wipe', 'destroy']);
    expect(manager.totals).toMatchObject([{ scalar: { value: 102_400 } }]);
  });
});

function mapResources(info: MesosOperationInfo, map: (resource: MesosResource) => MesosResource): MesosOperationInfo {
  return JSON.parse(JSON.stringify(info), (_key, value: unknown): unknown =>
    typeof value === 'object' && value !== null && 'scalar' in value ? map(value as MesosResource) : value,
  ) as MesosOperationInfo;
}

/** Without what differs from one session to the next: ids, and what is the same said in another way. */
function neutral(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value), (key, part: unknown): unknown => {
    if (key === 'resource_provider_id' || key === 'provider_id' || key === 'agent_id' || key === 'role')
      return undefined;
    if (key === 'uuid' || key === 'operation_uuid' || key === 'resource_version_uuid') return 'uuid';
    if (key === 'id' && typeof part === 'string') return 'id';
    if (Array.isArray(part) && part.length === 0) return undefined;
    if (Array.isArray(part)) return part.filter((one) => (one as { key?: string }).key !== VOLUME_LABEL);
    return part;
  });
}

import { setImmediate } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { helloOf } from '../../../test/support/fake-agent.ts';
import { ManualClock } from '../../../test/support/manual-clock.ts';
import type { ControlMessage, Hello, Order, Report } from '../../api/agent-channel.ts';
import type { NodeId } from '../../kit/ids.ts';
import { type Logger, silentLogger } from '../../kit/logger.ts';
import { AgentSession } from '../agent-session.ts';
import { ControlService } from '../control-service.ts';
import { type MemoryStore, memoryStore } from '../store/memory-store.ts';
import { A, B, DATASET, mounted, sampleNodeId } from '../testing/samples.ts';
import { type MesosFence, UNREACHABLE_FOR_MS } from './fence-steps.ts';
import type { ReadRegistry } from './master-watch.ts';
import type { MesosAgent } from './mesos-agent.ts';
import type { Standing } from './registry.ts';

const C = sampleNodeId(3);
const always = { tags: undefined, nameUnused: undefined };
const AGENT_OF_A: MesosAgent = agentAt('S1', '10.0.0.1');
let store: MemoryStore;
let clock: ManualClock;
let service: ControlService;
let registry: Map<string, Standing>;
let readings: number;
let said: string[];

/** The master's answer; a test may hold it back or make it fail. */
let read: ReadRegistry;

beforeEach(() => {
  store = memoryStore('cluster');
  clock = new ManualClock();
  registry = new Map([['S1', 'admitted']]);
  [readings, said] = [0, []];
  read = () => {
    readings += 1;
    return Promise.resolve(new Map(registry));
  };
  service = start('gone');
});
afterEach(() => service.close());

function agentAt(id: string, address: string): MesosAgent {
  return { id, hostname: 'one', endpoint: `${address}:5051`, address, node: undefined };
}

function start(mesosFence: MesosFence): ControlService {
  let ids = 0;
  const newUuid = (): string => `00000000-0000-4000-8000-${String((ids += 1)).padStart(12, '9')}`;
  const onFatal = (error: unknown): void => {
    throw error;
  };
  const logger: Logger = {
    ...silentLogger,
    warn: (fields, message) => said.push(`${message} ${JSON.stringify(fields)}`),
  };
  return new ControlService({ store, entries: store.entries(), clock, newUuid, logger, onFatal, mesosFence });
}

async function startAgain(fence: MesosFence): Promise<void> {
  await service.close();
  store = store.reopened();
  service = start(fence);
}

async function join(id: NodeId, host: string, fields: Partial<Hello> = {}): Promise<[AgentSession, Order[]]> {
  const orders: Order[] = [];
  const session = new AgentSession(id, (message: ControlMessage) => {
    if (message.kind === 'orders') orders.push(...message.orders);
  });
  await service.join(session, helloOf({ fences: true, host, ...fields }));
  return [session, orders];
}

const has = (order: number): Report => ({
  ...{ datasetId: DATASET, order, busy: false, state: mounted, problem: null },
});

/** A, with a volume that is mounted, and B, that reaches it. */
async function twoNodes(fields: Partial<Hello> = {}): Promise<AgentSession> {
  const [session, orders] = await join(A, '10.0.0.1', fields);
  await service.createDataset({ primary: A, dataset_id: DATASET }, always);
  await service.report(session, [has(orders.at(-1)?.order ?? 0)]);
  await join(B, '10.0.0.2', fields);
  return session;
}

const heard = (event: Parameters<NonNullable<ControlService['mesos']>['heard']>[0]): Promise<void> => {
  service.mesos?.heard(event, read);
  return settled();
};
const subscribed = (...agents: MesosAgent[]): Promise<void> =>
  heard({ kind: 'subscribed', agents, heartbeatMs: undefined });
const heartbeat = (): Promise<void> => heard({ kind: 'heartbeat' });

async function settled(): Promise<void> {
  for (let turn = 0; turn < 5; turn += 1) await setImmediate();
  await service.read(() => undefined);
}

async function leave(session: AgentSession): Promise<void> {
  service.leave(session);
  await settled();
}

async function pass(ms: number): Promise<void> {
  clock.advance(ms);
  await settled();
}

const isDead = (id: NodeId): boolean => service.deployment.death(id) !== undefined;

describe('a node whose agent an operator of Mesos marked gone', () => {
  it('is declared dead as soon as it is silent as well, and its volume may go to another', async () => {
    const session = await twoNodes();
    await subscribed(AGENT_OF_A);
    registry.set('S1', 'gone');
    await heard({ kind: 'agentAway' });
    expect(isDead(A)).toBe(false);
    await leave(session);
    expect(isDead(A)).toBe(true);
    await service.moveDataset(DATASET, { primary: B }, always);
    expect(service.deployment.dataset(DATASET)?.storage).toMatchObject({ kind: 'held', node: B, leftBy: [A] });
    expect(service.declarations).toEqual({ operator: 0, silence: 0, mesos: 1 });
    expect(said.join('\n')).toMatch(/marked the agent of a silent node gone.*"mesosAgent":"S1"/);
  });

  it.each<[string, () => Promise<void>]>([
    ['a word about its tasks', () => heard({ kind: 'agentAway' })],
    ['the next heartbeat', heartbeat],
  ])('is declared dead with %s when it was silent before', async (_, hear) => {
    const session = await twoNodes();
    await subscribed(AGENT_OF_A);
    await leave(session);
    registry.set('S1', 'gone');
    await hear();
    expect(isDead(A)).toBe(true);
  });

  it('is left alone while it is connected, however long, and nobody is asked', async () => {
    await twoNodes();
    await subscribed(AGENT_OF_A);
    registry.set('S1', 'gone');
    for (let beats = 0; beats < 100; beats += 1) {
      await pass(15_000);
      await heartbeat();
    }
    expect(isDead(A)).toBe(false);
    expect(readings).toBe(0);
  });

  it('is not declared when it is back before the master has answered', async () => {
    const session = await twoNodes();
    await subscribed(AGENT_OF_A);
    registry.set('S1', 'gone');
    let answer = (): void => undefined;
    read = () =>
      new Promise((resolve) => {
        answer = () => resolve(registry);
      });
    await subscribed(AGENT_OF_A);
    await leave(session);
    await join(A, '10.0.0.1', { has: [has(0)] });
    answer();
    await settled();
    expect(isDead(A)).toBe(false);
  });

  it('is not declared when its storage cannot cut it off', async () => {
    const session = await twoNodes({ fences: false });
    await subscribed(AGENT_OF_A);
    registry.set('S1', 'gone');
    await leave(session);
    await heartbeat();
    expect(isDead(A)).toBe(false);
    expect(said.join('\n')).toContain('cannot cut a node off');
  });

  it('is not declared when it holds nothing', async () => {
    const [session] = await join(C, '10.0.0.1');
    await join(B, '10.0.0.2');
    await subscribed(AGENT_OF_A);
    registry.set('S1', 'gone');
    await leave(session);
    await heartbeat();
    expect(isDead(C)).toBe(false);
    expect(readings).toBe(0);
  });

  it('is not declared while most nodes are silent, and is when they are back', async () => {
    const session = await twoNodes();
    const others = [await join(C, '10.0.0.3'), await join(sampleNodeId(4), '10.0.0.4')];
    await subscribed(AGENT_OF_A);
    registry.set('S1', 'gone');
    for (const [other] of others) service.leave(other);
    await leave(session);
    expect(isDead(A)).toBe(false);
    expect(said.join('\n')).toContain('most nodes are silent');
    await join(C, '10.0.0.3');
    await settled();
    expect(isDead(A)).toBe(true);
  });

  it('is not declared when its agent fits another node as well, and the log says why', async () => {
    const session = await twoNodes();
    await join(C, '10.0.0.1');
    await subscribed(AGENT_OF_A);
    registry.set('S1', 'gone');
    await leave(session);
    await heartbeat();
    await heartbeat();
    expect(isDead(A)).toBe(false);
    expect(said.filter((line) => line.includes('flocker_node:UUID'))).toEqual([
      expect.stringContaining(`"others":["${C}"]`),
    ]);
  });

  it('is not declared when the master cannot be asked', async () => {
    const session = await twoNodes();
    await subscribed(AGENT_OF_A);
    registry.set('S1', 'gone');
    const asks = read;
    read = () => Promise.reject(new Error('403'));
    await heartbeat();
    await leave(session);
    expect(isDead(A)).toBe(false);
    expect(said.join('\n')).toMatch(/registry of the Mesos master cannot be read.*403/);
    read = asks;
    await heartbeat();
    expect(isDead(A)).toBe(true);
  });

  it('is not declared without a subscription, and is with the next', async () => {
    const session = await twoNodes();
    await subscribed(AGENT_OF_A);
    service.mesos?.lost();
    registry.set('S1', 'gone');
    await leave(session);
    await pass(100_000);
    expect(isDead(A)).toBe(false);
    expect(service.mesos?.counts).toEqual({ agents: 1, unsubscribedSeconds: 100 });
    await subscribed();
    expect(isDead(A)).toBe(true);
    expect(service.mesos?.counts.unsubscribedSeconds).toBe(0);
  });
});

describe('a control service that has just started', () => {
  it('gives nodes time to come, and finds one that never came by the attribute of its agent', async () => {
    await twoNodes();
    await startAgain('gone');
    registry.set('S1', 'gone');
    await subscribed({ ...AGENT_OF_A, node: A });
    await join(B, '10.0.0.2');
    await pass(29_000);
    await heartbeat();
    expect(isDead(A)).toBe(false);
    await pass(1_000);
    expect(isDead(A)).toBe(true);
  });

  it('leaves a node alone that comes in time', async () => {
    await twoNodes();
    await startAgain('gone');
    registry.set('S1', 'gone');
    await subscribed({ ...AGENT_OF_A, node: A });
    await join(B, '10.0.0.2');
    await join(A, '10.0.0.1', { has: [has(0)] });
    await pass(100_000);
    await heartbeat();
    expect(isDead(A)).toBe(false);
  });

  it('does not guess which agent a node had that never came', async () => {
    await twoNodes();
    await startAgain('gone');
    registry.set('S1', 'gone');
    await subscribed(AGENT_OF_A);
    await join(B, '10.0.0.2');
    await pass(100_000);
    await heartbeat();
    expect(isDead(A)).toBe(false);
    expect(said.join('\n')).toContain('no Mesos agent is known for a silent node');
  });
});

describe('a node whose agent the master has lost', () => {
  it('is left alone where only gone ones count', async () => {
    const session = await twoNodes();
    await subscribed(AGENT_OF_A);
    registry.set('S1', 'unreachable');
    await leave(session);
    await pass(10 * UNREACHABLE_FOR_MS);
    await heartbeat();
    expect(isDead(A)).toBe(false);
    expect(said.join('\n')).toContain('nobody marked it gone');
  });

  it('is declared dead where those count, after a time', async () => {
    await startAgain('unreachable');
    const session = await twoNodes();
    await subscribed(AGENT_OF_A);
    registry.set('S1', 'unreachable');
    await leave(session);
    await pass(UNREACHABLE_FOR_MS - 1);
    expect(isDead(A)).toBe(false);
    await pass(1);
    expect(isDead(A)).toBe(true);
  });

  it('is not, when its agent registers again before, and the time begins anew', async () => {
    await startAgain('unreachable');
    const session = await twoNodes();
    await subscribed(AGENT_OF_A);
    registry.set('S1', 'unreachable');
    await leave(session);
    await pass(UNREACHABLE_FOR_MS - 1);
    registry.set('S1', 'admitted');
    await heard({ kind: 'agentAdded', agent: AGENT_OF_A });
    await pass(1);
    registry.set('S1', 'unreachable');
    await heard({ kind: 'agentAway' });
    await pass(UNREACHABLE_FOR_MS - 1);
    expect(isDead(A)).toBe(false);
    await pass(1);
    expect(isDead(A)).toBe(true);
  });

  it('is not, when it has another life: its old agent is gone, its new one is there', async () => {
    await startAgain('unreachable');
    const session = await twoNodes();
    await subscribed(AGENT_OF_A);
    registry = new Map([
      ['S1', 'gone'],
      ['S2', 'admitted'],
    ]);
    await heard({ kind: 'agentAdded', agent: agentAt('S2', '10.0.0.1') });
    await leave(session);
    expect(isDead(A)).toBe(false);
    registry.set('S2', 'gone');
    await heartbeat();
    expect(isDead(A)).toBe(true);
  });
});

it('reads the registry once for a burst of words, and once more after it', async () => {
  const session = await twoNodes();
  await subscribed(AGENT_OF_A);
  await leave(session);
  readings = 0;
  for (let words = 0; words < 50; words += 1) service.mesos?.heard({ kind: 'agentAway' }, read);
  await settled();
  expect(readings).toBe(2);
});

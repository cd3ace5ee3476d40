import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { helloOf } from '../../test/support/fake-agent.ts';
import { ManualClock } from '../../test/support/manual-clock.ts';
import type { ControlMessage, Hello, Order } from '../api/agent-channel.ts';
import type { NodeId } from '../kit/ids.ts';
import { silentLogger } from '../kit/logger.ts';
import { AgentSession } from './agent-session.ts';
import { ControlService } from './control-service.ts';
import { type MemoryStore, memoryStore } from './store/memory-store.ts';
import { A, B, DATASET, mounted, sampleNodeId } from './testing/samples.ts';

const C = sampleNodeId(3);
const always = { tags: undefined, nameUnused: undefined };
const AFTER_MS = 30_000;
let store: MemoryStore;
let clock: ManualClock;
let service: ControlService;

beforeEach(() => {
  store = memoryStore('cluster');
  clock = new ManualClock();
  service = start();
});
afterEach(() => service.close());

function start(): ControlService {
  let ids = 0;
  const newUuid = (): string => `00000000-0000-4000-8000-${String((ids += 1)).padStart(12, '9')}`;
  const onFatal = (error: unknown): void => {
    throw error;
  };
  const parts = { store, entries: store.entries(), clock, newUuid, logger: silentLogger, onFatal };
  return new ControlService({ ...parts, fenceAfterMs: AFTER_MS });
}

async function join(id: NodeId, fields: Partial<Hello> = {}): Promise<{ session: AgentSession; orders: Order[] }> {
  const orders: Order[] = [];
  const session = new AgentSession(id, (message: ControlMessage) => {
    if (message.kind === 'orders') orders.push(...message.orders);
  });
  await service.join(session, helloOf({ fences: true, ...fields }));
  return { session, orders };
}

/** A node with a volume that is mounted. */
async function holder(id: NodeId, fields: Partial<Hello> = {}): Promise<AgentSession> {
  const { session, orders } = await join(id, fields);
  await service.createDataset({ primary: id, dataset_id: DATASET }, always);
  const order = orders.at(-1)?.order ?? 0;
  await service.report(session, [{ datasetId: DATASET, order, busy: false, state: mounted, problem: null }]);
  return session;
}

async function pass(ms: number): Promise<void> {
  clock.advance(ms);
  await service.read(() => undefined);
}

const isDead = (id: NodeId): boolean => service.deployment.death(id) !== undefined;

describe('a node that is silent', () => {
  it('is declared dead after its time, and its volume may go to another', async () => {
    const session = await holder(A);
    await join(B);
    service.leave(session);
    await pass(AFTER_MS - 1);
    expect(isDead(A)).toBe(false);
    await pass(1);
    expect(isDead(A)).toBe(true);
    await service.moveDataset(DATASET, { primary: B }, always);
    expect(service.deployment.dataset(DATASET)?.storage).toMatchObject({ kind: 'held', node: B, leftBy: [A] });
  });

  it('is not, when it comes back in time', async () => {
    const session = await holder(A);
    await join(B);
    service.leave(session);
    await pass(AFTER_MS - 1);
    await join(A, { has: [{ datasetId: DATASET, order: 0, busy: false, state: mounted, problem: null }] });
    await pass(10 * AFTER_MS);
    expect(isDead(A)).toBe(false);
  });

  it.each<[string, Partial<Hello>, Partial<Hello>]>([
    ['its storage cannot cut it off', { fences: false }, { fences: false }],
    ['nobody else reaches its pool', {}, { pool: 'pool-b' }],
  ])('is not, when %s', async (_, own, other) => {
    const session = await holder(A, own);
    await join(B, other);
    service.leave(session);
    await pass(10 * AFTER_MS);
    expect(isDead(A)).toBe(false);
  });

  it('is not, when it holds nothing', async () => {
    const { session } = await join(A);
    await join(B);
    service.leave(session);
    await pass(10 * AFTER_MS);
    expect(isDead(A)).toBe(false);
  });

  it('is not while most are, and is once they are back', async () => {
    const session = await holder(A);
    const { session: second } = await join(B);
    await join(C);
    service.leave(session);
    service.leave(second);
    await pass(3 * AFTER_MS);
    expect(isDead(A)).toBe(false);
    await join(B);
    await pass(AFTER_MS);
    expect(isDead(A)).toBe(true);
  });

  it('is, when it was never heard since the control service started', async () => {
    await holder(A);
    await service.close();
    store = store.reopened();
    service = start();
    await pass(AFTER_MS);
    expect(isDead(A)).toBe(false);
    await join(B);
    await pass(AFTER_MS);
    expect(isDead(A)).toBe(true);
  });
});

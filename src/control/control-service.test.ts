import { afterEach, beforeEach, expect, it } from 'vitest';
import { helloOf } from '../../test/support/fake-agent.ts';
import { ManualClock } from '../../test/support/manual-clock.ts';
import type { ControlMessage, Order } from '../api/agent-channel.ts';
import { silentLogger } from '../kit/logger.ts';
import type { VolumeState } from '../model/volume-state.ts';
import { AgentSession } from './agent-session.ts';
import { ControlService } from './control-service.ts';
import { type MemoryStore, memoryStore } from './store/memory-store.ts';
import { A, B, DATASET, mounted } from './testing/samples.ts';

const always = { tags: undefined, nameUnused: undefined };
let store: MemoryStore;
let service: ControlService;
let failures: unknown[];
let orders: Order[];
let session: AgentSession;

beforeEach(async () => {
  store = memoryStore('cluster');
  failures = [];
  orders = [];
  const onFatal = (error: unknown): void => void failures.push(error);
  const shared = { store, entries: store.entries(), clock: new ManualClock(), newUuid: () => DATASET };
  service = new ControlService({ ...shared, logger: silentLogger, onFatal });
  session = new AgentSession(A, (message: ControlMessage) => {
    if (message.kind === 'orders') orders.push(...message.orders);
  });
  await service.join(session, helloOf());
  await service.createDataset({ primary: A, dataset_id: DATASET }, always);
  await report(mounted);
});
afterEach(() => service.close());

function report(state: VolumeState): Promise<void> {
  const order = orders.at(-1)?.order ?? 0;
  return service.report(session, [{ datasetId: DATASET, order, busy: false, state, problem: null }]);
}

it('asks again for a release when the volume came and went between two announcements', async () => {
  await service.moveDataset(DATASET, { primary: B }, always);
  const first = orders.at(-1);
  expect(first).toMatchObject({ want: 'released' });
  // Let go, given back and asked for again, before any of it is durable and announced.
  await Promise.all([
    report({ kind: 'detached', sizeBytes: 1024 }),
    service.moveDataset(DATASET, { primary: A }, always),
    service.moveDataset(DATASET, { primary: B }, always),
  ]);
  expect(orders.at(-1)).toMatchObject({ want: 'released' });
  expect(orders.at(-1)?.order).toBeGreaterThan(first?.order ?? 0);
  await report({ kind: 'detached', sizeBytes: 1024 });
  expect(service.deployment.dataset(DATASET)?.storage).toEqual({ kind: 'free', pool: 'pool-a', sizeBytes: 1024 });
});

it('orders and announces nothing that is not durable', async () => {
  const before = orders.length;
  const events: unknown[] = [];
  service.events.subscribe({}, (event) => events.push(event) > 0);
  store.failNextCommit('disk full');
  await expect(service.moveDataset(DATASET, { primary: B }, always)).rejects.toThrow('disk full');
  await expect(service.deleteDataset(DATASET, always)).rejects.toThrow('disk full');
  await expect(service.read(() => 'seen')).rejects.toThrow('disk full');
  expect([orders.length, events.length]).toEqual([before, 0]);
  expect(failures.length).toBeGreaterThan(0);
});

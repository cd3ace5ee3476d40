import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { ManualClock } from '../../../test/support/manual-clock.ts';
import { MesosOperatorApi } from '../../../test/support/mesos-operator-api.ts';
import { systemClock } from '../../kit/clock.ts';
import { silentLogger } from '../../kit/logger.ts';
import type { MasterEvent } from './master-event.ts';
import { type MasterListener, MasterWatch } from './master-watch.ts';
import { connectMesosMaster } from './mesos-master.ts';

const until = { timeout: 20_000 };
let master: MesosOperatorApi;
let clock: ManualClock;
let watch: MasterWatch | undefined;
let told: string[];
let reasons: unknown[];

const listener: MasterListener = {
  heard: ({ kind }: MasterEvent) => told.push(kind),
  lost: () => told.push('lost'),
};

beforeEach(async () => {
  master = await MesosOperatorApi.start();
  clock = new ManualClock();
  [told, reasons] = [[], []];
});
afterEach(async () => {
  await watch?.close();
  await master.close();
});

function start(): void {
  watch = new MasterWatch({
    // The calls themselves take real time.
    master: connectMesosMaster({ urls: [master.url], clock: systemClock }),
    logger: { ...silentLogger, warn: (fields) => reasons.push(fields) },
    ...{ listener, clock, random: () => 0.5 },
  });
}

/** Lets time pass until something that real connections bring about has come. */
async function passUntil(check: () => void, stepMs = 1_000): Promise<void> {
  await vi.waitFor(() => {
    clock.advance(stepMs);
    check();
  }, until);
}

it('takes a master that sends no heartbeat for lost, and subscribes again', async () => {
  start();
  await vi.waitFor(() => expect(told).toEqual(['subscribed', 'heartbeat']), until);
  clock.advance(44_999);
  master.heartbeat();
  await vi.waitFor(() => expect(told).toHaveLength(3), until);
  clock.advance(44_999);
  expect(told).not.toContain('lost');
  clock.advance(1);
  await vi.waitFor(() => expect(told.at(-1)).toBe('lost'), until);
  expect(reasons).toEqual([{ reason: expect.stringContaining('no heartbeat') as string, code: 'unreachable' }]);
  await passUntil(() => expect(told.at(-1)).toBe('heartbeat'));
  expect(told.slice(3)).toEqual(['lost', 'subscribed', 'heartbeat']);
});

it('takes the time between heartbeats from the master', async () => {
  master.heartbeatSeconds = 1;
  start();
  await vi.waitFor(() => expect(told).toEqual(['subscribed', 'heartbeat']), until);
  clock.advance(3_000);
  await vi.waitFor(() => expect(told.at(-1)).toBe('lost'), until);
});

it('subscribes again when the stream breaks, after a while', async () => {
  start();
  await vi.waitFor(() => expect(told).toEqual(['subscribed', 'heartbeat']), until);
  master.failOver();
  await vi.waitFor(() => expect(told.at(-1)).toBe('lost'), until);
  expect(master.calls).toEqual(['SUBSCRIBE']);
  await passUntil(() => expect(told.at(-1)).toBe('heartbeat'));
  expect(master.calls).toEqual(['SUBSCRIBE', 'SUBSCRIBE']);
});

it('waits longer and longer for a master that knows no leader', async () => {
  master.follow = null;
  start();
  await vi.waitFor(() => expect(reasons).toHaveLength(1), until);
  for (const [index, waitMs] of [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000].entries()) {
    await vi.waitFor(() => expect(clock.pending).toBe(1), until);
    clock.advance(waitMs - 1);
    expect(reasons).toHaveLength(index + 1);
    clock.advance(1);
    await vi.waitFor(() => expect(reasons).toHaveLength(index + 2), until);
  }
  master.follow = undefined;
  await passUntil(() => expect(told).toContain('subscribed'), 30_000);
});

it('ends at once', async () => {
  start();
  await vi.waitFor(() => expect(told).toEqual(['subscribed', 'heartbeat']), until);
  await watch?.close();
  watch = undefined;
  expect(told.at(-1)).toBe('lost');
  await vi.waitFor(() => expect(master.subscribers).toBe(0), until);
});

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ClientError, type LeaseRequest } from '../client/flocker-client.ts';
import { type FakeFlocker, fakeFlocker } from '../client/testing/fake-flocker.ts';
import type { DatasetId, NodeId } from '../kit/ids.ts';
import { silentLogger } from '../kit/logger.ts';
import { LeaseKeeper } from './lease-keeper.ts';
import { ManualClock } from './testing/manual-clock.ts';

const ONE = '11111111-1111-4111-8111-111111111111' as DatasetId;
const TWO = '22222222-2222-4222-8222-222222222222' as DatasetId;

let clock: ManualClock;
let flocker: FakeFlocker;
let here: NodeId;
let other: NodeId;
let keeper: LeaseKeeper;
let asked: { atMs: number; id: DatasetId }[];
let away: boolean;

beforeEach(() => {
  clock = new ManualClock();
  flocker = fakeFlocker({ clock });
  here = flocker.addNode();
  other = flocker.addNode();
  asked = [];
  away = false;
  const { client } = flocker;
  const unlessAway = <T>(work: () => Promise<T>): Promise<T> =>
    away ? Promise.reject(new ClientError('unreachable', 'no route')) : work();
  keeper = new LeaseKeeper({
    client: {
      ...client,
      acquireLease: (lease: LeaseRequest, signal) => {
        asked.push({ atMs: clock.monotonicMs(), id: lease.datasetId });
        return unlessAway(() => client.acquireLease(lease, signal));
      },
      releaseLease: (id, signal) => unlessAway(() => client.releaseLease(id, signal)),
      listLeases: (signal) => unlessAway(() => client.listLeases(signal)),
    },
    nodeId: () => Promise.resolve(here),
    clock,
    random: () => 0.5,
    logger: silentLogger,
    leaseSeconds: 60,
    requestTimeoutMs: 5_000,
  });
});
afterEach(async () => {
  await keeper.close();
  flocker.close();
});

describe('LeaseKeeper', () => {
  it('renews after a third of the life, several leases with one timer, and stops when nothing is held', async () => {
    await keeper.take(ONE);
    await clock.advance(3_000);
    await keeper.take(TWO);
    expect(asked.map(({ atMs }) => atMs)).toEqual([0, 3_000]);
    await clock.advance(20_000);
    expect(asked.slice(2)).toEqual([
      { atMs: 20_000, id: ONE },
      { atMs: 20_000, id: TWO },
    ]);
    await clock.advance(600_000);
    expect(flocker.cluster.leases()).toHaveLength(2);
    await Promise.all([keeper.giveUp(ONE), keeper.giveUp(TWO)]);
    expect(flocker.cluster.leases()).toEqual([]);
    expect(clock.pendingTimers).toBe(0);
  });

  it('asks for nothing while the lease is good for long enough', async () => {
    await keeper.take(ONE);
    const term = keeper.term(ONE);
    await clock.advance(15_000);
    await keeper.take(ONE);
    expect(asked).toHaveLength(1);
    expect(term).toBeDefined();
    expect(keeper.term(ONE)).toBe(term);
  });

  it('does not leave a record that renews when the first request is refused', async () => {
    flocker.cluster.putLease(ONE, other, null);
    await expect(keeper.take(ONE)).rejects.toMatchObject({ code: 'lease_held' });
    await clock.advance(300_000);
    expect(asked).toHaveLength(1);
    await keeper.giveUp(ONE);
    expect(flocker.cluster.leaseOf(ONE)).toMatchObject({ nodeId: other });
  });

  it('notices a lost lease, says so, and never deletes the lease of the other node', async () => {
    await keeper.take(ONE);
    const term = keeper.term(ONE);
    away = true;
    await clock.advance(65_000);
    expect(keeper.term(ONE)).toBeUndefined();
    flocker.cluster.putLease(ONE, other, 60);
    const tries = asked.length;
    expect(tries).toBeGreaterThan(3);
    expect(asked.slice(1).every(({ atMs }, index) => atMs - (asked[index]?.atMs ?? 0) >= 800)).toBe(true);
    away = false;
    await clock.advance(15_000);
    expect(keeper.view(ONE)).toMatchObject({ kind: 'lost' });
    await clock.advance(100_000);
    expect(keeper.view(ONE)).toEqual({ kind: 'ours' });
    expect(keeper.term(ONE)).not.toBe(term);
    flocker.cluster.putLease(ONE, other, 600);
    await clock.advance(30_000);
    await keeper.giveUp(ONE);
    expect(flocker.cluster.leaseOf(ONE)).toMatchObject({ nodeId: other });
  });

  it('looks before it gives up a lease that may have run out meanwhile', async () => {
    await keeper.take(ONE);
    away = true;
    await clock.advance(61_000);
    flocker.cluster.putLease(ONE, other, 60);
    await expect(keeper.giveUp(ONE)).rejects.toMatchObject({ code: 'unreachable' });
    away = false;
    await keeper.giveUp(ONE);
    expect(flocker.cluster.leaseOf(ONE)).toMatchObject({ nodeId: other });
  });

  it('needs no control service to give up a lease that has surely expired', async () => {
    keeper.adopt(ONE, false);
    away = true;
    await expect(keeper.giveUp(ONE)).rejects.toMatchObject({ code: 'unreachable' });
    await clock.advance(63_000);
    await keeper.giveUp(ONE);
  });

  it('renews adopted leases at once and gives back those of an earlier process', async () => {
    flocker.cluster.putLease(ONE, here, 60);
    flocker.cluster.putLease(TWO, here, 60);
    keeper.adopt(ONE, true);
    keeper.adopt(TWO, false);
    await clock.advance(0);
    expect(asked).toEqual([{ atMs: 0, id: ONE }]);
    await keeper.giveUp(TWO);
    expect(flocker.cluster.leases().map((lease) => lease.dataset_id)).toEqual([ONE]);
  });

  it('takes again what is being given up', async () => {
    await keeper.take(ONE);
    await Promise.all([keeper.giveUp(ONE), keeper.take(ONE)]);
    expect(flocker.cluster.leaseOf(ONE)).toMatchObject({ nodeId: here });
    expect(keeper.view(ONE)).toEqual({ kind: 'ours' });
  });
});

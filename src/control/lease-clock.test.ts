import { describe, expect, it } from 'vitest';
import { ManualClock } from '../../test/support/manual-clock.ts';
import type { Lease } from '../model/lease.ts';
import { LeaseClock } from './lease-clock.ts';
import { A, DATASET, sampleDatasetId } from './testing/samples.ts';

function started(): { clock: ManualClock; leases: LeaseClock; ended: Lease[]; leaseFor: (ms: number | null) => Lease } {
  const clock = new ManualClock();
  const ended: Lease[] = [];
  const leases = new LeaseClock(clock, (lease) => ended.push(lease));
  const leaseFor = (ms: number | null): Lease => ({
    datasetId: DATASET,
    nodeId: A,
    expiresAtMs: ms === null ? null : clock.wallMs() + ms,
  });
  return { clock, leases, ended, leaseFor };
}

describe('LeaseClock', () => {
  it('tells once, right after the end', () => {
    const { clock, leases, ended, leaseFor } = started();
    const lease = leaseFor(1000);
    leases.watch(lease);
    clock.advance(1000);
    expect(ended).toEqual([]);
    clock.advance(1);
    clock.advance(10_000);
    expect(ended).toEqual([lease]);
  });

  it('tells at once what is over, and never what has no end', () => {
    const { clock, leases, ended, leaseFor } = started();
    const over = leaseFor(-5000);
    leases.watch(over);
    leases.watch({ ...leaseFor(null), datasetId: sampleDatasetId(2) });
    clock.advance(1);
    expect(ended).toEqual([over]);
    expect(clock.pending).toBe(0);
  });

  it('watches only the newest lease of a dataset', () => {
    const { clock, leases, ended, leaseFor } = started();
    const [first, longer] = [leaseFor(1000), leaseFor(5000)];
    leases.watch(first);
    leases.watch(longer);
    clock.advance(4000);
    expect(ended).toEqual([]);
    clock.advance(2000);
    expect(ended).toEqual([longer]);
    leases.watch(leaseFor(1000));
    leases.watch(leaseFor(null));
    leases.watch({ ...leaseFor(1000), datasetId: sampleDatasetId(2) });
    leases.forget(sampleDatasetId(2));
    clock.advance(10_000);
    expect(ended).toEqual([longer]);
  });

  it('waits on when the wall clock was set back', () => {
    const { clock, leases, ended, leaseFor } = started();
    leases.watch(leaseFor(1000));
    clock.jumpWall(-3000);
    clock.advance(2000);
    expect(ended).toEqual([]);
    clock.advance(2001);
    expect(ended).toHaveLength(1);
  });

  it('leaves no timer when it is closed', () => {
    const { clock, leases, leaseFor } = started();
    leases.watch(leaseFor(1000));
    leases.close();
    expect(clock.pending).toBe(0);
  });
});

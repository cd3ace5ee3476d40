import { expect, it } from 'vitest';
import { ManualClock } from '../../test/support/manual-clock.ts';
import { StorageAnnouncements } from './storage-announcements.ts';

it('announces a pool at once, and what follows together', () => {
  const clock = new ManualClock();
  const told: string[] = [];
  const announcements = new StorageAnnouncements(clock, (pool) => told.push(pool));
  announcements.changed('a');
  announcements.changed('b');
  expect(told).toEqual(['a', 'b']);
  for (let node = 0; node < 1000; node += 1) announcements.changed('a');
  expect(told).toEqual(['a', 'b']);
  clock.advance(1_000);
  expect(told).toEqual(['a', 'b', 'a']);
  clock.advance(1_000);
  expect(told).toEqual(['a', 'b', 'a']);
  announcements.changed('a');
  announcements.changed('a');
  announcements.close();
  clock.advance(5_000);
  expect(told).toEqual(['a', 'b', 'a', 'a']);
});

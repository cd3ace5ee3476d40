import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ProviderWorld } from '../support/mesos/provider-world.ts';

const GIB = 2 ** 30;
const STORAGE = [{ type: 'DYNAMIC', role: 'storage' }];

/** Each step takes its choices from the numbers behind it. */
const steps = fc.array(fc.tuple(fc.nat(99), fc.array(fc.nat(10_000), { minLength: 6, maxLength: 6 })), {
  minLength: 20,
  maxLength: 250,
});
const ONLY_GOLD: ReadonlyMap<string, number> = new Map([['gold', 1]]);
const MOSTLY_GOLD: ReadonlyMap<string, number> = new Map(Object.entries({ gold: 3, silver: 1 }));
const settings = fc.record({
  reserved: fc.boolean(),
  share: fc.constantFrom(1, 0.5),
  weights: fc.constantFrom(null, ONLY_GOLD, MOSTLY_GOLD),
});

describe('the resource provider', () => {
  it('keeps its books whatever happens in whatever order, and never ends agent or master', () => {
    let finished = 0;
    fc.assert(
      fc.property(settings, steps, ({ reserved, share, weights }, script) => {
        const world = new ProviderWorld({
          vendor: 'flocker',
          defaultReservations: reserved ? STORAGE : [],
          mountRoot: '/var/lib/flocker/mesos',
          profiles: weights,
          share,
          offerExisting: false,
          adjustEveryMs: 60_000,
        });
        world.settle();
        for (const [step, numbers] of script) {
          take(world, step, numbers);
          expect(world.model.aborts).toEqual([]);
        }
        world.settle();
        const disks = world.disksOfFrameworks();
        finished += disks.size;
        const known = new Set(world.record.totals.map(({ disk }) => disk?.source?.id));
        expect([...disks].filter((id) => !known.has(id))).toEqual([]);
        expect(world.faults()).toEqual([]);
      }),
      { numRuns: 400, interruptAfterTimeLimit: 40_000 },
    );
    // Otherwise it would have tried nothing.
    expect(finished).toBeGreaterThan(100);
  });
});

function take(world: ProviderWorld, step: number, numbers: readonly number[]): void {
  let used = 0;
  const choose = (count: number): number => {
    used += 1;
    return (numbers[used % numbers.length] ?? 0) % count;
  };
  if (step < 20) world.operate(choose);
  else if (step < 30) repeat(1 + choose(6), () => world.progress());
  else if (step < 38) repeat(1 + choose(4), () => world.receive());
  else if (step < 46) repeat(1 + choose(3), () => world.hear());
  else if (step < 64) repeat(1 + choose(10), () => world.progress() || world.receive() || world.hear());
  else if (step < 73) world.finishWork(choose, true);
  else if (step < 79) world.acknowledge(choose);
  else if (step < 84) world.comeBack();
  else if (step < 85) world.finishUnheard(choose);
  else if (step < 87) world.crash();
  else if (step < 88) world.breakStream();
  else if (step < 91) world.look();
  else if (step < 93) world.othersTake(choose(3) * 20 * GIB);
  else if (step < 96) world.publishOrReconcile(choose);
  else if (step < 97) world.rest(choose);
  else world.retry(choose);
}

function repeat(count: number, work: () => boolean): void {
  for (let time = 0; time < count; time += 1) if (!work()) return;
}

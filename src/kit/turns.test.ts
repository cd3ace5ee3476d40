import { describe, expect, it } from 'vitest';
import { ManualClock } from '../../test/support/manual-clock.ts';
import { Turns } from './turns.ts';

function world(): { turns: Turns; clock: ManualClock; begun: string[]; work: (name: string) => () => void } {
  const clock = new ManualClock();
  const turns = new Turns({ atOnce: 2, turnMs: 1000 }, clock);
  const begun: string[] = [];
  const work = (name: string): (() => void) => {
    let end = (): void => undefined;
    const ended = new Promise<void>((resolve) => {
      end = resolve;
    });
    void turns.run(() => {
      begun.push(name);
      return ended;
    });
    return end;
  };
  return { turns, clock, begun, work };
}

const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('Turns', () => {
  it('begins so many at once, and the rest in their order as places become free', async () => {
    const { begun, work, clock } = world();
    const [endFirst, endSecond] = ['a', 'b', 'c', 'd'].map(work);
    await settled();
    expect(begun).toEqual(['a', 'b']);
    endSecond?.();
    await settled();
    expect(begun).toEqual(['a', 'b', 'c']);
    endFirst?.();
    await settled();
    expect(begun).toEqual(['a', 'b', 'c', 'd']);
    expect(clock.pending).toBe(2);
  });

  it('gives the place of who takes too long to the next, and only once', async () => {
    const { begun, work, clock } = world();
    const ends = ['a', 'b', 'c', 'd', 'e'].map(work);
    await settled();
    clock.advance(1000);
    await settled();
    expect(begun).toEqual(['a', 'b', 'c', 'd']);
    // Both had their turns already, so that no place becomes free.
    ends[0]?.();
    ends[1]?.();
    await settled();
    expect(begun).toEqual(['a', 'b', 'c', 'd']);
    ends[2]?.();
    await settled();
    expect(begun).toEqual(['a', 'b', 'c', 'd', 'e']);
  });

  it('hands on failures and frees the place', async () => {
    const { turns, clock } = world();
    for (const name of ['a', 'b', 'c']) {
      await expect(turns.run(() => Promise.reject(new Error(name)))).rejects.toThrow(name);
    }
    await expect(turns.run(() => Promise.resolve(1))).resolves.toBe(1);
    expect(clock.pending).toBe(0);
  });
});

import { describe, expect, it } from 'vitest';
import { Gate } from './gate.ts';

describe('Gate', () => {
  it('runs as many at once as it is wide, in order, also after failures', async () => {
    const gate = new Gate(2);
    let running = 0;
    let most = 0;
    const order: number[] = [];
    const work = Array.from({ length: 7 }, (_, index) =>
      gate.run(async () => {
        running += 1;
        most = Math.max(most, running);
        order.push(index);
        await Promise.resolve();
        await Promise.resolve();
        running -= 1;
        if (index % 3 === 0) throw new Error('failed');
      }),
    );
    const results = await Promise.allSettled(work);
    expect(results.map(({ status }) => status === 'rejected')).toEqual([true, false, false, true, false, false, true]);
    expect(most).toBe(2);
    expect(order).toEqual([0, 1, 2, 3, 4, 5, 6]);
    await expect(gate.run(() => Promise.resolve('after'))).resolves.toBe('after');
  });
});

import { expect, it } from 'vitest';
import { KeyedQueue } from './keyed-queue.ts';

it('runs work for one key in order and for others at the same time', async () => {
  const queue = new KeyedQueue<string>();
  const log: string[] = [];
  let open: () => void = () => undefined;
  const gate = new Promise<void>((resolve) => {
    open = resolve;
  });
  const first = queue.run('a', async () => {
    log.push('first');
    await gate;
    log.push('first ends');
    return 1;
  });
  const second = queue.run('a', () => Promise.resolve(void log.push('second')));
  await queue.run('b', () => Promise.resolve(void log.push('other')));
  expect(log).toEqual(['first', 'other']);
  expect(queue.busy('a')).toBe(true);
  await expect.poll(() => queue.busy('b')).toBe(false);
  open();
  expect(await first).toBe(1);
  await second;
  await queue.idle();
  expect(log).toEqual(['first', 'other', 'first ends', 'second']);
  expect(queue.busy('a')).toBe(false);
});

it('goes on after work that fails, and passes the failure to its caller alone', async () => {
  const queue = new KeyedQueue<number>();
  const failing = queue.run(1, () => Promise.reject(new Error('boom')));
  const after = queue.run(1, () => Promise.resolve('fine'));
  await expect(failing).rejects.toThrow('boom');
  expect(await after).toBe('fine');
});

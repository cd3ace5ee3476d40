import { describe, expect, it } from 'vitest';
import { ManualClock } from '../../test/support/manual-clock.ts';
import { pause } from './clock.ts';
import { DeadlineExceeded, orAbort, startDeadline, withDeadline } from './deadline.ts';

const never = (): Promise<never> => new Promise(() => undefined);

describe('deadlines', () => {
  it('abort after their time and say what took too long', () => {
    const clock = new ManualClock();
    const { signal } = startDeadline(clock, 100, 'the mount');
    clock.advance(99);
    expect(signal.aborted).toBe(false);
    clock.advance(1);
    expect(signal.reason).toBeInstanceOf(DeadlineExceeded);
    expect((signal.reason as Error).message).toBe('the mount did not finish within 100 ms');
  });

  it('abort with their parent and its reason, also when that was before', () => {
    const clock = new ManualClock();
    const parent = new AbortController();
    const early = startDeadline(clock, 100, 'x', parent.signal);
    parent.abort(new Error('stop'));
    const late = startDeadline(clock, 100, 'x', parent.signal);
    for (const { signal } of [early, late]) expect(signal.reason).toEqual(new Error('stop'));
    expect(clock.pending).toBe(0);
  });

  it('free their timer when the work ends, however', async () => {
    const clock = new ManualClock();
    expect(await withDeadline(clock, 100, 'x', undefined, () => Promise.resolve(7))).toBe(7);
    await expect(withDeadline(clock, 100, 'x', undefined, () => Promise.reject(new Error('no')))).rejects.toThrow('no');
    expect(clock.pending).toBe(0);
  });

  it('end a wait for work that cannot be interrupted', async () => {
    const controller = new AbortController();
    const waiting = orAbort(never(), controller.signal);
    controller.abort(new Error('stop'));
    await expect(waiting).rejects.toThrow('stop');
    await expect(orAbort(never(), controller.signal)).rejects.toThrow('stop');
    expect(await orAbort(Promise.resolve(1), new AbortController().signal)).toBe(1);
  });
});

describe('pause', () => {
  it('ends in time, or with the signal, and leaves no timer', async () => {
    const clock = new ManualClock();
    const controller = new AbortController();
    const passing = pause(clock, 50, controller.signal);
    clock.advance(50);
    await passing;
    const cut = pause(clock, 50, controller.signal);
    controller.abort(new Error('stop'));
    await expect(cut).rejects.toThrow('stop');
    await expect(pause(clock, 50, controller.signal)).rejects.toThrow('stop');
    expect(clock.pending).toBe(0);
  });
});

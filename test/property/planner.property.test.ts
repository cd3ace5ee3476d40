import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { GROWTH, type Growth, isTooSmall, plan, type Step, TRANSITIONS } from '../../src/agent/transitions.ts';
import type { Order } from '../../src/api/agent-channel.ts';
import type { VolumeState } from '../../src/model/volume-state.ts';

const sizeBytes = 2 ** 30;
const LARGER_BYTES = 2 * sizeBytes;
const datasetId = '3d7e2f10-9a4b-4c8e-8f21-0a1b2c3d4e5f';
const STATES: Record<VolumeState['kind'], VolumeState> = {
  absent: { kind: 'absent' },
  detached: { kind: 'detached', sizeBytes },
  attached: { kind: 'attached', sizeBytes },
  mounted: { kind: 'mounted', sizeBytes, path: '/flocker/x' },
  elsewhere: { kind: 'elsewhere', instance: 'other' },
};
/** What each step leads to, by the contract of a backend. */
const LEADS: Record<Step, { from: VolumeState['kind']; to: VolumeState['kind'] }> = {
  create: { from: 'absent', to: 'detached' },
  seize: { from: 'elsewhere', to: 'attached' },
  attach: { from: 'detached', to: 'attached' },
  grow: { from: 'attached', to: 'attached' },
  mount: { from: 'attached', to: 'mounted' },
  unmount: { from: 'mounted', to: 'attached' },
  detach: { from: 'attached', to: 'detached' },
  destroy: { from: 'detached', to: 'absent' },
};
const GOALS: Record<Order['want'], readonly VolumeState['kind'][]> = {
  mounted: ['mounted'],
  released: ['absent', 'detached', 'elsewhere'],
  destroyed: ['absent'],
};

const state = fc.constantFrom(...Object.values(STATES));
/** `elsewhere` is the node `other`. */
const left = { leftBy: fc.constantFrom<string[]>([], ['third'], ['third', 'other']) };
const order: fc.Arbitrary<Order> = fc.oneof(
  fc.record({
    want: fc.constant('mounted' as const),
    datasetId: fc.constant(datasetId),
    order: fc.constant(1),
    mayCreate: fc.boolean(),
    sizeBytes: fc.constantFrom(null, sizeBytes),
    metadata: fc.constant({}),
    ...left,
  }),
  fc.record({
    want: fc.constantFrom('released' as const, 'destroyed' as const),
    datasetId: fc.constant(datasetId),
    order: fc.constant(1),
    ...left,
  }),
);

describe('the planner', () => {
  it('has an entry for every wish in every state', () => {
    expect(Object.keys(TRANSITIONS).sort()).toEqual(['destroyed', 'mounted', 'released']);
    for (const row of Object.values(TRANSITIONS)) expect(Object.keys(row).sort()).toEqual(Object.keys(STATES).sort());
  });

  it('reaches its goal from every state in at most four steps, or is blocked with a reason', () => {
    fc.assert(
      fc.property(state, order, (start, wish) => {
        let now = start;
        for (let steps = 0; steps <= 4; steps += 1) {
          const next = plan(wish, now);
          if (next.kind === 'nothing') {
            expect(GOALS[wish.want]).toContain(now.kind);
            return;
          }
          if (next.kind === 'blocked') {
            expect(next.message).not.toBe('');
            expect(now.kind === 'elsewhere' || (now.kind === 'absent' && wish.want === 'mounted')).toBe(true);
            return;
          }
          expect(LEADS[next.step].from).toBe(now.kind);
          now = STATES[LEADS[next.step].to];
        }
        throw new Error('it does not end');
      }),
    );
  });

  it('destroys only what is marked deleted, and only what nobody has', () => {
    fc.assert(
      fc.property(state, order, (now, wish) => {
        const next = plan(wish, now);
        if (next.kind !== 'step' || next.step !== 'destroy') return;
        expect(wish.want).toBe('destroyed');
        expect(now.kind).toBe('detached');
      }),
    );
  });

  it('touches nothing that another node has, unless that is dead and the volume is wanted', () => {
    fc.assert(
      fc.property(order, (wish) => {
        const mayTake = wish.want !== 'released' && wish.leftBy?.includes('other');
        const next = plan(wish, STATES.elsewhere);
        if (mayTake) expect(next).toEqual({ kind: 'step', step: 'seize' });
        else expect(next.kind).not.toBe('step');
      }),
    );
  });

  it('makes a volume only when it may, and never for a wish to be rid of it', () => {
    fc.assert(
      fc.property(state, order, (now, wish) => {
        const next = plan(wish, now);
        if (next.kind === 'step' && next.step === 'create')
          expect(wish.want === 'mounted' && wish.mayCreate).toBe(true);
      }),
    );
  });

  it('makes what is too small larger before it is mounted, and never what is large enough', () => {
    fc.assert(
      fc.property(state, order, fc.constantFrom<Growth>('untried', 'offline', 'failed'), (now, wish, growth) => {
        const larger: Order = wish.want === 'mounted' ? { ...wish, sizeBytes: LARGER_BYTES } : wish;
        const here = now.kind === 'attached' || now.kind === 'mounted';
        expect(isTooSmall(wish, now)).toBe(false);
        expect(plan(wish, now, growth)).toEqual(plan(wish, now));
        if (!here || wish.want !== 'mounted') expect(plan(larger, now, growth)).toEqual(plan(wish, now));
        else expect(plan(larger, now, 'untried')).toEqual({ kind: 'step', step: 'grow' });
      }),
    );
  });

  it('ends mounted, also where it cannot grow, and unmounts for it only when the backend asks for that', () => {
    expect(GROWTH.failed).toEqual({ attached: 'mount', mounted: 'nothing' });
    for (const [growth, row] of Object.entries(GROWTH)) {
      expect(Object.values(row).includes('unmount')).toBe(growth === 'offline');
      expect(Object.values(row)).not.toContain('destroy');
    }
  });

  it('goes on towards the newest wish when wishes change between steps', () => {
    fc.assert(
      fc.property(state, fc.array(order, { minLength: 1, maxLength: 12 }), (start, wishes) => {
        let now = start;
        for (const wish of wishes) {
          const next = plan(wish, now);
          if (next.kind === 'step') now = STATES[LEADS[next.step].to];
        }
        for (const last of wishes.slice(-1)) {
          for (let steps = 0; steps <= 4; steps += 1) {
            const next = plan(last, now);
            if (next.kind !== 'step') return;
            now = STATES[LEADS[next.step].to];
          }
        }
        throw new Error('it does not end');
      }),
    );
  });
});

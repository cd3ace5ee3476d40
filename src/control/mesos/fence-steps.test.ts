import { expect, it } from 'vitest';
import { type MesosFence, nextStep, type Step, UNREACHABLE_FOR_MS } from './fence-steps.ts';
import type { Judgement } from './judge-node.ts';

it.each<[Judgement['kind'], MesosFence, number, Step['kind']]>([
  ['gone', 'gone', 0, 'declare'],
  ['gone', 'unreachable', 0, 'declare'],
  ['unreachable', 'gone', 0, 'leave'],
  ['unreachable', 'gone', 10 * UNREACHABLE_FOR_MS, 'leave'],
  ['unreachable', 'unreachable', 0, 'wait'],
  ['unreachable', 'unreachable', UNREACHABLE_FOR_MS - 1, 'wait'],
  ['unreachable', 'unreachable', UNREACHABLE_FOR_MS, 'declare'],
  ['present', 'unreachable', 10 * UNREACHABLE_FOR_MS, 'leave'],
  ['left', 'unreachable', 10 * UNREACHABLE_FOR_MS, 'leave'],
  ['unknown', 'unreachable', 10 * UNREACHABLE_FOR_MS, 'leave'],
  ['ambiguous', 'unreachable', 10 * UNREACHABLE_FOR_MS, 'leave'],
])('an agent that is %s, where %s counts, for %i ms: %s', (judged, fence, unreachableMs, kind) => {
  expect(nextStep(judged, fence, unreachableMs).kind).toBe(kind);
});

it('waits for no longer than it has to', () => {
  expect(nextStep('unreachable', 'unreachable', 10_000)).toEqual({ kind: 'wait', forMs: UNREACHABLE_FOR_MS - 10_000 });
});

import fc from 'fast-check';

const ODD: readonly unknown[] = [
  ...[null, true, -1, 0, 1.5, 1e308, 2 ** 53, '', '\u0000', '../../etc/passwd', '__proto__', 'x'.repeat(70_000)],
  ...[[], {}, [[]], { kind: null }, { toString: 1 }, { __proto__: { polluted: true } }, [null]],
];

/** Any JSON value, with those that break programs more often than chance would have them. */
export const oddValue: fc.Arbitrary<unknown> = fc.oneof(fc.constantFrom(...ODD), fc.jsonValue());

/** A message that would be in order but for up to three of its parts, which are replaced, removed or joined by others. */
export function twisted(message: fc.Arbitrary<object>): fc.Arbitrary<unknown> {
  const change = fc.record({
    path: fc.array(fc.nat(30), { minLength: 1, maxLength: 4 }),
    value: oddValue,
    how: fc.constantFrom('replace', 'replace', 'remove', 'add'),
  });
  return fc
    .tuple(message, fc.array(change, { maxLength: 3 }))
    .map(([whole, changes]) => changes.reduce<unknown>((twistedSoFar, one) => changed(twistedSoFar, one), whole));
}

interface Twist {
  readonly path: readonly number[];
  readonly value: unknown;
  readonly how: string;
}

function changed(whole: unknown, { path: [step = 0, ...deeper], value, how }: Twist): unknown {
  if (typeof whole !== 'object' || whole === null) return value;
  const entries: [string, unknown][] = Object.entries(whole);
  const chosen = entries.length === 0 ? undefined : entries[step % entries.length];
  if (chosen === undefined || (how === 'add' && deeper.length === 0)) entries.push(['added', value]);
  else if (deeper.length > 0) chosen[1] = changed(chosen[1], { path: deeper, value, how });
  else if (how === 'remove') entries.splice(entries.indexOf(chosen), 1);
  else chosen[1] = value;
  return Array.isArray(whole) ? entries.map(([, one]) => one) : (Object.fromEntries(entries) as object);
}

/** How often a property is tried: `count` times, or as many times more as `FUZZ_FACTOR` says. */
export function tried(count: number): { readonly numRuns: number } {
  return { numRuns: count * Number(process.env['FUZZ_FACTOR'] ?? 1) };
}

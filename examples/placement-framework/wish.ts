import type { Label } from './mesos.ts';

/** What the storage has to be like. */
export interface Wish {
  /** MiB, as Mesos counts disk. */
  readonly sizeMib: number;
  readonly profile: string | undefined;
  readonly conditions: readonly Condition[];
}

/** One label: `media=ssd`, `compression=zstd` (any level of it), `replication>=2`. */
export interface Condition {
  readonly key: string;
  readonly operator: '=' | '>=';
  readonly value: string;
}

const UNIT_MIB: Readonly<Record<string, number>> = { MiB: 1, GiB: 1024, TiB: 1024 * 1024 };

/** Reads `size=10GiB profile=gold media=ssd replication>=2`. Throws on anything else. */
export function parseWish(words: readonly string[]): Wish {
  let sizeMib: number | undefined;
  let profile: string | undefined;
  const conditions: Condition[] = [];
  for (const word of words) {
    const [, key = '', operator = '', value = ''] = /^([A-Za-z0-9._-]+)(>=|=)(.+)$/.exec(word) ?? [];
    if (key === '') throw new Error(`${word} is no wish; write size=10GiB, profile=gold, media=ssd or replication>=2`);
    if (key === 'size') sizeMib = parseSize(word, value);
    else if (key === 'profile') profile = value;
    else conditions.push({ key, operator: operator === '>=' ? '>=' : '=', value });
  }
  if (sizeMib === undefined) throw new Error('how large? Say it with size=10GiB');
  return { sizeMib, profile, conditions };
}

/** Whether labels fulfil a condition. What has no label is not known, and does not fulfil it. */
export function fulfils(labels: readonly Label[], { key, operator, value }: Condition): boolean {
  const actual = labels.find((label) => label.key === key)?.value;
  if (actual === undefined) return false;
  if (operator === '>=') return Number(actual) >= Number(value);
  return actual === value || actual.startsWith(`${value}:`);
}

function parseSize(word: string, text: string): number {
  const [, number = '', unit = ''] = /^(\d+)(MiB|GiB|TiB)$/.exec(text) ?? [];
  const mib = Number(number) * (UNIT_MIB[unit] ?? Number.NaN);
  if (!(mib >= 64)) throw new Error(`${word}: write a size of at least 64MiB with its unit, as in 10GiB`);
  return mib;
}

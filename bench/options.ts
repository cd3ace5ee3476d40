import { parseArgs } from 'node:util';

/** What a benchmark is told on the command line. */
export interface BenchOptions {
  readonly json: boolean;
  readonly rounds: number;
}

/** Reads `[--json] [--rounds N]`. Throws on anything else. */
export function benchOptions(args: readonly string[]): BenchOptions {
  const { values } = parseArgs({
    args: [...args],
    options: { json: { type: 'boolean', default: false }, rounds: { type: 'string', default: '30' } },
  });
  const rounds = Number(values.rounds);
  if (!Number.isInteger(rounds) || rounds < 1) throw new Error('--rounds must be a whole number from 1');
  return { json: values.json, rounds };
}

import type { CtlEnvironment } from './ctl-environment.ts';

const CODES = { red: 31, green: 32, yellow: 33, dim: 2 } as const;

/** Colours a text. */
export type Paint = (colour: keyof typeof CODES, text: string) => string;

/** Colours on a terminal whose user has not set NO_COLOR; none elsewhere. */
export function paintFor({ stdout, env }: Pick<CtlEnvironment, 'stdout' | 'env'>): Paint {
  const colourful = stdout.isTTY === true && (env['NO_COLOR'] ?? '') === '' && env['TERM'] !== 'dumb';
  return (colour, text) => (colourful ? `\u001b[${CODES[colour]}m${text}\u001b[0m` : text);
}

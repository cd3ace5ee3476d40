import { createHash } from 'node:crypto';

/** A record of a chain: its number, and a sum over it and the record before. Two writers at once cannot make one chain. */
export interface Link {
  readonly number: number;
  readonly sum: string;
}

export const FIRST: Link = { number: 0, sum: 'begin' };

/** The record after `link`, written by `writer`. */
export function linkAfter(link: Link, writer: string): Link & { readonly line: string } {
  const number = link.number + 1;
  const sum = createHash('sha256').update(`${link.sum} ${number} ${writer}`).digest('hex').slice(0, 24);
  return { number, sum, line: `${number} ${writer} ${sum}` };
}

/**
 * The whole records of a file, checked; `wholeLength` is where they end. What follows is a record that was cut short by a
 * kill and was never acknowledged. Throws when a record does not follow from the one before.
 */
export function readChain(text: string): { readonly links: readonly Link[]; readonly wholeLength: number } {
  const links: Link[] = [];
  let last = FIRST;
  const wholeLength = text.lastIndexOf('\n') + 1;
  for (const line of text.slice(0, wholeLength).split('\n').slice(0, -1)) {
    const [, writer = ''] = line.split(' ');
    const expected = linkAfter(last, writer);
    if (line !== expected.line)
      throw new Error(`record ${expected.number} does not follow from the one before: ${line}`);
    links.push(expected);
    last = expected;
  }
  return { links, wholeLength };
}

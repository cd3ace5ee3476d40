import { CsiError } from './csi-error.ts';

export interface Page<T> {
  readonly items: readonly T[];
  /** Empty on the last page. */
  readonly nextToken: string;
}

/** A token is the id of the last item before the page, so that it outlives whatever is made or deleted meanwhile. */
export interface PageRequest {
  readonly maxEntries: number;
  readonly startingToken: string;
}

/** One page of `all` in order of their ids. Fails with `ABORTED` when the token is none of ours. */
export function pageOf<T>(
  all: readonly T[],
  idOf: (item: T) => string,
  request: PageRequest,
  isId: (text: string) => boolean,
): Page<T> {
  const { maxEntries, startingToken } = request;
  if (maxEntries < 0) throw new CsiError('INVALID_ARGUMENT', `max_entries is ${maxEntries}; it must not be negative`);
  if (startingToken !== '' && !isId(startingToken))
    throw new CsiError(
      'ABORTED',
      `starting_token ${JSON.stringify(startingToken)} is not one that was given out; begin anew`,
    );
  const after = all.filter((item) => idOf(item) > startingToken).sort((a, b) => (idOf(a) < idOf(b) ? -1 : 1));
  if (maxEntries === 0 || after.length <= maxEntries) return { items: after, nextToken: '' };
  const items = after.slice(0, maxEntries);
  const last = items.at(-1);
  return { items, nextToken: last === undefined ? '' : idOf(last) };
}

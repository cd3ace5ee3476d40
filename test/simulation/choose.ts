/** Those that nobody asked to delete. */
export function living<Id extends string>(ids: readonly Id[], deletions: ReadonlySet<string>): Id[] {
  return ids.filter((id) => !deletions.has(id));
}

/** One of those that nobody asked to delete, or now and then one of all. */
export function chosen<Id extends string>(
  ids: readonly Id[],
  deletions: ReadonlySet<string>,
  subject: number,
): Id | undefined {
  const alive = living(ids, deletions);
  const from = alive.length === 0 || subject === 5 ? ids : alive;
  return from[subject % Math.max(1, from.length)];
}

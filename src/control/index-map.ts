/** Sets of values by key; a key without values takes no room. */
export class IndexMap<Key, Value> {
  readonly #sets = new Map<Key, Set<Value>>();

  get(key: Key): Iterable<Value> {
    return this.#sets.get(key) ?? [];
  }

  add(key: Key, value: Value): void {
    const set = this.#sets.get(key);
    if (set === undefined) this.#sets.set(key, new Set([value]));
    else set.add(value);
  }

  remove(key: Key, value: Value): void {
    const set = this.#sets.get(key);
    set?.delete(value);
    if (set?.size === 0) this.#sets.delete(key);
  }
}

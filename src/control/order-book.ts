import { isDeepStrictEqual } from 'node:util';

/**
 * The orders that one connection was given, each with a number of its own. `Wish` is an order without its number.
 */
export class OrderBook<Id, Wish extends { readonly want: string }> {
  readonly #orders = new Map<Id, { readonly wish: Wish; readonly order: number }>();
  readonly #fulfilled = new Set<Id>();
  #last = 0;

  /** What the present order wants, if `order` is its number and it was not fulfilled. */
  presentWant(id: Id, order: number): Wish['want'] | undefined {
    const present = this.#orders.get(id);
    return present?.order === order && !this.#fulfilled.has(id) ? present.wish.want : undefined;
  }

  /**
   * Notes that the present order was confirmed. It confirms nothing more, and the same wish is a new order: the node may have
   * been given the thing and asked for it again before either could be announced.
   */
  fulfil(id: Id): void {
    if (this.#orders.has(id)) this.#fulfilled.add(id);
  }

  note(id: Id, wish: Wish): Wish & { readonly order: number } {
    this.#last += 1;
    this.#orders.set(id, { wish, order: this.#last });
    this.#fulfilled.delete(id);
    return { ...wish, order: this.#last };
  }

  /** The orders that differ from what was told, and those that no longer hold; undefined withdraws an order. */
  change(wishes: readonly (readonly [Id, Wish | undefined])[]): {
    readonly orders: (Wish & { readonly order: number })[];
    readonly withdrawn: Id[];
  } {
    const orders: (Wish & { readonly order: number })[] = [];
    const withdrawn: Id[] = [];
    for (const [id, wish] of wishes) {
      const present = this.#orders.get(id);
      if (wish === undefined) {
        this.#fulfilled.delete(id);
        if (this.#orders.delete(id)) withdrawn.push(id);
      } else if (present === undefined || this.#fulfilled.has(id) || !isDeepStrictEqual(wish, present.wish)) {
        orders.push(this.note(id, wish));
      }
    }
    return { orders, withdrawn };
  }
}

import type { Random } from '../faults/random.ts';
import type { SimClock } from './sim-clock.ts';

const CONNECT_TIMEOUT_MS = 10_000;

/** What an end of a connection is told. */
export interface EndEvents {
  message(text: string): void;
  alive(answers: boolean): void;
  closed(): void;
}

interface Packet {
  readonly kind: 'message' | 'ping' | 'pong' | 'end';
  readonly text: string;
}

/** One end of a stream: what it sends comes in its order, late, or never once the connection broke. */
export class End {
  open = true;
  readonly #link: Link;
  readonly #toControl: boolean;
  events: EndEvents | undefined;
  other: End | undefined;

  constructor(link: Link, toControl: boolean) {
    this.#link = link;
    this.#toControl = toControl;
  }

  send(text: string): void {
    if (this.open) this.#deliver({ kind: 'message', text });
  }

  ping(): void {
    if (this.open) this.#deliver({ kind: 'ping', text: '' });
  }

  /** Ends the connection after what was sent, and tells this side a little later. */
  terminate(): void {
    if (!this.open) return;
    this.open = false;
    this.#deliver({ kind: 'end', text: '' });
    this.#link.soon(() => this.#closed());
  }

  /** The process that had it is gone; the kernel tells the other side. */
  processDied(): void {
    this.events = undefined;
    if (!this.open) return;
    this.open = false;
    this.#deliver({ kind: 'end', text: '' });
  }

  /** The machine is off: nobody tells the other side. */
  machineDied(): void {
    this.events = undefined;
    this.open = false;
  }

  #deliver(packet: Packet): void {
    this.#link.carry(this.#toControl, () => this.other?.receive(packet));
  }

  /** What comes to an end that is no more is answered with a reset. */
  receive({ kind, text }: Packet): void {
    this.#link.note(`${this.#toControl ? 'node' : 'control'} ${this.open ? 'got' : 'refused'} ${kind} ${text}`);
    if (!this.open) {
      if (kind !== 'end') this.#link.carry(this.#toControl, () => this.other?.receive({ kind: 'end', text: '' }));
      return;
    }
    if (kind === 'message') this.events?.message(text);
    else if (kind === 'end') {
      this.open = false;
      this.#closed();
    } else {
      this.events?.alive(kind === 'pong');
      if (kind === 'ping') this.#deliver({ kind: 'pong', text: '' });
    }
  }

  #closed(): void {
    const { events } = this;
    this.events = undefined;
    events?.closed();
  }
}

/** The way between one node and the control service. Either direction may be cut: what is sent then comes when it heals. */
export class Link {
  readonly #clock: SimClock;
  readonly #random: Random;
  /** Writes to the trace. */
  readonly note: (text: string) => void;
  readonly #cut = { toControl: false, fromControl: false };
  readonly #held: Record<'toControl' | 'fromControl', (() => void)[]> = { toControl: [], fromControl: [] };
  readonly #lastMs = { toControl: 0, fromControl: 0 };

  constructor(clock: SimClock, random: Random, note: (text: string) => void) {
    this.#clock = clock;
    this.#random = random;
    this.note = note;
  }

  cut(direction: 'toControl' | 'fromControl'): void {
    this.#cut[direction] = true;
  }

  heal(): void {
    for (const direction of ['toControl', 'fromControl'] as const) {
      this.#cut[direction] = false;
      // Now, so that nothing that is on its way overtakes it.
      for (const deliver of this.#held[direction].splice(0)) deliver();
    }
  }

  /** In the order of the calls, each direction by itself. */
  carry(toControl: boolean, deliver: () => void): void {
    const direction = toControl ? 'toControl' : 'fromControl';
    const delayMs = this.#random.next() < 0.03 ? this.#random.between(50, 2_000) : this.#random.next() * 5;
    this.#lastMs[direction] = Math.max(this.#lastMs[direction], this.#clock.nowMs + delayMs);
    this.#clock.timer(this.#lastMs[direction] - this.#clock.nowMs, () => {
      if (this.#cut[direction]) this.#held[direction].push(deliver);
      else deliver();
    });
  }

  soon(then: () => void): void {
    this.#clock.timer(0, then);
  }

  /**
   * Connects the node's end with one that `accept` takes; it refuses with undefined, when nobody listens. `answered` is told
   * the outcome, within ten seconds.
   */
  dial(accept: (end: End) => boolean, answered: (end: End | undefined) => void): void {
    const here = new End(this, true);
    const there = new End(this, false);
    here.other = there;
    there.other = here;
    let isOver = false;
    const answer = (connected: boolean): void => {
      if (isOver) {
        here.processDied();
        return;
      }
      isOver = true;
      cancel();
      answered(connected ? here : undefined);
    };
    const cancel = this.#clock.timer(CONNECT_TIMEOUT_MS, () => answer(false));
    this.carry(true, () => {
      const accepted = accept(there);
      this.carry(false, () => answer(accepted));
    });
  }
}

import { createHash } from 'node:crypto';

const KEPT = 400;

/** What happened, as a hash of everything and the last lines. Two runs that did the same have the same hash. */
export class Trace {
  readonly #hash = createHash('sha256');
  readonly #last: string[] = [];
  readonly #nowMs: () => number;
  readonly #keepsAll: boolean;

  constructor(nowMs: () => number, keepsAll = false) {
    this.#nowMs = nowMs;
    this.#keepsAll = keepsAll;
  }

  note(text: string): void {
    const line = `${this.#nowMs().toFixed(3)} ${text}`;
    this.#hash.update(line).update('\n');
    this.#last.push(line);
    if (!this.#keepsAll && this.#last.length > 2 * KEPT) this.#last.splice(0, KEPT);
  }

  get last(): readonly string[] {
    return this.#last;
  }

  /** Of all lines so far. To be called once. */
  digest(): string {
    return this.#hash.digest('hex').slice(0, 16);
  }
}
